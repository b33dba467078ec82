"""Tokens of the API: who may ask for what. Kept is a hash of each, never the token itself."""

from __future__ import annotations

import hashlib
import secrets
import zlib
from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import Connection, delete, insert, select, update

from transship.store.catalog.db.schema import tokens
from transship.store.errors import ConflictError, NotFoundError

PREFIX = "ts_"  # so that scanners of sources and logs know one when they see it
USED_SECONDS = 60.0  # its use is written down no more often
_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_RANDOM_BYTES = 32
_RANDOM_CHARS = 43  # what so many bytes need in base 62
_CHECK_CHARS = 6  # and 32 bits


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """What is known of a token; its text was shown once."""

    id: str
    name: str
    scopes: tuple[str, ...]
    created_at: float
    expires_at: float | None = None
    used_at: float | None = None

    def has_expired(self, now: float) -> bool:
        """Whether its time is over."""
        return self.expires_at is not None and now >= self.expires_at


def make() -> str:
    """A new token: the prefix, 256 random bits, and a checksum that tells a typing error."""
    body = PREFIX + _base62(secrets.token_bytes(_RANDOM_BYTES), _RANDOM_CHARS)
    return body + _checksum(body)


def is_well_formed(text: str) -> bool:
    """Whether *text* can be a token at all: prefix, length and checksum fit."""
    body, check = text[:-_CHECK_CHARS], text[-_CHECK_CHARS:]
    return (
        body.startswith(PREFIX)
        and len(body) == len(PREFIX) + _RANDOM_CHARS
        and body.isascii()
        and check == _checksum(body)
    )


def hashed(text: str) -> str:
    """What is kept of a token. It has too many bits to be guessed, so one round will do."""
    return hashlib.sha256(text.encode()).hexdigest()


def add(connection: Connection, token: Token, text: str) -> None:
    """Let *text* be a token.

    Raises:
        ConflictError: there is one of that name.
    """
    taken = select(tokens.c.id).where(tokens.c.name == token.name)
    if connection.execute(taken).first() is not None:
        raise ConflictError(
            "there is a token of this name",
            subject=token.name,
            hint="choose another name, or remove that token first",
        )
    connection.execute(
        insert(tokens).values(
            id=token.id,
            name=token.name,
            hashed=hashed(text),
            scopes=list(token.scopes),
            created_at=token.created_at,
            expires_at=token.expires_at,
        )
    )


def by_hash(connection: Connection) -> dict[str, Token]:
    """Every token by the hash of its text, those that have expired too; by name."""
    return {
        row.hashed: Token(
            id=row.id,
            name=row.name,
            scopes=tuple(row.scopes),
            created_at=row.created_at,
            expires_at=row.expires_at,
            used_at=row.used_at,
        )
        for row in connection.execute(select(tokens).order_by(tokens.c.name))
    }


def remove(connection: Connection, name: str) -> None:
    """Let a token be one no longer.

    Raises:
        NotFoundError: there is none of that name.
    """
    if connection.execute(delete(tokens).where(tokens.c.name == name)).rowcount != 1:
        raise NotFoundError("no such token", subject=name, hint="see `transship tokens ls`")


def used(connection: Connection, ids: Collection[str], now: float) -> None:
    """Write down that tokens were used now."""
    connection.execute(update(tokens).where(tokens.c.id.in_(ids)).values(used_at=now))


def _checksum(body: str) -> str:
    return _base62(zlib.crc32(body.encode()).to_bytes(4, "big"), _CHECK_CHARS)


def _base62(data: bytes, length: int) -> str:
    number = int.from_bytes(data, "big")
    digits = []
    for _ in range(length):
        number, digit = divmod(number, len(_ALPHABET))
        digits.append(_ALPHABET[digit])
    return "".join(reversed(digits))
