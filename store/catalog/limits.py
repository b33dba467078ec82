"""The limits: a default that start-up writes, and an override beside it.

Admission reads only these rows and locks the one of its direction first, so that admitters
take turns. Migrations make the rows; nothing deletes them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, select, update

from store.catalog.schema import cluster, limits

CONCURRENCY = {
    "download": "max_concurrent_downloads",
    "upload": "max_concurrent_uploads",
}
ATTEMPTS = {"download": "max_download_attempts", "upload": "max_upload_attempts"}
NAMES = (*CONCURRENCY.values(), *ATTEMPTS.values())


@dataclass(frozen=True, slots=True)
class Limit:
    """A limit in force, and where its value comes from."""

    name: str
    value: int
    source: str  # 'default', 'environment' or 'override'


def write_defaults(connection: Connection, values: Mapping[str, tuple[int, str]]) -> None:
    """Set each limit's default to (value, source). Of several processes the last start wins."""
    for name, (value, source) in values.items():
        connection.execute(
            update(limits)
            .where(limits.c.name == name)
            .values(default_value=value, default_source=source)
        )


def effective(connection: Connection) -> dict[str, Limit]:
    """Every limit in force, by name."""
    return {
        row.name: Limit(row.name, row.default_value, row.default_source)
        if row.override is None
        else Limit(row.name, row.override, "override")
        for row in connection.execute(select(limits))
    }


_LOCKED = (
    select(limits.c.default_value, limits.c.override)
    .where(limits.c.name == bindparam("name"))
    .with_for_update()
)


def locked(connection: Connection, name: str) -> int:
    """The value in force of one limit, its row locked until the transaction ends."""
    row = connection.execute(_LOCKED, {"name": name}).one()
    return int(row.default_value if row.override is None else row.override)


def override(connection: Connection, name: str, value: int | None) -> None:
    """Put *value* in force instead of the default, or with None the default again."""
    connection.execute(update(limits).where(limits.c.name == name).values(override=value))


def set_lease_seconds(connection: Connection, seconds: float) -> None:
    """Make *seconds* the lease that every process of the cluster keeps to."""
    connection.execute(update(cluster).values(lease_seconds=seconds))


def lease_seconds(connection: Connection) -> float:
    """The lease in force."""
    return float(connection.execute(select(cluster.c.lease_seconds)).scalar_one())
