"""Credentials for registries, sealed at rest.

Those of a job came with it or were copied when it was submitted, and go when its tree has ended.
Named ones are the server's own, and stay.
"""

from __future__ import annotations

import base64
import hmac
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from cryptography.fernet import Fernet, InvalidToken
from sqlalchemy import Connection, delete, select

from transship.store.catalog.db.schema import credentials, named_credentials
from transship.store.catalog.db.sql import chunks, upsert
from transship.store.errors import ConflictError, HomeUnusableError, NotFoundError, StoreError

_MARK_DIGITS: Final = 32


class Sealer:
    """Seals and opens small JSON objects with one key. The key never shows in its repr."""

    def __init__(self, key: str) -> None:
        """Use *key*, 32 url-safe base64 bytes as `Fernet.generate_key` makes them.

        `fingerprint` tells the key from others, and tells nothing else about it.
        """
        try:
            self._fernet = Fernet(key)
        except ValueError as wrong:
            raise StoreError(
                "the key that seals credentials is not 32 url-safe base64 bytes",
                subject="TRANSSHIP_SECRET_KEY",
            ) from wrong
        raw = base64.urlsafe_b64decode(key)
        self.fingerprint = hmac.new(raw, b"transship: which key is this", "sha256").hexdigest()
        self._marks = hmac.digest(raw, b"transship: which credential is this", "sha256")

    def seal(self, value: Mapping[str, Any]) -> str:
        """The sealed form of *value*."""
        return self._fernet.encrypt(json.dumps(dict(value)).encode()).decode()

    def mark(self, value: Mapping[str, Any]) -> str:
        """The fingerprint of *value*, the same each time, which takes the key to make.

        Whoever reads the database cannot try guesses at a password by it.
        """
        text = json.dumps(dict(value), sort_keys=True).encode()
        return hmac.new(self._marks, text, "sha256").hexdigest()[:_MARK_DIGITS]

    def open(self, sealed: str) -> dict[str, Any]:
        """What was sealed.

        Raises:
            StoreError: it was sealed with another key.
        """
        try:
            value: dict[str, Any] = json.loads(self._fernet.decrypt(sealed.encode()))
        except InvalidToken as wrong:
            raise StoreError(
                "stored credentials were sealed with another key",
                subject="TRANSSHIP_SECRET_KEY",
                hint="submit the job again",
            ) from wrong
        return value


def kept_key(path: Path) -> str:
    """The key in a file, which is made at first use and readable by its owner only."""
    try:
        if not path.exists():
            # Written whole before it has its name: another process may be looking.
            draft = path.with_name(f".{path.name}.{uuid4().hex}")
            with os.fdopen(
                os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w"
            ) as file:
                file.write(Fernet.generate_key().decode())
                file.flush()
                os.fsync(file.fileno())
            with suppress(FileExistsError):
                os.link(draft, path)
            draft.unlink()
        return path.read_text()
    except OSError as error:
        raise HomeUnusableError(
            f"the key that seals credentials cannot be kept: {error.strerror}",
            subject=str(path),
        ) from error


_URL: Final = ""  # in the place of a registry: what is sealed is a URL


@dataclass(frozen=True, slots=True)
class SealedCredential:
    """A credential for a registry, or for a namespace in it; the longest that fits is used.

    The fingerprint tells it from others without opening it.
    """

    registry: str  # "quay.io", or "quay.io/team"
    sealed: str = field(repr=False)
    fingerprint: str


def keep(connection: Connection, root: str, given: Iterable[SealedCredential]) -> None:
    """Store the credentials of the job *root*."""
    for credential in given:
        values = {"sealed": credential.sealed, "fingerprint": credential.fingerprint}
        connection.execute(
            upsert(credentials)
            .values(root=root, registry=credential.registry, **values)
            .on_conflict_do_update(index_elements=["root", "registry"], set_=values)
        )


def keep_url(connection: Connection, root: str, sealed: str) -> None:
    """Store the URL of the job *root*, which may open what it leads to."""
    keep(connection, root, [SealedCredential(_URL, sealed, "")])


def url_of(connection: Connection, root: str) -> str | None:
    """The sealed URL of the job *root*, if it has one."""
    mine = (credentials.c.root == root) & (credentials.c.registry == _URL)
    return connection.execute(select(credentials.c.sealed).where(mine)).scalar()


def of_root(connection: Connection, root: str) -> dict[str, SealedCredential]:
    """The credentials of a job's tree, by registry."""
    rows = connection.execute(
        select(credentials.c.registry, credentials.c.sealed, credentials.c.fingerprint).where(
            credentials.c.root == root, credentials.c.registry != _URL
        )
    )
    return {row.registry: SealedCredential(*row) for row in rows}


def roots_among(connection: Connection, roots: Sequence[str]) -> set[str]:
    """Those of some trees that still have credentials; they lose them when they end."""
    found: set[str] = set()
    for some in chunks(roots):
        query = select(credentials.c.root).where(credentials.c.root.in_(some)).distinct()
        found.update(connection.execute(query).scalars())
    return found


# --- named ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class NamedCredential:
    """A credential that the server keeps for the jobs of those who may use it.

    They are granted it by its id, since a name may be given again.
    """

    name: str
    credential: SealedCredential
    created_at: float
    id: str = field(default_factory=lambda: uuid4().hex)


def keep_named(connection: Connection, named: NamedCredential) -> None:
    """Store a named credential, in place of one of that name for the same registry, whose id stays.

    Jobs that were submitted before keep the one that they have.

    Raises:
        ConflictError: the name stands for another registry.
    """
    registry = named.credential.registry
    found = connection.execute(
        select(named_credentials.c.registry).where(named_credentials.c.name == named.name)
    ).scalar()
    if found is not None and found != registry:
        raise ConflictError(
            f"this name stands for a credential for {found}",
            subject=named.name,
            hint="choose another name, or remove that credential first",
        )
    values = {
        "registry": registry,
        "sealed": named.credential.sealed,
        "fingerprint": named.credential.fingerprint,
        "created_at": named.created_at,
    }
    connection.execute(
        upsert(named_credentials)
        .values(name=named.name, id=named.id, **values)
        .on_conflict_do_update(index_elements=["name"], set_=values)
    )


_NAMED = select(named_credentials).order_by(named_credentials.c.name)


def all_named(connection: Connection) -> list[NamedCredential]:
    """The named credentials, by name."""
    return [
        NamedCredential(
            row.name,
            SealedCredential(row.registry, row.sealed, row.fingerprint),
            row.created_at,
            row.id,
        )
        for row in connection.execute(_NAMED)
    ]


def forget_named(connection: Connection, name: str) -> None:
    """Remove a named credential. Jobs that were submitted before keep theirs.

    Raises:
        NotFoundError: there is none of that name.
    """
    gone = delete(named_credentials).where(named_credentials.c.name == name)
    if connection.execute(gone).rowcount != 1:
        raise NotFoundError(
            "no such credential", subject=name, hint="see `transship credentials ls`"
        )
