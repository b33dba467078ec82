"""Whose names, images and workspaces: every tenant has its own, and no other tenant's are there.

A tenant is whom a token stands for, by the token's id. The *house* is everybody who may do
everything: the owner of the home, tokens with the scope `admin`, and with shared trust all. It has
names of its own, and sees those of every tenant: where several have the same name, its own is
meant, or else what all of them agree on.

One function decides, `sees`: whoever reads names, holdings, workspaces, lineage or events of images
asks with it.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from sqlalchemy import ColumnElement, Connection, delete, select, true

from store.catalog.schema import holdings, references
from store.catalog.sql import chunks, upsert

HOUSE: Final = ""


def sees(tenant: str, column: ColumnElement[str]) -> ColumnElement[bool]:
    """The condition that a row whose tenant is *column* is there for *tenant*."""
    return true() if tenant == HOUSE else column == tenant


def hold(connection: Connection, tenant: str, root: str) -> None:
    """The tenant has the image or index *root* from now on, whatever becomes of its names."""
    row = {"tenant": tenant, "digest": root}
    connection.execute(upsert(holdings).values(row).on_conflict_do_nothing())


def let_go(connection: Connection, tenant: str, roots: Collection[str]) -> None:
    """The tenant has *roots* no more; where it is the house, nobody has."""
    for some in chunks(roots):
        mine = holdings.c.digest.in_(some) & sees(tenant, holdings.c.tenant)
        connection.execute(delete(holdings).where(mine))


def roots_of(connection: Connection, tenant: str) -> set[str]:
    """What the tenant has, and what its names stand for."""
    tables = (holdings, references)
    return {
        digest
        for table in tables
        for digest in connection.execute(
            select(table.c.digest).where(sees(tenant, table.c.tenant))
        ).scalars()
    }


def roots_among(connection: Connection, tenant: str, digests: Collection[str]) -> set[str]:
    """Those of *digests* that the tenant has, or that names of it stand for."""
    return {
        digest
        for table in (holdings, references)
        for some in chunks(digests)
        for digest in connection.execute(
            select(table.c.digest).where(table.c.digest.in_(some), sees(tenant, table.c.tenant))
        ).scalars()
    }
