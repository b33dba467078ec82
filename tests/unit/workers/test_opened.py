"""How long the credentials of job trees are in memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from sqlalchemy import delete

from tests.contract.catalog.prepared import prepared_sqlite
from transship.store.catalog.access import credentials
from transship.store.catalog.access.credentials import Sealer
from transship.store.catalog.db.engine import Catalog
from transship.store.catalog.db.schema import credentials as rows
from transship.workers.credentials import opened
from transship.workers.credentials.grants import sealed_credential
from transship.workers.credentials.opened import OpenedCredentials
from transship.workers.registry.auth.credentials import Credential

HERE = "registry.example"
MINE = Credential(username="me", password="secret")


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    opened_catalog = Catalog(prepared_sqlite(tmp_path))
    yield opened_catalog
    opened_catalog.close()


def test_they_are_forgotten_when_their_tree_has_ended(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opened, "FORGET_SECONDS", 0.0)
    sealer = Sealer(Fernet.generate_key().decode())
    with catalog.write() as connection:
        for root in ("ended", "alive"):
            credentials.keep(connection, root, [sealed_credential(HERE, MINE, sealer)])
    kept = OpenedCredentials(catalog, sealer)
    for root in ("ended", "alive", "without"):
        found = kept.of(root)
        assert dict(found) == ({} if root == "without" else {HERE: MINE})
    kept.forget_ended()
    assert len(kept) == 2
    with catalog.write() as connection:
        connection.execute(delete(rows).where(rows.c.root == "ended"))
    kept.forget_ended()
    assert len(kept) == 1
    assert kept.of("ended") == {}
    assert kept.of("alive") == {HERE: MINE}


def test_the_database_is_not_asked_at_every_look(catalog: Catalog) -> None:
    sealer = Sealer(Fernet.generate_key().decode())
    with catalog.write() as connection:
        credentials.keep(connection, "ended", [sealed_credential(HERE, MINE, sealer)])
    kept = OpenedCredentials(catalog, sealer)
    assert kept.of("ended")
    with catalog.write() as connection:
        connection.execute(delete(rows))
    kept.forget_ended()
    assert len(kept) == 1
