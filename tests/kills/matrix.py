"""Chooses whom to kill, kills it, and keeps the book on what came of it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

from sqlalchemy import exists, func, select, text

from tests.kills.cluster import FAILOVERS, Cluster, ended
from tests.support.processes import wait_until
from transship.store.catalog.db.schema import (
    JOB_ACTIVE,
    TRANSFER_ACTIVE,
    jobs,
    lanes,
    leases,
    transfers,
    waits,
    workers,
)
from transship.store.catalog.scheduling.heartbeats import MAX_CRASHES

STAGES = ("resolve", "download", "upload", "publish")
PATIENCE_SECONDS = 30


@dataclass(frozen=True, slots=True)
class Kill:
    """One kill. *hit*: the victim held the claim that its row showed, before and after."""

    role: str
    stage: str
    kind: str
    hit: bool
    digest: str = ""
    seconds: float = 0.0


@dataclass
class Matrix:
    """The kills of one cluster."""

    cluster: Cluster
    random: Random
    label_of_redis: str = "redis"
    kills: list[Kill] = field(default_factory=list)

    def kill_holder(self, stage: str) -> Kill:
        """Kill the process that is at *stage* of some job, as the rows say."""
        try:
            claim = wait_until(lambda: self._claim(stage), PATIENCE_SECONDS, f"a claim at {stage}")
        except AssertionError as late:
            raise AssertionError(f"{late}\n{self.cluster.read(_picture)}") from late
        assert claim is not None
        role = "up" if self.cluster.shape == "up" else str(self.cluster.role_of(claim["owner"]))
        began = time.monotonic()
        self.cluster.kill(role)
        hit = self._still_shown(claim)
        self.cluster.revive(role)
        self._await_others(claim)
        made = Kill(
            role=role.partition(" ")[0],
            stage=stage,
            kind=claim["kind"],
            hit=hit,
            digest=claim.get("digest", ""),
            seconds=time.monotonic() - began,
        )
        self.kills.append(made)
        return made

    def kill_other(self, role: str) -> Kill:
        """Kill what holds no claim: the API, Redis, the database; or let Redis fail over."""
        if role in FAILOVERS:
            self.cluster.wait_in_sync()
        stage = wait_until(self._busy_stage, PATIENCE_SECONDS, "something to be going on")
        began = time.monotonic()
        self.cluster.kill(role)
        self.cluster.revive(role)
        label = self.label_of_redis if role == "redis" else role
        made = Kill(
            role=f"redis {role}" if role in FAILOVERS else label,
            stage=str(stage),
            kind="",
            hit=False,
            seconds=time.monotonic() - began,
        )
        self.kills.append(made)
        return made

    def check_rest(self) -> None:
        """When all jobs have ended: no row is stuck, no slot is taken, no stray file is left."""
        rows = self.cluster.read(
            lambda c: {
                "jobs": c.execute(select(jobs.c.id).where(text(JOB_ACTIVE))).all(),
                "transfers": c.execute(
                    select(transfers.c.id, transfers.c.state).where(text(TRANSFER_ACTIVE))
                ).all(),
                "waits": c.execute(select(waits.c.job).where(~waits.c.ended)).all(),
                "leases": c.execute(
                    select(leases.c.digest).where(~exists().where(jobs.c.id == leases.c.holder))
                ).all(),
            }
        )
        assert rows == {"jobs": [], "transfers": [], "waits": [], "leases": []}, rows
        self.cluster.supervise()
        by_themselves = {
            role: process.log[-3000:]
            for role, process in self.cluster.processes.items()
            if process.exit_status is not None
        }
        assert by_themselves == {}, "ended without being killed"
        self.wait_all_alive()
        stray = [path.name for path in (self.cluster.home / "ingests").iterdir()]
        assert stray == [], f"left behind: {stray}"

    def wait_all_alive(self) -> None:
        """Wait until every worker lives, and no dead one is registered."""

        def all_alive() -> bool:
            pids = self.cluster.worker_pids().values()
            return len(pids) == self.cluster.expected_workers and not any(map(ended, pids))

        wait_until(all_alive, 60, "the dead workers to be reaped")

    def wait_all_reaped(self) -> None:
        """Wait until nothing is held by a worker that is not registered."""

        def all_reaped() -> bool:
            alive = self.cluster.worker_pids().keys()
            owners = self.cluster.read(
                lambda c: {
                    *c.execute(
                        select(jobs.c.owner).where(text(JOB_ACTIVE), jobs.c.owner.is_not(None))
                    ).scalars(),
                    *c.execute(
                        select(transfers.c.owner).where(text("state = 'running'"))
                    ).scalars(),
                }
            )
            return bool(owners <= alive)

        wait_until(all_reaped, 60, "what the dead held to be reaped")

    def sent_again(self, sizes: dict[str, int]) -> dict[str, dict[str, int]]:
        """For each direction and blob: the bytes that crossed the wire beyond the blob's own."""
        down: Counter[str] = Counter()
        for request in self.cluster.source.requests():
            if request.is_blob_get and request.blob_digest:
                down[request.blob_digest] += request.bytes_sent
        up: Counter[str] = Counter()
        for request in self.cluster.target.requests():
            if request.is_upload and "digest=" in request.target:
                digest = request.target.partition("digest=")[2].partition("&")[0]
                up[digest.replace("%3A", ":")] += request.bytes_received
        return {
            direction: {d: count - sizes[d] for d, count in counted.items() if d in sizes}
            for direction, counted in (("download", down), ("upload", up))
        }

    # --- inside ---

    def _claim(self, stage: str) -> dict[str, Any] | None:
        """Somebody at a stage; not where so many have died that the next one fails the job."""
        self.cluster.supervise()
        if self.cluster.shape == "up" and self.cluster.read(_most_deaths) >= MAX_CRASHES - 2:
            return None  # with `up` everything dies that is held, and not the chosen one alone
        found: list[dict[str, Any]] = self.cluster.read(_CLAIMS[stage])
        known = [c for c in found if self._known(c["owner"]) and c["crashes"] < MAX_CRASHES - 2]
        return self.random.choice(known) if known else None

    def _known(self, owner: str) -> bool:
        if self.cluster.shape == "up":
            return owner in self.cluster.worker_pids()
        return self.cluster.role_of(owner) is not None

    def _still_shown(self, claim: dict[str, Any]) -> bool:
        """The dead write nothing: what the row shows now is what it showed at the kill."""
        table = transfers if "digest" in claim else jobs

        def same(connection: Any) -> bool:
            row = connection.execute(select(table).where(table.c.id == claim["id"])).one()
            return bool(
                row.fence == claim["fence"]
                and row.owner == claim["owner"]
                and row.state == "running"
            )

        return bool(self.cluster.read(same))

    def _await_others(self, claim: dict[str, Any]) -> None:
        """Until somebody else has the row, or it has ended: one death at a time for each."""
        table = transfers if "digest" in claim else jobs

        def moved_on(connection: Any) -> bool:
            row = connection.execute(select(table).where(table.c.id == claim["id"])).one()
            return bool(row.fence > claim["fence"] or row.owner != claim["owner"])

        wait_until(lambda: self.cluster.read(moved_on), 60, "the lease of the dead to expire")

    def _busy_stage(self) -> str | None:
        going_on = [stage for stage in STAGES if self.cluster.read(_CLAIMS[stage])]
        return self.random.choice(going_on) if going_on else None


def _picture(connection: Any) -> str:
    """What is going on, for whoever reads why nothing was found to kill."""
    lines = [
        f"{table.name}: {dict(row._mapping)}"
        for table, columns, condition in (
            (jobs, ("kind", "state", "due", "not_before", "dispatched_until", "owner"), JOB_ACTIVE),
            (
                transfers,
                ("direction", "state", "attempts", "not_before", "owner", "crashes"),
                TRANSFER_ACTIVE,
            ),
            (lanes, ("direction", "registry", "parked_until", "parked_delay", "silent_until"), ""),
            (workers, ("id", "pid", "control", "downloads", "uploads", "beat"), ""),
        )
        for row in connection.execute(
            select(*(table.c[name] for name in columns)).where(text(condition or "1 = 1"))
        )
    ]
    return "\n".join(lines)


def _most_deaths(connection: Any) -> int:
    of_transfers = select(func.max(transfers.c.crashes)).where(text(TRANSFER_ACTIVE))
    of_jobs = select(func.max(jobs.c.crashes)).where(text(JOB_ACTIVE))
    return max(connection.execute(query).scalar() or 0 for query in (of_transfers, of_jobs))


def _moving(direction: str) -> Callable[[Any], list[dict[str, Any]]]:
    def query(connection: Any) -> list[dict[str, Any]]:
        rows = connection.execute(
            select(transfers, jobs.c.kind)
            .join(waits, waits.c.transfer == transfers.c.id)
            .join(jobs, jobs.c.id == waits.c.job)
            .where(text("transfers.state = 'running'"), transfers.c.direction == direction)
        )
        return [
            {
                "id": row.id,
                "owner": row.owner,
                "fence": row.fence,
                "digest": row.digest,
                "kind": row.kind,
                "crashes": row.crashes,
            }
            for row in rows
        ]

    return query


def _controlled(*, resolved: bool) -> Callable[[Any], list[dict[str, Any]]]:
    """Jobs that somebody advances now: before anything is known of them, or at their end."""

    def query(connection: Any) -> list[dict[str, Any]]:
        open_waits = exists().where(waits.c.job == jobs.c.id, ~waits.c.ended)
        any_waits = exists().where(waits.c.job == jobs.c.id)
        rows = connection.execute(
            select(jobs).where(
                text("jobs.state = 'running' AND jobs.owner IS NOT NULL"),
                ~open_waits,
                any_waits if resolved else ~any_waits,
            )
        )
        return [
            {
                "id": row.id,
                "owner": row.owner,
                "fence": row.fence,
                "kind": row.kind,
                "crashes": row.crashes,
            }
            for row in rows
        ]

    return query


_CLAIMS = {
    "resolve": _controlled(resolved=False),
    "download": _moving("download"),
    "upload": _moving("upload"),
    "publish": _controlled(resolved=True),
}
