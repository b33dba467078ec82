"""Workspaces: named writable layers over images, as Docker's containers have them.

What was put into one is kept as layers, in their order; the workspace leases their blobs. Its base
needs no lease: a manifest that a workspace stands on is a root of collections. Names are a tenant's
(see `tenants`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, delete, func, insert, select, update

from transship.store.catalog.access.tenants import HOUSE, sees
from transship.store.catalog.content import blobs
from transship.store.catalog.db.schema import workspace_layers
from transship.store.catalog.db.schema import workspaces as table
from transship.store.catalog.db.sql import chunks, upsert
from transship.store.errors import ConflictError, NotFoundError, Side


@dataclass(frozen=True, slots=True, kw_only=True)
class Workspace:
    """A workspace as it was when read.

    Attributes:
        tenant: Whose it is.
        base: The digest of the manifest that it stands on; None where it began empty.
        reference: What its base was asked for by.
        busy: Whether somebody works in it: Docker's running container.
        layers: The digests of what was put into it, the lowest first.
    """

    tenant: str
    name: str
    base: str | None
    reference: str | None
    busy: bool
    created_at: float
    updated_at: float
    layers: tuple[str, ...] = ()


def holder(tenant: str, name: str) -> str:
    """Who leases the layers of the workspace *name*."""
    return f"workspace:{tenant}/{name}" if tenant != HOUSE else f"workspace:{name}"


def create(
    connection: Connection,
    tenant: str,
    name: str,
    *,
    base: str | None,
    reference: str | None,
    busy: bool,
    now: float,
) -> Workspace:
    """Make an empty workspace. The caller has locked the base and seen it there.

    Raises:
        ConflictError: there is one of that name.
    """
    made = Workspace(
        tenant=tenant,
        name=name,
        base=base,
        reference=reference,
        busy=busy,
        created_at=now,
        updated_at=now,
    )
    row = {key: value for key, value in asdict(made).items() if key != "layers"}
    statement = upsert(table).values(row).on_conflict_do_nothing().returning(table.c.name)
    if connection.execute(statement).first() is None:
        raise _taken(name)
    return made


def refuse_taken(connection: Connection, tenant: str, name: str) -> None:
    """Raise ConflictError if there is a workspace *name*, as `create` would."""
    query = select(table.c.name).where(table.c.tenant == tenant, table.c.name == name)
    if connection.execute(query).first() is not None:
        raise _taken(name)


def _taken(name: str) -> ConflictError:
    return ConflictError(
        "there is a workspace of this name",
        subject=name,
        hint="choose another name, or remove that workspace first",
        side=Side.STORE,
    )


def get(connection: Connection, tenant: str, name: str, *, lock: bool = False) -> Workspace:
    """The workspace *name*; with *lock* nobody else changes it while the transaction lasts.

    Raises:
        NotFoundError: there is none.
        ConflictError: the house has none, and several tenants have.
    """
    row = _row(connection, tenant, name, lock=lock)
    return _read(row, _layers(connection, [row])[row.tenant, row.name])


def listed(connection: Connection, tenant: str) -> list[Workspace]:
    """Every workspace, by name."""
    query = select(table).where(sees(tenant, table.c.tenant))
    rows = connection.execute(query.order_by(table.c.name, table.c.tenant)).all()
    below = _layers(connection, rows)
    return [_read(row, below[row.tenant, row.name]) for row in rows]


def set_busy(connection: Connection, tenant: str, name: str, busy: bool, now: float) -> None:
    """Say whether somebody works in it.

    Raises:
        NotFoundError: there is none.
    """
    _touch(connection, tenant, name, now, busy=busy)


def add_layer(connection: Connection, tenant: str, name: str, digest: str, now: float) -> None:
    """Put the layer *digest* on top, and keep its blob; one whose blob is not there yet, too.

    Raises:
        NotFoundError: there is no such workspace, or none any more.
    """
    owner = _touch(connection, tenant, name, now)
    top = select(func.max(workspace_layers.c.position)).where(_layers_of(owner, name))
    highest = connection.execute(top).scalar()
    position = 0 if highest is None else highest + 1
    blobs.lease(connection, holder(owner, name), [digest])
    layer = {"tenant": owner, "workspace": name, "position": position, "digest": digest}
    connection.execute(insert(workspace_layers).values(layer))


def remove(connection: Connection, tenant: str, name: str) -> None:
    """Let the workspace be none any more. What was put into it is left to the collection.

    Raises:
        NotFoundError: there is none.
    """
    owner = _row(connection, tenant, name, lock=True).tenant
    connection.execute(delete(table).where(table.c.tenant == owner, table.c.name == name))
    connection.execute(delete(workspace_layers).where(_layers_of(owner, name)))
    blobs.release(connection, holder(owner, name))


def _row(connection: Connection, tenant: str, name: str, *, lock: bool = False) -> Row[Any]:
    query = select(table).where(table.c.name == name, sees(tenant, table.c.tenant))
    rows = connection.execute(query.with_for_update() if lock else query).all()
    mine = [row for row in rows if row.tenant == tenant] or rows
    if not mine:
        raise _none(name)
    if len(mine) > 1:
        raise ConflictError(
            "several users have a workspace of this name", subject=name, side=Side.STORE
        )
    return mine[0]


def _touch(connection: Connection, tenant: str, name: str, now: float, **values: Any) -> str:
    """Write to the row, and so keep everybody else from changing the workspace meanwhile.

    Returns whose it is.
    """
    owner = str(_row(connection, tenant, name, lock=True).tenant)
    mine = (table.c.tenant == owner) & (table.c.name == name)
    connection.execute(update(table).where(mine).values(updated_at=now, **values))
    return owner


def _layers_of(tenant: str, name: str) -> ColumnElement[bool]:
    return (workspace_layers.c.tenant == tenant) & (workspace_layers.c.workspace == name)


def _layers(
    connection: Connection, workspaces: Sequence[Row[Any]]
) -> dict[tuple[str, str], list[str]]:
    found: dict[tuple[str, str], list[str]] = defaultdict(list)
    for some in chunks({row.name for row in workspaces}):
        for row in connection.execute(
            select(workspace_layers)
            .where(workspace_layers.c.workspace.in_(some))
            .order_by(workspace_layers.c.workspace, workspace_layers.c.position)
        ):
            found[row.tenant, row.workspace].append(row.digest)
    return found


def _read(row: Row[Any], layers: Sequence[str]) -> Workspace:
    return Workspace(**row._asdict(), layers=tuple(layers))


def _none(name: str) -> NotFoundError:
    return NotFoundError(
        "no such workspace", subject=name, hint="see `transship workspace ls`", side=Side.STORE
    )
