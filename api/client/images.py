"""Images: those that the store holds, and those that a registry has."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from transship.api.client import requests
from transship.api.client.exchange import Exchange
from transship.api.client.requests import NDJSON, READING, SILENCE, Request, given, quoted
from transship.store.errors import ProtocolError


class ImageCalls(Exchange):
    """What can be asked about images."""

    def images(
        self, pattern: str | None, *, filters: Iterable[str] = (), all_: bool = False
    ) -> dict[str, Any]:
        """The images in the store."""
        return self._object(requests.images(pattern, filters=filters, all_=all_))

    def inspect(self, ref: str, *, platform: str | None = None) -> dict[str, Any]:
        """What is held of an image."""
        return self._object(requests.inspect(ref, platform=platform))

    def history(self, ref: str, *, platform: str | None = None) -> dict[str, Any]:
        """How an image came about."""
        path = f"/images/{quoted(ref)}/history"
        return self._object(Request("GET", path, params=given(platform=platform)))

    def children(self, ref: str) -> dict[str, Any]:
        """The images that were made from another."""
        return self._object(Request("GET", f"/images/{quoted(ref)}/children"))

    def tag(self, ref: str, new: str) -> dict[str, Any]:
        """Add a tag to an image."""
        return self._object(requests.tag(ref, new))

    def remove(
        self, ref: str, *, force: bool = False, noprune: bool = False
    ) -> list[dict[str, str]]:
        """Take a name away, and with its last name the image; given an ID, all of them."""
        removed: list[dict[str, str]] = self._ask(
            requests.remove(ref, force=force, noprune=noprune)
        )
        return removed

    def create(self, config: bytes, *, parent: str | None = None) -> dict[str, Any]:
        """Make an image of a config."""
        request = Request(
            "POST",
            "/images",
            params=given(parent=parent),
            headers={"Content-Type": "application/json"},
            timeout=READING,
        )
        return self._object(request, content=config)

    def cached(
        self, config: dict[str, Any], *, parent: str | None = None, sources: Iterable[str] = ()
    ) -> dict[str, Any]:
        """Look up a cached build step."""
        body = {"config": config, "parent": parent, "from": list(sources)}
        return self._object(Request("POST", "/images/cache", json=body))

    def usage(self) -> dict[str, Any]:
        """What images take up."""
        return self._object(Request("GET", "/usage"))

    def image_events(
        self,
        *,
        since: str | None = None,
        until: str | None = None,
        filters: Iterable[str] = (),
        follow: bool = False,
    ) -> Iterator[dict[str, Any]]:
        """Events of images; with *follow* also those that happen from now on, until *until*."""
        params = given(since=since, until=until, filter=list(filters))
        if follow:
            headers = {"Accept": NDJSON}
            yield from self._lines(Request("GET", "/events", params, None, headers, SILENCE))
            return
        while True:
            page = self._object(Request("GET", "/events", params=params))
            yield from page["items"]
            if page["next"] is None:
                return
            params["cursor"] = page["next"]

    def inspect_remote(
        self, ref: str, *, credential: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """What a registry has under a reference."""
        self._before_logins(credential)
        return self._object(requests.inspect_remote(ref, credential))

    def digest_remote(
        self, ref: str, *, platform: str | None = None, credential: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """The digest that a reference stands for in its registry."""
        self._before_logins(credential)
        return self._object(requests.digest_remote(ref, credential, platform=platform))

    def tags(
        self, repository: str, *, credential: dict[str, Any] | None = None
    ) -> Iterator[list[str]]:
        """The tags of a repository in its registry, a page at a time.

        Raises:
            ProtocolError: the registry's pages do not end.
        """
        self._before_logins(credential)
        cursor: str | None = None
        seen: set[str] = set()
        while True:
            page = self._object(requests.tags(repository, credential, cursor=cursor))
            yield page["items"]
            cursor = page["next"]
            if cursor is None:
                return
            if cursor in seen:
                raise ProtocolError("the pages of tags never end", subject=repository)
            seen.add(cursor)

    def search(self, term: str, *, filters: Iterable[str] = (), limit: int = 25) -> dict[str, Any]:
        """Search an index of images."""
        params = given(term=term, filter=list(filters), limit=limit)
        return self._object(Request("GET", "/search", params=params))
