"""Logins of people: a sealed cookie that names a token, and links that log in once.

Nothing is kept of a login: the cookie says which token it was, sealed with the server's key, and is
worth what that token is. It ends after twelve hours, or when the token does.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Self

from transship.store.catalog.access.credentials import Sealer
from transship.store.catalog.access.tokens import Token
from transship.store.errors import HomeUnusableError, StoreError

SESSION_SECONDS: Final = 12 * 3600
LINK_SECONDS: Final = 3600
_LINK: Final = "login-"


@dataclass(frozen=True, slots=True)
class Session:
    """Who has logged in.

    Attributes:
        token: The id of the token.
        name: What the token is called.
        secret: What a form must bring along, so that no other site can send it.
        until: When it ends, in seconds since the epoch.
    """

    token: str
    name: str
    secret: str
    until: float

    @classmethod
    def begin(cls, token: Token) -> Self:
        """A login with *token*, from now on."""
        return cls(token.id, token.name, secrets.token_urlsafe(24), time.time() + SESSION_SECONDS)

    def brings(self, secret: str) -> bool:
        """Whether a form that brings *secret* is of this login."""
        return hmac.compare_digest(self.secret.encode(), secret.encode())


class Seals:
    """Makes cookies that nobody else can make."""

    def __init__(self, sealer: Sealer) -> None:
        """Seal with the server's key."""
        self._sealer = sealer

    def seal(self, session: Session) -> str:
        """The cookie of *session*."""
        return self._sealer.seal({"login": asdict(session)})

    def read(self, cookie: str) -> Session | None:
        """The login of a cookie; None for one that is forged, or over."""
        fields = self._opened(cookie, "login")
        session = None if fields is None else Session(**fields)
        return session if session is not None and session.until > time.time() else None

    def note(self, message: str) -> str:
        """A cookie that tells the next page *message*."""
        return self._sealer.seal({"note": {"message": message}})

    def noted(self, cookie: str) -> str:
        """The message of such a cookie, or nothing."""
        fields = self._opened(cookie, "note")
        return "" if fields is None else str(fields["message"])

    def _opened(self, cookie: str, kind: str) -> Mapping[str, Any] | None:
        try:
            found: Mapping[str, Any] | None = self._sealer.open(cookie).get(kind)
        except StoreError:
            return None
        return found


def make_link(run_dir: Path) -> str:
    """The code of a link that logs the owner of the home in, once, within the hour.

    Raises:
        HomeUnusableError: it cannot be written down.
    """
    code = secrets.token_urlsafe(24)
    try:
        for path in run_dir.glob(f"{_LINK}*"):
            path.unlink(missing_ok=True)  # of a server before
        _link(run_dir, code).touch(mode=0o600)
    except OSError as error:
        raise HomeUnusableError(
            f"a login link cannot be made: {error.strerror}", subject=str(run_dir)
        ) from error
    return code


def use_link(run_dir: Path, code: str) -> bool:
    """Use a link up; False where it was used before, is too old, or never was one."""
    path = _link(run_dir, code)
    try:
        made = path.stat().st_mtime
        path.unlink()  # of several at once one gets this far
    except OSError:
        return False
    return time.time() - made <= LINK_SECONDS


def _link(run_dir: Path, code: str) -> Path:
    return run_dir / f"{_LINK}{hashlib.sha256(code.encode()).hexdigest()}"
