"""Access as the owner of a home manages it: on the catalog itself, with or without a server.

The first token must exist before a server listens beyond this machine, and a lost one must not
lock anybody out. A server that runs sees what is done here within a second.
"""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self, TypeVar

from pydantic import BaseModel, ValidationError

from transship.api.access.administration import Access, NewCredential, NewToken
from transship.api.http.audit_log import OWNER
from transship.store.errors import InvalidSpecError
from transship.store.home import prepare_home
from transship.store.settings import Settings
from transship.store.wording import told
from transship.workers.process.bootstrap import open_catalog, sealer

T = TypeVar("T", bound=BaseModel)


class LocalAccess:
    """The part of `transship.api.client.Client` that manages access. Whoever makes it closes it."""

    def __init__(self, settings: Settings) -> None:
        """Open the home of *settings*, and make it where it is new.

        Raises:
            HomeUnusableError, SchemaVersionError: it cannot be used.
        """
        prepare_home(settings.home)
        self._catalog = open_catalog(settings)
        self._access = Access(self._catalog, sealer(settings))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._catalog.close()

    def create_token(
        self, name: str | None, scopes: list[str], expires_in_seconds: int | None
    ) -> dict[str, Any]:
        """Make a token."""
        given = {"name": name, "scopes": scopes, "expires_in_seconds": expires_in_seconds}
        return _shown(self._access.create_token(_checked(NewToken, given), OWNER))

    def tokens(self) -> dict[str, Any]:
        """The tokens, without the tokens themselves."""
        return _shown(self._access.tokens())

    def remove_token(self, name: str) -> None:
        """Refuse a token from now on."""
        self._access.remove_token(name, OWNER)

    def add_credential(self, wanted: dict[str, Any]) -> dict[str, Any]:
        """Keep a credential."""
        return _shown(self._access.add_credential(_checked(NewCredential, wanted), OWNER))

    def credentials(self) -> dict[str, Any]:
        """The named credentials, without their secrets."""
        return _shown(self._access.credentials())

    def remove_credential(self, name: str) -> None:
        """Forget a credential."""
        self._access.remove_credential(name, OWNER)


def _checked(kind: type[T], given: dict[str, Any]) -> T:
    try:
        return kind.model_validate(given)
    except ValidationError as invalid:
        errors = [
            {"field": ".".join(map(str, one["loc"])), "message": told(one)}
            for one in invalid.errors(include_input=False, include_url=False)
        ]
        raise InvalidSpecError(errors[0]["message"], errors=errors) from None


def _shown(value: BaseModel) -> dict[str, Any]:
    return value.model_dump(mode="json")
