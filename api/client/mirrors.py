"""Mirrors that a server keeps, and their runs."""

from __future__ import annotations

from typing import Any

from transship.api.client.exchange import Exchange, quoted


class MirrorCalls(Exchange):
    """What can be asked about mirrors."""

    def put_mirror(self, name: str, wanted: dict[str, Any]) -> dict[str, Any]:
        """Keep a policy under a name, in place of the one that has it."""
        return self._object("PUT", _mirror(name), json=wanted)

    def mirrors(self) -> dict[str, Any]:
        """The policies that are kept."""
        return self._object("GET", "/mirrors")

    def mirror(self, name: str) -> dict[str, Any]:
        """A policy that is kept."""
        return self._object("GET", _mirror(name))

    def change_mirror(self, name: str, *, enabled: bool) -> dict[str, Any]:
        """Let a policy start on its interval, or not."""
        return self._object("PATCH", _mirror(name), json={"enabled": enabled})

    def remove_mirror(self, name: str) -> None:
        """Forget a policy."""
        self._ask("DELETE", _mirror(name))

    def run_mirror(self, name: str, *, idempotency_key: str | None = None) -> dict[str, Any]:
        """Start a run of a policy, which is a job."""
        headers = {"Idempotency-Key": idempotency_key} if idempotency_key else {}
        return self._object("POST", f"{_mirror(name)}/runs", headers=headers)

    def verify_mirror(
        self, name: str, *, read: bool, repair: bool, idempotency_key: str | None = None
    ) -> dict[str, Any]:
        """Verify what a policy has mirrored, by a job."""
        headers = {"Idempotency-Key": idempotency_key} if idempotency_key else {}
        wanted = {"read": read, "repair": repair}
        return self._object("POST", f"{_mirror(name)}/verify", json=wanted, headers=headers)

    def mirror_runs(self, name: str, *, limit: int) -> dict[str, Any]:
        """The runs of a policy, the newest first."""
        return self._object("GET", f"{_mirror(name)}/runs", params={"limit": limit})


def _mirror(name: str) -> str:
    return f"/mirrors/{quoted(name)}"
