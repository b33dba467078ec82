"""Whose names, images and workspaces: every tenant has its own, and no other tenant's are there.

A tenant is whom a token stands for, by the token's id. The *house* is everybody who may do
everything: the owner of the home, tokens with the scope `admin`, and with shared trust all. It has
names of its own, and sees those of every tenant: where several have the same name, its own is
meant, or else what all of them agree on.

One function decides, `sees`: whoever reads names, holdings, workspaces, lineage or events of images
asks with it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Final

from sqlalchemy import ColumnElement, Connection, delete, select, true

from transship.store.catalog.db.schema import holdings, references
from transship.store.catalog.db.sql import chunks, upsert

HOUSE: Final = ""
BROKER: Final = "broker"  # whoever may write to the broker


def is_token(tenant: str) -> bool:
    """Whether that is who a token without `admin` stands for."""
    return tenant not in (HOUSE, BROKER)


def sees(tenant: str, column: ColumnElement[str]) -> ColumnElement[bool]:
    """The condition that a row whose tenant is *column* is there for *tenant*."""
    return true() if tenant == HOUSE else column == tenant


def hold(connection: Connection, tenant: str, manifests: Iterable[str]) -> None:
    """The tenant has *manifests* and indexes from now on, whatever becomes of its names.

    Each by itself: an index of one tenant is no way to what others have of the same index.
    """
    for digest in manifests:
        row = {"tenant": tenant, "digest": digest}
        connection.execute(upsert(holdings).values(row).on_conflict_do_nothing())


def let_go(connection: Connection, tenant: str, manifests: Collection[str]) -> None:
    """The tenant has *manifests* no more; where it is the house, nobody has."""
    for some in chunks(manifests):
        mine = holdings.c.digest.in_(some) & sees(tenant, holdings.c.tenant)
        connection.execute(delete(holdings).where(mine))


def held_by(connection: Connection, tenant: str) -> set[str]:
    """What the tenant has, and what its names stand for."""
    tables = (holdings, references)
    return {
        digest
        for table in tables
        for digest in connection.execute(
            select(table.c.digest).where(sees(tenant, table.c.tenant))
        ).scalars()
    }


def held_among(connection: Connection, tenant: str, digests: Collection[str]) -> set[str]:
    """Those of *digests* that the tenant has, or that names of it stand for."""
    return {
        digest
        for table in (holdings, references)
        for some in chunks(digests)
        for digest in connection.execute(
            select(table.c.digest).where(table.c.digest.in_(some), sees(tenant, table.c.tenant))
        ).scalars()
    }
