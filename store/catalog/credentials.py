"""Credentials that came with a job: sealed at rest, gone when the job's tree has ended."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from cryptography.fernet import Fernet, InvalidToken
from sqlalchemy import Connection, select

from store.catalog.schema import credentials
from store.catalog.sql import upsert
from store.errors import HomeUnusableError, StoreError


class Sealer:
    """Seals and opens small JSON objects with one key. The key never shows in its repr."""

    def __init__(self, key: str) -> None:
        """Use *key*, 32 url-safe base64 bytes as `Fernet.generate_key` makes them."""
        try:
            self._fernet = Fernet(key)
        except ValueError as wrong:
            raise StoreError(
                "the key that seals credentials is not 32 url-safe base64 bytes",
                subject="TRANSSHIP_SECRET_KEY",
            ) from wrong

    def seal(self, value: Mapping[str, Any]) -> str:
        """The sealed form of *value*."""
        return self._fernet.encrypt(json.dumps(dict(value)).encode()).decode()

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


def home_key(home: Path) -> str:
    """The key of a home on one host, made at first use and readable by its owner only."""
    path = home / "secret.key"
    try:
        if not path.exists():
            # Written whole before it has its name: another process may be looking.
            draft = home / f".secret.key.{uuid4().hex}"
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


@dataclass(frozen=True, slots=True)
class SealedCredential:
    """A credential for one registry; the fingerprint tells it from others without opening it."""

    registry: str
    sealed: str
    fingerprint: str


def keep(connection: Connection, root: str, given: list[SealedCredential]) -> None:
    """Store the credentials that came with the job *root*."""
    for credential in given:
        values = {"sealed": credential.sealed, "fingerprint": credential.fingerprint}
        connection.execute(
            upsert(credentials)
            .values(root=root, registry=credential.registry, **values)
            .on_conflict_do_update(index_elements=["root", "registry"], set_=values)
        )


def of_root(connection: Connection, root: str) -> dict[str, SealedCredential]:
    """The credentials of a job's tree, by registry."""
    rows = connection.execute(
        select(credentials.c.registry, credentials.c.sealed, credentials.c.fingerprint).where(
            credentials.c.root == root
        )
    )
    return {row.registry: SealedCredential(*row) for row in rows}
