"""Workspaces: named writable layers over images, as Docker's containers have them.

What was put into one is kept as layers, in their order; the workspace leases their blobs. Its base
needs no lease: a manifest that a workspace stands on is a root of collections.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Connection, Row, delete, func, insert, select, update

from store.catalog import blobs
from store.catalog.schema import workspace_layers
from store.catalog.schema import workspaces as table
from store.catalog.sql import chunks, upsert
from store.errors import ConflictError, NotFoundError, Side


@dataclass(frozen=True, slots=True, kw_only=True)
class Workspace:
    """A workspace as it was when read.

    Attributes:
        base: The digest of the manifest that it stands on; None where it began empty.
        reference: What its base was asked for by.
        busy: Whether somebody works in it: Docker's running container.
        layers: The digests of what was put into it, the lowest first.
    """

    name: str
    base: str | None
    reference: str | None
    busy: bool
    created_at: float
    updated_at: float
    layers: tuple[str, ...] = ()


def holder(name: str) -> str:
    """Who leases the layers of the workspace *name*."""
    return f"workspace:{name}"


def create(
    connection: Connection,
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
        name=name, base=base, reference=reference, busy=busy, created_at=now, updated_at=now
    )
    row = {key: value for key, value in asdict(made).items() if key != "layers"}
    statement = upsert(table).values(row).on_conflict_do_nothing().returning(table.c.name)
    if connection.execute(statement).first() is None:
        raise ConflictError(
            "there is a workspace of this name",
            subject=name,
            hint="choose another name, or remove that workspace first",
            side=Side.STORE,
        )
    return made


def get(connection: Connection, name: str, *, lock: bool = False) -> Workspace:
    """The workspace *name*; with *lock* nobody else changes it while the transaction lasts.

    Raises:
        NotFoundError: there is none.
    """
    query = select(table).where(table.c.name == name)
    row = connection.execute(query.with_for_update() if lock else query).one_or_none()
    if row is None:
        raise _none(name)
    return _read(row, _layers(connection, [name])[name])


def listed(connection: Connection) -> list[Workspace]:
    """Every workspace, by name."""
    rows = connection.execute(select(table).order_by(table.c.name)).all()
    below = _layers(connection, [row.name for row in rows])
    return [_read(row, below[row.name]) for row in rows]


def set_busy(connection: Connection, name: str, busy: bool, now: float) -> None:
    """Say whether somebody works in it.

    Raises:
        NotFoundError: there is none.
    """
    _touch(connection, name, now, busy=busy)


def add_layer(connection: Connection, name: str, digest: str, now: float) -> None:
    """Put the layer *digest* on top, and keep its blob; one whose blob is not there yet, too.

    Raises:
        NotFoundError: there is no such workspace, or none any more.
    """
    _touch(connection, name, now)
    top = select(func.max(workspace_layers.c.position)).where(workspace_layers.c.workspace == name)
    highest = connection.execute(top).scalar()
    position = 0 if highest is None else highest + 1
    blobs.lease(connection, holder(name), [digest])
    connection.execute(
        insert(workspace_layers).values(workspace=name, position=position, digest=digest)
    )


def remove(connection: Connection, name: str) -> None:
    """Let the workspace be none any more. What was put into it is left to the collection.

    Raises:
        NotFoundError: there is none.
    """
    if connection.execute(delete(table).where(table.c.name == name)).rowcount != 1:
        raise _none(name)
    connection.execute(delete(workspace_layers).where(workspace_layers.c.workspace == name))
    blobs.release(connection, holder(name))


def _touch(connection: Connection, name: str, now: float, **values: Any) -> None:
    """Write to the row, and so keep everybody else from changing the workspace meanwhile."""
    statement = update(table).where(table.c.name == name).values(updated_at=now, **values)
    if connection.execute(statement).rowcount != 1:
        raise _none(name)


def _layers(connection: Connection, names: Sequence[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for some in chunks(names):
        for row in connection.execute(
            select(workspace_layers.c.workspace, workspace_layers.c.digest)
            .where(workspace_layers.c.workspace.in_(some))
            .order_by(workspace_layers.c.workspace, workspace_layers.c.position)
        ):
            found[row.workspace].append(row.digest)
    return found


def _read(row: Row[Any], layers: Sequence[str]) -> Workspace:
    return Workspace(**row._asdict(), layers=tuple(layers))


def _none(name: str) -> NotFoundError:
    return NotFoundError(
        "no such workspace", subject=name, hint="see `transship workspace ls`", side=Side.STORE
    )
