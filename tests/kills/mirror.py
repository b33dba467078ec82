"""A mirror of very many images, cancelled while everything else goes on."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, func, select

from tests.kills.cluster import Cluster, slowly
from tests.kills.matrix import Matrix
from tests.support.processes import wait_until
from tests.support.proxy import SlowProxy
from tests.support.registry_simulator import RegistrySimulator
from transship.store.catalog.db.schema import events, jobs, transfers
from transship.store.errors import TransshipError

PATIENCE_SECONDS = 180
CALM_TRIALS = 5
ACTIVE = ("queued", "running")


@dataclass(frozen=True, slots=True)
class Cancelled:
    """A cancel that cost nobody else a lease: how long it took, and what went on beside it."""

    images: int
    started: int  # children that somebody had taken up before
    seconds: float  # until the last of them had ended
    beside: int  # transfers that were running when it was asked for


class Losses:
    """Notes leases that are lost from when it is made on."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._newest = cluster.read(
            lambda c: c.execute(select(func.coalesce(func.max(events.c.id), 0))).scalar_one()
        )
        self._logs = {role: len(process.log) for role, process in cluster.processes.items()}

    def seen(self) -> list[str]:
        """What was taken from workers as if they were dead, and what they say of it themselves."""
        died = self._cluster.read(
            lambda c: c.execute(
                select(events.c.job, events.c.data).where(
                    events.c.id > self._newest, events.c.type == "worker-died"
                )
            ).all()
        )
        said = [
            f"{role}: {line}"
            for role, process in self._cluster.processes.items()
            for line in process.log[self._logs[role] :].splitlines()
            if re.search(r"\bleases?\b|held by another worker", line)
        ]
        return [f"a worker died, says the log of job {job}: {data}" for job, data in died] + said


@dataclass
class LargeMirror:
    """A mirror from a simulated registry to another name there; its images share one layer."""

    cluster: Cluster
    host: str
    images: int

    def __post_init__(self) -> None:
        self.id = ""

    def submit(self) -> None:
        """Ask for it, and wait for all its children to be there."""
        spec = {
            "kind": "mirror",
            "source": f"{self.host}/large/source",
            "destination": f"{self.host}/large/target",
        }

        def submitted() -> dict[str, Any] | None:
            self.cluster.supervise()
            try:
                return self.cluster.client.submit(spec, credentials={}, idempotency_key="large")
            except TransshipError:  # the API may have been killed last
                return None

        job = wait_until(submitted, PATIENCE_SECONDS, "the API to accept the mirror")
        assert job is not None
        self.id = job["id"]

        def made() -> bool:
            self.cluster.supervise()  # the database may have been killed last
            return self._children() == self.images

        wait_until(made, PATIENCE_SECONDS, f"{self.images} children")

    def cancel(self, matrix: Matrix) -> Cancelled:
        """Cancel it while nobody is killed, and see that nobody else loses a lease by that.

        Whoever was killed before is reaped first, and then for a while no lease may be lost: on a
        machine that is too busy some are without any cancel. From then until two leases after the
        last child has ended, a loss can only be the fault of the cancel.
        """
        cluster = self.cluster
        cluster.processes["api"].wait_ready(cluster.client.alive, PATIENCE_SECONDS)
        matrix.wait_all_alive()
        matrix.wait_all_reaped()
        self._wait_calm()
        started = self._children(jobs.c.fence > 0)
        beside = cluster.read(
            lambda c: c.execute(
                select(func.count()).where(transfers.c.state == "running")
            ).scalar_one()
        )
        losses = Losses(cluster)
        began = time.monotonic()
        cluster.client.cancel(self.id)
        wait_until(lambda: self._active() == 0, PATIENCE_SECONDS, "every child to end")
        seconds = time.monotonic() - began
        _pass(2 * cluster.lease_seconds)
        lost = "\n".join(losses.seen())
        assert not lost, (
            f"the cancel, which took {seconds:.1f} s, cost others their leases:\n{lost}"
        )
        state = cluster.read(
            lambda c: c.execute(select(jobs.c.state).where(jobs.c.id == self.id)).scalar_one()
        )
        assert state == "cancelled"
        return Cancelled(self.images, started, seconds, beside)

    def _wait_calm(self) -> None:
        """Wait until no lease was lost for a while, or give up on this machine."""
        seen: list[str] = []
        for _ in range(CALM_TRIALS):
            losses = Losses(self.cluster)
            _pass(3 * self.cluster.lease_seconds)
            seen = losses.seen()
            if not seen:
                return
        raise AssertionError(
            "leases are lost while nothing is killed or cancelled: this machine is too busy to "
            "tell what a cancel costs:\n" + "\n".join(seen)
        )

    def _children(self, *conditions: ColumnElement[bool]) -> int:
        return int(
            self.cluster.read(
                lambda c: c.execute(
                    select(func.count()).where(jobs.c.parent == self.id, *conditions)
                ).scalar_one()
            )
        )

    def _active(self) -> int:
        mine = (jobs.c.parent == self.id) | (jobs.c.id == self.id)
        return int(
            self.cluster.read(
                lambda c: c.execute(
                    select(func.count()).where(mine, jobs.c.state.in_(ACTIVE))
                ).scalar_one()
            )
        )


def _pass(seconds: float) -> None:
    """Let time pass in which something is not to happen."""
    until = time.monotonic() + seconds
    wait_until(lambda: time.monotonic() >= until, seconds + 1, "time to pass")


@contextmanager
def large_registry(images: int) -> Iterator[str]:
    """A slow registry with so many tags of one image; gives its host."""
    with RegistrySimulator() as simulator:
        digest = simulator.add_image("large/source", "t0", [b"one layer for all of them"])
        with simulator.lock:
            tags = {f"t{number}": digest for number in range(images)}
            simulator.tags["large/source"] |= tags
        with SlowProxy(simulator.host, on_request=slowly, host_name="localhost") as proxy:
            yield proxy.host
