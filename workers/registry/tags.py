"""The list of tags, page by page."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from transship.store.errors import (
    InvalidReferenceError,
    ProtocolError,
    RegistryUnavailableError,
    RequestError,
)
from transship.store.oci.reference import check_tag
from transship.store.text import escaped
from transship.workers.registry.auth.scopes import repository_scope
from transship.workers.registry.session import Ask, Session
from transship.workers.registry.transport.errors import (
    RequestContext,
    answer_error,
    refuse_html,
    translated,
)
from transship.workers.registry.transport.limits import MAX_PAGES, MAX_TAGS, MAX_TAGS_BYTES
from transship.workers.registry.transport.responses import read_json

# RFC 8288, and what servers send without the brackets.
_LINK = re.compile(r"\s*(?:<([^<>]*)>|([^<>;,\s]+))\s*((?:;\s*[^;,]*)*)\s*(?:,|$)")
_NEXT = re.compile(r";\s*rel\s*=\s*(?:\"[^\"]*\bnext\b[^\"]*\"|next)\s*(?:;|$)", re.IGNORECASE)
_QUERY = re.compile(r"[!-~]+")
_SAYS_NEXT = re.compile(r"\bnext\b", re.IGNORECASE)
_PAGE_TRIES = 2  # a page that fails is asked for again, not all of them


def list_tags(
    session: Session, subject: str, *, page_size: int, left_out: Callable[[str], None]
) -> Iterator[str]:
    """Yield each tag once, in the registry's order, which may be none.

    What cannot be a tag is *left out*, which is told how it looks.

    Raises:
        RegistryNotFoundError: no such repository.
        ProtocolError: a link that cannot be read, pages without end, a page too large.
    """
    asked = session.asked(subject, "GET tags")
    query: str | None = first_page(page_size)
    seen_pages: set[str] = set()
    seen: set[str] = set()
    while query is not None:
        if query in seen_pages or len(seen_pages) >= MAX_PAGES:
            raise ProtocolError(
                "tag pagination never ends", registry=asked.registry, subject=subject
            )
        seen_pages.add(query)
        tags, query = page_of_tags(session, subject, query, left_out=left_out)
        for tag in tags:
            if tag not in seen:
                seen.add(tag)
                yield tag
        if len(seen) > MAX_TAGS:
            raise ProtocolError(
                f"more than {MAX_TAGS} tags", registry=asked.registry, subject=subject
            )


def first_page(page_size: int) -> str:
    """The query of the first page."""
    return f"n={page_size}"


def page_of_tags(
    session: Session,
    subject: str,
    query: str,
    *,
    left_out: Callable[[str], None] = lambda _: None,
) -> tuple[list[str], str | None]:
    """Return the tags of one page, and the query of the next; None after the last.

    *query* is that of `first_page`, or what an earlier page returned. Raises as `list_tags`, and

    Raises:
        RequestError: *query* cannot be the query of a page.
    """
    if not _QUERY.fullmatch(query):
        raise RequestError("not the next page of a list of tags", subject=subject)
    asked = session.asked(subject, "GET tags")
    found, following = _page_surely(session, f"/tags/list?{query}", asked)
    tags = []
    for tag in found:
        try:
            if not isinstance(tag, str):
                raise InvalidReferenceError("not a tag")
            tags.append(check_tag(tag))
        except InvalidReferenceError:
            left_out(escaped(f"{tag!r:.100}"))
    return tags, following


def _page_surely(
    session: Session, target: str, asked: RequestContext
) -> tuple[list[object], str | None]:
    for _ in range(1, _PAGE_TRIES):
        try:
            return _page(session, target, asked)
        except (RegistryUnavailableError, ProtocolError) as failed:
            if failed.asks_for_patience:
                raise
    return _page(session, target, asked)


def _page(session: Session, target: str, asked: RequestContext) -> tuple[list[object], str | None]:
    answer = session.send(
        Ask(
            method="GET",
            target=target,
            scopes=(repository_scope(session.path, "pull"),),
            asked=asked,
            headers={"Accept": "application/json"},
        )
    )
    try:
        if answer.status != 200:
            raise answer_error(answer.response, asked)
        refuse_html(answer.response, asked)
        with translated(asked):
            document = read_json(answer.response, MAX_TAGS_BYTES, what="a list of tags")
            tags = _tags_in(document.get("tags"))
            return tags, _next_page(answer.headers.get_list("link"))
    finally:
        answer.response.close()


def _tags_in(value: object) -> list[object]:
    if value is None:  # a repository whose tags are all deleted
        return []
    if not isinstance(value, list):
        raise ProtocolError("answered with tags that are no list")
    return value


def _next_page(lines: list[str]) -> str | None:
    """The next page: the query that the registry gives, and nothing else of its URL.

    A registry behind a proxy, or mounted below another path, does not know its own address.
    """
    for line in lines:
        for link in _LINK.finditer(line[:8192]):
            bracketed, bare, parameters = link.groups()
            if _NEXT.search(parameters):
                query = (bracketed or bare or "").partition("#")[0].partition("?")[2]
                if _QUERY.fullmatch(query):
                    return query
                raise ProtocolError("answered with a next page that cannot be found")
        if _SAYS_NEXT.search(line):
            raise ProtocolError("answered with a Link header that cannot be read")
    return None
