"""What the work of jobs and transfers reaches for: one value, made where a process starts."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from sqlalchemy import Connection

from store.catalog import admission, credentials, rationing
from store.catalog.credentials import Sealer
from store.catalog.engine import Catalog
from store.content.ports import ContentStore
from store.errors import RegistryError, Side, TransshipError
from store.sizes import human_bytes
from workers.registry.client import RegistryClient, Repository
from workers.registry.credentials import Credential, fingerprint
from workers.wire import Message, Queue, Wire

_T = TypeVar("_T")
_R = TypeVar("_R")

MOST_OPENED = 256  # credentials kept in memory
PROBE_THREADS = 16  # a HEAD a blob, for images of many layers
QUEUES = {
    "download": Queue.DOWNLOADS,
    "upload": Queue.UPLOADS,
    "control": Queue.CONTROL,
    "local": Queue.LOCAL,
}


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
    _opened: dict[tuple[str, str], Credential | None] = field(default_factory=dict, repr=False)
    _opened_lock: threading.Lock = field(default_factory=threading.Lock)

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
        credential = self._credential(root, registry)
        return self.registries.repository(f"{registry}/{repository}", credential=credential)

    def fingerprint(self, root: str, registry: str) -> str:
        """Which credential that is; '' for none."""
        return fingerprint(self._credential(root, registry))

    def _credential(self, root: str, registry: str) -> Credential | None:
        """The credential that came with *root*; it never changes, so it is read once."""
        with self._opened_lock:
            if (root, registry) in self._opened:
                return self._opened[root, registry]
        with self.catalog.read() as connection:
            sealed = credentials.of_root(connection, root).get(registry)
        credential = Credential(**self.sealer.open(sealed.sealed)) if sealed else None
        with self._opened_lock:
            while len(self._opened) >= MOST_OPENED:
                del self._opened[next(iter(self._opened))]
            self._opened[root, registry] = credential
        return credential


def ring(connection: Connection, now: float) -> list[Message]:
    """Admit transfers and pick due jobs; returns the messages to publish after the commit."""
    messages = [
        transfer_message(admitted)
        for direction in admission.DIRECTIONS
        for admitted in admission.admit(connection, direction, now)
    ]
    messages += [
        Message(QUEUES[row.queue], f"transship.{row.kind}", row.id, row.label)
        for row in rationing.take_due(connection, now)
    ]
    return messages


def transfer_message(admitted: admission.Admitted) -> Message:
    """The bell for an admitted transfer."""
    return Message(
        QUEUES[admitted.direction],
        f"transship.{admitted.direction}",
        str(admitted.id),
        f"{admitted.digest[:19]}… {human_bytes(admitted.size)}",
    )


@contextmanager
def at(side: Side) -> Iterator[None]:
    """Errors of registries and content from this block lie on *side* of the job."""
    try:
        yield
    except TransshipError as error:
        if isinstance(error, RegistryError) or error.side is Side.SOURCE:
            error.at(side)
        raise
