"""Lists that registries give page by page."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

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


@dataclass(frozen=True, slots=True)
class List(Generic[T]):
    """A list at *path*, of which *read* understands a page: it gets the open answer."""

    session: Session
    path: str
    asked: RequestContext
    read: Callable[[RegistryResponse], T]
    accept: str = "application/json"

    def page(self, query: str) -> tuple[T, str | None]:
        """A page, and the query of the next one; None after the last.

        Raises:
            ProtocolError: a link that cannot be read.
            RegistryError: what *read* raises; a page that fails is asked for once more.
        """
        for _ in range(1, _PAGE_TRIES):
            try:
                return self._page(query)
            except (RegistryUnavailableError, ProtocolError) as failed:
                if failed.asks_for_patience:
                    raise
        return self._page(query)

    def _page(self, query: str) -> tuple[T, str | None]:
        answer = self.session.send(
            Ask(
                method="GET",
                target=f"{self.path}?{query}" if query else self.path,
                scopes=(repository_scope(self.session.path, "pull"),),
                asked=self.asked,
                headers={"Accept": self.accept},
            )
        )
        try:
            return self.read(answer), _query_of_next(answer.headers.get_list("link"))
        finally:
            answer.response.close()


def pages(of: List[T], first: str = "") -> Iterator[T]:
    """Yield each page of a list, from the one of the query *first* on.

    Raises:
        ProtocolError: pages without end, too.
    """
    query: str | None = first
    seen: set[str] = set()
    while query is not None:
        if query in seen or len(seen) >= MAX_PAGES:
            raise ProtocolError(
                f"{of.asked.action}: the pages never end",
                registry=of.asked.registry,
                subject=of.asked.subject,
            )
        seen.add(query)
        page, query = of.page(query)
        yield page


def is_query(text: str) -> bool:
    """Whether *text* may be the query of a page."""
    return _QUERY.fullmatch(text) is not None


def _query_of_next(lines: list[str]) -> str | None:
    """The next page: the query that the registry gives, and nothing else of its URL.

    A registry behind a proxy, or mounted below another path, does not know its own address.
    """
    for line in lines:
        for link in _LINK.finditer(line[:8192]):
            bracketed, bare, parameters = link.groups()
            if _NEXT.search(parameters):
                query = (bracketed or bare or "").partition("#")[0].partition("?")[2]
                if is_query(query):
                    return query
                raise ProtocolError("answered with a next page that cannot be found")
        if _SAYS_NEXT.search(line):
            raise ProtocolError("answered with a Link header that cannot be read")
    return None
