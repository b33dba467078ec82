"""The limits: a default that start-up writes, an override beside it, and those of registries.

Admission reads only these rows, and locks both limits of concurrency first, so that admitters
take turns. Migrations make the rows; nothing deletes them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Connection, Select, case, delete, func, select, text, update

from transship.store.catalog.db.schema import TRANSFER_BUSY, cluster, limits, registries, transfers
from transship.store.catalog.db.sql import constant, upsert

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


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryLimits:
    """What is set for one registry, uploads and downloads together; None leaves it open."""

    concurrency: int | None = None
    requests_per_second: float | None = None
    bytes_per_second: int | None = None
    paused: bool = False


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


_IN_FORCE = case((limits.c.override.is_(None), limits.c.default_value), else_=limits.c.override)
_LOCKED = (
    select(limits.c.name)
    .where(limits.c.name.in_(CONCURRENCY.values()))
    .order_by(limits.c.name)
    .with_for_update()
)


def concurrency(direction: str) -> Select[int]:
    """The query for the concurrency in force of a direction, as `most`."""
    return select(_IN_FORCE.label("most")).where(limits.c.name == constant(CONCURRENCY[direction]))


def lock_concurrency(connection: Connection) -> None:
    """Keep others from admitting until the transaction ends; wait for those who do."""
    connection.execute(_LOCKED).all()


def override(connection: Connection, name: str, value: int | None) -> None:
    """Put *value* in force instead of the default, or with None the default again."""
    connection.execute(update(limits).where(limits.c.name == name).values(override=value))


def override_registry(connection: Connection, registry: str, changes: Mapping[str, Any]) -> None:
    """Change some of a registry's limits; a row in which all is open is no row."""
    row = connection.execute(select(registries).where(registries.c.registry == registry)).first()
    before = {} if row is None else {key: getattr(row, key) for key in _REGISTRY_FIELDS}
    wanted = RegistryLimits(**{**before, **changes})
    if wanted == RegistryLimits():
        connection.execute(delete(registries).where(registries.c.registry == registry))
        return
    connection.execute(
        upsert(registries)
        .values(registry=registry, **asdict(wanted))
        .on_conflict_do_update(index_elements=["registry"], set_=asdict(wanted))
    )


def reset(connection: Connection, *, registries_only: Collection[str] | None = None) -> None:
    """Take back every override; with *registries_only* just what is set for these."""
    if registries_only is not None:
        connection.execute(delete(registries).where(registries.c.registry.in_(registries_only)))
        return
    connection.execute(update(limits).values(override=None))
    connection.execute(delete(registries))


_REGISTRY_FIELDS = tuple(RegistryLimits.__dataclass_fields__)
_OF_REGISTRIES = select(registries).order_by(registries.c.registry)
_BUSY = (
    select(transfers.c.registry, func.count(transfers.c.bundle.distinct()).label("busy"))
    .where(text(TRANSFER_BUSY))
    .group_by(transfers.c.registry, transfers.c.direction)
)


def of_registries(connection: Connection) -> dict[str, RegistryLimits]:
    """The limits of the registries that have some."""
    return {
        row.registry: RegistryLimits(**{key: getattr(row, key) for key in _REGISTRY_FIELDS})
        for row in connection.execute(_OF_REGISTRIES)
    }


def room(connection: Connection, concurrency: Mapping[str, int]) -> dict[str, int]:
    """How many slots more each registry takes whose *concurrency* is limited."""
    if not concurrency:
        return {}
    busy: Counter[str] = Counter()
    for row in connection.execute(_BUSY):
        busy[row.registry] += row.busy
    return {name: limit - busy[name] for name, limit in concurrency.items()}


def set_lease_seconds(connection: Connection, seconds: float) -> None:
    """Make *seconds* the lease that every process of the cluster keeps to."""
    connection.execute(update(cluster).values(lease_seconds=seconds))


def lease_seconds(connection: Connection) -> float:
    """The lease in force."""
    return float(connection.execute(select(cluster.c.lease_seconds)).scalar_one())
