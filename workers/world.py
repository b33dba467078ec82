"""What the work of jobs and transfers reaches for: one value, made where a process starts."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from sqlalchemy import Connection

from store.catalog import admission, credentials, jobs
from store.catalog.credentials import Sealer
from store.catalog.engine import Catalog
from store.content.ports import ContentStore
from store.errors import RegistryError, Side, TransshipError
from workers.registry.client import RegistryClient, Repository
from workers.registry.credentials import Credential
from workers.wire import Message, Queue, Wire

_T = TypeVar("_T")
_R = TypeVar("_R")

PROBE_THREADS = 16  # a HEAD a blob, for images of many layers
_QUEUES = {"download": Queue.DOWNLOADS, "upload": Queue.UPLOADS}


@dataclass(slots=True)
class Change:
    """An open write transaction, and the jobs that somebody may be waiting to hear of."""

    connection: Connection
    now: float
    jobs: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """The parts of a running process. *shared_trust*: what is held may serve any job."""

    catalog: Catalog
    content: ContentStore
    registries: RegistryClient
    sealer: Sealer
    wire: Wire
    shared_trust: bool = False
    _probes: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(PROBE_THREADS, "probes")
    )

    @contextmanager
    def change(self) -> Iterator[Change]:
        """A write transaction after which whatever it made possible is admitted and rung."""
        with self.catalog.write() as connection:
            change = Change(connection, self.now())
            yield change
            messages = ring(connection, change.now)
        self.wire.publish(messages)
        self.wire.announce(change.jobs)

    def probe(self, ask: Callable[[_T], _R], items: Iterable[_T]) -> list[_R]:
        """Ask something small of each item, several at a time, and return the answers in order."""
        return list(self._probes.map(ask, items))

    def close(self) -> None:
        """Let go of the connections to registries and of the catalog's."""
        self._probes.shutdown(cancel_futures=True)
        self.registries.close()
        self.catalog.close()

    def now(self) -> float:
        """Seconds since the epoch, for records and delays; never for leases."""
        return time.time()

    def repository(self, root: str, registry: str, repository: str) -> Repository:
        """A repository as the job tree of *root* may see it, with the credential it brought."""
        with self.catalog.read() as connection:
            sealed = credentials.of_root(connection, root).get(registry)
        credential = Credential(**self.sealer.open(sealed.sealed)) if sealed else None
        return self.registries.repository(f"{registry}/{repository}", credential=credential)

    def fingerprint(self, root: str, registry: str) -> str:
        """Which credential that is, without opening it; '' for none."""
        with self.catalog.read() as connection:
            sealed = credentials.of_root(connection, root).get(registry)
        return sealed.fingerprint if sealed else ""


def ring(connection: Connection, now: float) -> list[Message]:
    """Admit transfers and pick due jobs; returns the messages to publish after the commit."""
    messages = [
        transfer_message(admitted)
        for direction in admission.DIRECTIONS
        for admitted in admission.admit(connection, direction, now)
    ]
    messages += [
        Message(Queue.CONTROL, f"transship.{row.kind}", row.id, row.label)
        for row in jobs.take_due(connection, now)
    ]
    return messages


def transfer_message(admitted: admission.Admitted) -> Message:
    """The bell for an admitted transfer."""
    return Message(
        _QUEUES[admitted.direction],
        f"transship.{admitted.direction}",
        str(admitted.id),
        f"{admitted.digest[:19]}… {human_bytes(admitted.size)}",
    )


def human_bytes(count: int) -> str:
    """*count* in decimal units, as people read sizes: '31 MB'."""
    size = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 999.5:
            return f"{size:.0f} {unit}" if size >= 10 or unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


@contextmanager
def at(side: Side) -> Iterator[None]:
    """Errors of registries and content from this block lie on *side* of the job."""
    try:
        yield
    except TransshipError as error:
        if isinstance(error, RegistryError) or error.side is Side.SOURCE:
            error.at(side)
        raise
