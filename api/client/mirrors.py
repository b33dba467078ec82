"""Mirrors that a server keeps, and their runs."""

from __future__ import annotations

from typing import Any

from transship.api.client import requests
from transship.api.client.exchange import Exchange


class MirrorCalls(Exchange):
    """What can be asked about mirrors."""

    def put_mirror(self, name: str, wanted: dict[str, Any]) -> dict[str, Any]:
        """Keep a policy under a name, in place of the one that has it."""
        return self._object(requests.put_mirror(name, wanted))

    def mirrors(self) -> dict[str, Any]:
        """The policies that are kept."""
        return self._object(requests.mirrors())

    def mirror(self, name: str) -> dict[str, Any]:
        """A policy that is kept."""
        return self._object(requests.mirror(name))

    def change_mirror(self, name: str, *, enabled: bool) -> dict[str, Any]:
        """Let a policy start on its interval, or not."""
        return self._object(requests.change_mirror(name, enabled=enabled))

    def remove_mirror(self, name: str) -> None:
        """Forget a policy."""
        self._ask(requests.remove_mirror(name))

    def run_mirror(self, name: str, *, idempotency_key: str | None = None) -> dict[str, Any]:
        """Start a run of a policy, which is a job."""
        return self._object(requests.run_mirror(name).keyed(idempotency_key))

    def verify_mirror(
        self, name: str, *, read: bool, repair: bool, idempotency_key: str | None = None
    ) -> dict[str, Any]:
        """Verify what a policy has mirrored, by a job."""
        request = requests.verify_mirror(name, read=read, repair=repair)
        return self._object(request.keyed(idempotency_key))

    def mirror_runs(self, name: str, *, limit: int) -> dict[str, Any]:
        """The runs of a policy, the newest first."""
        return self._object(requests.mirror_runs(name, limit=limit))
