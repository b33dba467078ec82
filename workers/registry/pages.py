"""Lists that registries give page by page."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import TypeVar

from transship.store.errors import ProtocolError, RegistryUnavailableError
from transship.workers.registry.auth.scopes import repository_scope
from transship.workers.registry.network import RegistryResponse
from transship.workers.registry.session import Ask, Session
from transship.workers.registry.transport.errors import RequestContext
from transship.workers.registry.transport.limits import MAX_PAGES

T = TypeVar("T")

# RFC 8288, and what servers send without the brackets.
_LINK = re.compile(r"\s*(?:<([^<>]*)>|([^<>;,\s]+))\s*((?:;\s*[^;,]*)*)\s*(?:,|$)")
_NEXT = re.compile(r";\s*rel\s*=\s*(?:\"[^\"]*\bnext\b[^\"]*\"|next)\s*(?:;|$)", re.IGNORECASE)
_QUERY = re.compile(r"[!-~]+")
_SAYS_NEXT = re.compile(r"\bnext\b", re.IGNORECASE)
_PAGE_TRIES = 2  # a page that fails is asked for again, not all of them


def pages(
    session: Session,
    path: str,
    asked: RequestContext,
    read: Callable[[RegistryResponse], T],
    *,
    query: str = "",
    accept: str = "application/json",
) -> Iterator[T]:
    """Yield each page of the list at *path*, as *read* has it, which gets the open answer.

    Raises:
        ProtocolError: a link that cannot be read, or pages without end.
        RegistryError: what *read* raises, or a page that failed twice.
    """
    target: str | None = f"{path}?{query}" if query else path
    seen: set[str] = set()
    while target is not None:
        if target in seen or len(seen) >= MAX_PAGES:
            raise ProtocolError(
                f"{asked.action}: the pages never end",
                registry=asked.registry,
                subject=asked.subject,
            )
        seen.add(target)
        ask = Ask(
            method="GET",
            target=target,
            scopes=(repository_scope(session.path, "pull"),),
            asked=asked,
            headers={"Accept": accept},
        )
        page, query_of_next = _surely(session, ask, read)
        yield page
        target = None if query_of_next is None else f"{path}?{query_of_next}"


def _surely(
    session: Session, ask: Ask, read: Callable[[RegistryResponse], T]
) -> tuple[T, str | None]:
    for _ in range(1, _PAGE_TRIES):
        try:
            return _page(session, ask, read)
        except (RegistryUnavailableError, ProtocolError) as failed:
            if failed.asks_for_patience:
                raise
    return _page(session, ask, read)


def _page(
    session: Session, ask: Ask, read: Callable[[RegistryResponse], T]
) -> tuple[T, str | None]:
    answer = session.send(ask)
    try:
        return read(answer), _query_of_next(answer.headers.get_list("link"))
    finally:
        answer.response.close()


def _query_of_next(lines: list[str]) -> str | None:
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
