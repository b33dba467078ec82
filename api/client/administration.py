"""What an operator sets: limits, tokens, and the server's own credentials."""

from __future__ import annotations

from typing import Any

from transship.api.client import requests
from transship.api.client.exchange import Exchange
from transship.api.client.requests import Request, quoted


class AdministrationCalls(Exchange):
    """What can be asked about limits, tokens and credentials."""

    def status(self) -> dict[str, Any]:
        """What the server is, what it has, and how many jobs there are."""
        return self._object(Request("GET", "/status"))

    def limits(self) -> dict[str, Any]:
        """The limits in force."""
        return self._object(requests.limits())

    def change_limits(self, change: dict[str, Any]) -> dict[str, Any]:
        """Put other values in force; what is absent stays."""
        return self._object(Request("PATCH", "/limits", json=change))

    def unpark(self, registry: str) -> None:
        """Ask a registry again now that is left alone."""
        self._ask(Request("DELETE", f"/limits/registries/{quoted(registry)}/parked"))

    def reset_limits(self, registries: list[str]) -> dict[str, Any]:
        """Take overrides back: all of them, or those of some registries."""
        params = {"registry": registries} if registries else {}
        return self._object(Request("DELETE", "/limits", params=params))

    def create_token(
        self, name: str | None, scopes: list[str], expires_in_seconds: int | None
    ) -> dict[str, Any]:
        """Make a token."""
        wanted = {"name": name, "scopes": scopes, "expires_in_seconds": expires_in_seconds}
        return self._object(Request("POST", "/tokens", json=wanted))

    def tokens(self) -> dict[str, Any]:
        """The tokens, without the tokens themselves."""
        return self._object(Request("GET", "/tokens"))

    def remove_token(self, name: str) -> None:
        """Refuse a token from now on."""
        self._ask(Request("DELETE", f"/tokens/{quoted(name)}"))

    def audit(self, *, limit: int, before: str | None = None) -> dict[str, Any]:
        """Who was refused, and who changed what; the newest first."""
        older = {} if before is None else {"before": before}
        return self._object(Request("GET", "/audit", params={"limit": limit, **older}))

    def add_credential(self, wanted: dict[str, Any]) -> dict[str, Any]:
        """Give the server a credential to keep."""
        return self._object(Request("POST", "/credentials", json=wanted))

    def credentials(self) -> dict[str, Any]:
        """The named credentials, without their secrets."""
        return self._object(Request("GET", "/credentials"))

    def remove_credential(self, name: str) -> None:
        """Let the server forget a credential."""
        self._ask(Request("DELETE", f"/credentials/{quoted(name)}"))
