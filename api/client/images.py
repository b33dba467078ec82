"""Images: those that the store holds, and those that a registry has."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator
from typing import Any

from transship.api.client.exchange import READING, Exchange, given, quoted
from transship.store.errors import ProtocolError


class ImageCalls(Exchange):
    """What can be asked about images."""

    def images(
        self, pattern: str | None, *, filters: Iterable[str] = (), all_: bool = False
    ) -> dict[str, Any]:
        """The images in the store."""
        params = given(pattern=pattern, filter=list(filters), all=all_)
        return self._object("GET", "/images", params=params)

    def inspect(self, ref: str, *, platform: str | None = None) -> dict[str, Any]:
        """What is held of an image."""
        path = f"/images/{quoted(ref)}/inspect"
        return self._object("GET", path, params=given(platform=platform))

    def history(self, ref: str, *, platform: str | None = None) -> dict[str, Any]:
        """How an image came about."""
        path = f"/images/{quoted(ref)}/history"
        return self._object("GET", path, params=given(platform=platform))

    def children(self, ref: str) -> dict[str, Any]:
        """The images that were made from another."""
        return self._object("GET", f"/images/{quoted(ref)}/children")

    def tag(self, ref: str, new: str) -> dict[str, Any]:
        """Add a tag to an image."""
        return self._object("POST", f"/images/{quoted(ref)}/tag", json={"reference": new})

    def remove(
        self, ref: str, *, force: bool = False, noprune: bool = False
    ) -> list[dict[str, str]]:
        """Take a name away, and with its last name the image; given an ID, all of them."""
        removed: list[dict[str, str]] = self._ask(
            "DELETE", f"/images/{quoted(ref)}", params=given(force=force, noprune=noprune)
        )
        return removed

    def create(self, config: bytes, *, parent: str | None = None) -> dict[str, Any]:
        """Make an image of a config."""
        return self._object(
            "POST",
            "/images",
            content=config,
            params=given(parent=parent),
            headers={"Content-Type": "application/json"},
            timeout=READING,
        )

    def cached(
        self, config: dict[str, Any], *, parent: str | None = None, sources: Iterable[str] = ()
    ) -> dict[str, Any]:
        """Look up a cached build step."""
        body = {"config": config, "parent": parent, "from": list(sources)}
        return self._object("POST", "/images/cache", json=body)

    def usage(self) -> dict[str, Any]:
        """What images take up."""
        return self._object("GET", "/usage")

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
            yield from self._lines("/events", params=params)
            return
        while True:
            page = self._object("GET", "/events", params=params)
            yield from page["items"]
            if page["next"] is None:
                return
            params["cursor"] = page["next"]

    def inspect_remote(
        self, ref: str, *, credential: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """What a registry has under a reference."""
        return self._remote(f"/remote/{quoted(ref)}/inspect", {}, credential)

    def digest_remote(
        self, ref: str, *, platform: str | None = None, credential: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """The digest that a reference stands for in its registry."""
        path = f"/remote/{quoted(ref)}/digest"
        return self._remote(path, given(platform=platform), credential)

    def tags(
        self, repository: str, *, credential: dict[str, Any] | None = None
    ) -> Iterator[list[str]]:
        """The tags of a repository in its registry, a page at a time.

        Raises:
            ProtocolError: the registry's pages do not end.
        """
        params: dict[str, Any] = {}
        seen = set()
        while True:
            page = self._remote(f"/remote/{quoted(repository)}/tags", params, credential)
            yield page["items"]
            if page["next"] is None:
                return
            if page["next"] in seen:
                raise ProtocolError("tag pagination never ends", subject=repository)
            seen.add(page["next"])
            params = {"cursor": page["next"]}

    def _remote(
        self, path: str, params: dict[str, Any], credential: dict[str, Any] | None
    ) -> dict[str, Any]:
        self._before_logins(credential)
        headers = {"X-Registry-Auth": _registry_auth(credential)} if credential else {}
        return self._object("GET", path, params=params, headers=headers)

    def search(self, term: str, *, filters: Iterable[str] = (), limit: int = 25) -> dict[str, Any]:
        """Search an index of images."""
        params = given(term=term, filter=list(filters), limit=limit)
        return self._object("GET", "/search", params=params)


def _registry_auth(credential: dict[str, Any]) -> str:
    """A credential as Docker's API takes it in a header."""
    fields = {name.replace("_token", "token"): value for name, value in credential.items()}
    return base64.urlsafe_b64encode(json.dumps(fields).encode()).decode()
