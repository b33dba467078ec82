"""The list of tags, page by page."""

from __future__ import annotations

import re
from collections.abc import Iterator

from transship.store.errors import InvalidReferenceError, ProtocolError, UntrustedAddressError
from transship.store.oci.reference import check_tag
from transship.workers.registry.auth.scopes import repository_scope
from transship.workers.registry.session import Ask, Session
from transship.workers.registry.transport.errors import (
    RequestContext,
    answer_error,
    refuse_html,
    translated,
)
from transship.workers.registry.transport.limits import MAX_PAGES, MAX_TAGS, MAX_TAGS_BYTES
from transship.workers.registry.transport.origins import absolute, origin_of
from transship.workers.registry.transport.responses import read_json

_LINK = re.compile(r"\s*<([^<>]*)>\s*((?:;\s*[^;,]*)*)\s*(?:,|$)")
_NEXT = re.compile(r";\s*rel\s*=\s*(?:\"[^\"]*\bnext\b[^\"]*\"|next)\s*(?:;|$)", re.IGNORECASE)


def list_tags(session: Session, subject: str, *, page_size: int) -> Iterator[str]:
    """Yield each tag once, in the registry's order, which may be none.

    Raises:
        RegistryNotFoundError: no such repository.
        ProtocolError: a tag that cannot be one, pages without end, a page too large.
        UntrustedAddressError: the next page is said to be at another origin.
    """
    asked = session.asked(subject, "GET tags")
    target: str | None = f"/tags/list?n={page_size}"
    seen_pages: set[str] = set()
    seen: set[str] = set()
    while target is not None:
        if target in seen_pages or len(seen_pages) >= MAX_PAGES:
            raise ProtocolError(
                "tag pagination never ends", registry=asked.registry, subject=subject
            )
        seen_pages.add(target)
        tags, target = _page(session, target, asked)
        for tag in tags:
            if tag not in seen:
                seen.add(tag)
                yield tag
        if len(seen) > MAX_TAGS:
            raise ProtocolError(
                f"more than {MAX_TAGS} tags", registry=asked.registry, subject=subject
            )


def _page(session: Session, target: str, asked: RequestContext) -> tuple[list[str], str | None]:
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
            return _tags_in(document.get("tags")), _next_page(
                answer.headers.get_list("link"), answer.url
            )
    finally:
        answer.response.close()


def _tags_in(value: object) -> list[str]:
    if value is None:  # a repository whose tags are all deleted
        return []
    if not isinstance(value, list):
        raise ProtocolError("answered with tags that are no list")
    for tag in value:
        try:
            if not isinstance(tag, str):
                raise InvalidReferenceError("not a tag")
            check_tag(tag)
        except InvalidReferenceError:
            raise ProtocolError("answered with a tag that cannot be one") from None
    return value


def _next_page(lines: list[str], url: str) -> str | None:
    for line in lines:
        for link in _LINK.finditer(line[:8192]):
            if _NEXT.search(link.group(2)):
                following = absolute(link.group(1), base=url)
                if origin_of(following) != origin_of(url):
                    raise UntrustedAddressError(
                        "the next page of tags is said to be at another origin"
                    )
                return following
    return None
