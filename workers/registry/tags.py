"""The list of tags, page by page."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from transship.store.errors import InvalidReferenceError, ProtocolError, RequestError
from transship.store.oci.reference import check_tag
from transship.store.text import escaped
from transship.workers.registry.network import RegistryResponse
from transship.workers.registry.pages import List, is_query, pages
from transship.workers.registry.session import Session
from transship.workers.registry.transport.errors import answer_error, refuse_html, translated
from transship.workers.registry.transport.limits import MAX_TAGS, MAX_TAGS_BYTES
from transship.workers.registry.transport.responses import read_json


def list_tags(
    session: Session, subject: str, *, page_size: int, left_out: Callable[[str], None]
) -> Iterator[str]:
    """Yield each tag once, in the registry's order, which may be none.

    What cannot be a tag is *left out*, which is told how it looks.

    Raises:
        RegistryNotFoundError: no such repository.
        ProtocolError: a link that cannot be read, pages without end, a page too large.
    """
    seen: set[str] = set()
    for page in pages(_tags_of(session, subject), first_page(page_size)):
        for tag in _valid(page, left_out):
            if tag not in seen:
                seen.add(tag)
                yield tag
        if len(seen) > MAX_TAGS:
            raise ProtocolError(
                f"more than {MAX_TAGS} tags", registry=session.registry.name, subject=subject
            )


def first_page(page_size: int) -> str:
    """The query of the first page."""
    return f"n={page_size}"


def page_of_tags(session: Session, subject: str, query: str) -> tuple[list[str], str | None]:
    """Return the tags of one page, and the query of the next; None after the last.

    *query* is that of `first_page`, or what an earlier page returned. What cannot be a tag is left
    out. Raises as `list_tags`, and

    Raises:
        RequestError: *query* cannot be the query of a page.
    """
    if not is_query(query):
        raise RequestError("not the next page of a list of tags", subject=subject)
    found, following = _tags_of(session, subject).page(query)
    return list(_valid(found, lambda _: None)), following


def _tags_of(session: Session, subject: str) -> List[list[object]]:
    asked = session.asked(subject, "GET tags")

    def read(answer: RegistryResponse) -> list[object]:
        if answer.status != 200:
            raise answer_error(answer.response, asked)
        refuse_html(answer.response, asked)
        with translated(asked):
            document = read_json(answer.response, MAX_TAGS_BYTES, what="a list of tags")
            return _tags_in(document.get("tags"))

    return List(session, "/tags/list", asked, read)


def _valid(tags: list[object], left_out: Callable[[str], None]) -> Iterator[str]:
    for tag in tags:
        try:
            if not isinstance(tag, str):
                raise InvalidReferenceError("not a tag")
            yield check_tag(tag)
        except InvalidReferenceError:
            left_out(escaped(f"{tag!r:.100}"))


def _tags_in(value: object) -> list[object]:
    if value is None:  # a repository whose tags are all deleted
        return []
    if not isinstance(value, list):
        raise ProtocolError("answered with tags that are no list")
    return value
