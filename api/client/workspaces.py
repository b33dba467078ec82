"""Workspaces: made, filled, looked into and dropped."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import quote

from transship.api.client.exchange import Exchange
from transship.api.client.requests import READING, TAR, Request


class WorkspaceCalls(Exchange):
    """What can be asked about workspaces."""

    def create_workspace(
        self,
        name: str,
        reference: str | None = None,
        *,
        platform: str | None = None,
        busy: bool = False,
        pull: str = "never",
    ) -> dict[str, Any]:
        """Make a workspace over an image, or an empty one; the job of one that pulls the image."""
        wanted = {"name": name, "reference": reference, "platform": platform, "busy": busy}
        wanted["pull"] = pull
        return self._object(Request("POST", "/workspaces", json=wanted))

    def workspaces(self) -> dict[str, Any]:
        """The workspaces."""
        return self._object(Request("GET", "/workspaces"))

    def workspace(self, name: str) -> dict[str, Any]:
        """A workspace."""
        return self._object(Request("GET", _workspace(name)))

    def change_workspace(self, name: str, *, busy: bool) -> dict[str, Any]:
        """Say whether somebody works in a workspace."""
        return self._object(Request("PATCH", _workspace(name), json={"busy": busy}))

    def remove_workspace(self, name: str) -> None:
        """Drop a workspace."""
        self._ask(Request("DELETE", _workspace(name)))

    def put_files(self, name: str, path: str, tar: Iterable[bytes]) -> dict[str, Any]:
        """Put the files of a tar into a directory of a workspace."""
        request = Request(
            "PUT",
            f"{_workspace(name)}/files",
            params={"path": path},
            headers={"Content-Type": TAR},
            timeout=READING,
        )
        return self._object(request, content=tar)

    def delete_files(self, name: str, path: str) -> None:
        """Remove a path from a workspace."""
        self._ask(
            Request("DELETE", f"{_workspace(name)}/files", params={"path": path}, timeout=READING)
        )

    def list_files(self, name: str, path: str) -> dict[str, Any]:
        """What a workspace has at a path and below it."""
        params = {"path": path, "list": True}
        return self._object(
            Request("GET", f"{_workspace(name)}/files", params=params, timeout=READING)
        )

    def get_files(self, name: str, path: str) -> Iterator[bytes]:
        """The same as a tar."""
        return self._tar(f"{_workspace(name)}/files", params={"path": path})

    def workspace_changes(self, name: str) -> dict[str, Any]:
        """How a workspace differs from its image."""
        return self._object(Request("GET", f"{_workspace(name)}/diff", timeout=READING))

    def workspace_layer(self, name: str) -> Iterator[bytes]:
        """The same as the tar of a layer."""
        return self._tar(f"{_workspace(name)}/diff")


def _workspace(name: str) -> str:
    return f"/workspaces/{quote(name, safe='')}"
