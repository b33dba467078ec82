"""Writes down who was refused, and who changed what grants access, limits or content.

Nobody's answer waits for it: an entry is there within a second. Refusals can be asked for without
end, so that of very many some are only counted.
"""

from __future__ import annotations

import logging
import queue
import threading
from dataclasses import dataclass
from typing import Final

from starlette.types import Scope

from transship.store.catalog.access import audit
from transship.store.catalog.access.audit import AuditEntry
from transship.store.catalog.db.engine import Catalog
from transship.store.errors import StoreError
from transship.store.text import escaped

log = logging.getLogger(__name__)

OPERATIONS: Final = frozenset(
    {  # beside those of `transship.api.access.administration`, which writes them down itself
        *("changeLimits", "resetLimits", "unparkRegistry"),
        *("pagePause", "pageResume", "pageUnpark", "pageLimit", "pageEnable", "pageDisable"),
        *("putMirror", "changeMirror", "deleteMirror", "deleteImage", "deleteWorkspace"),
    }
)
REFUSED: Final = (401, 403, 429)
MAX_WAITING: Final = 1000
LONGEST_SUBJECT: Final = 300


@dataclass(frozen=True, slots=True)
class Who:
    """Who asks, as the log has it: as jobs are requested by, and the address."""

    caller: str
    peer: str = ""

    def did(self, operation: str, subject: str, status: int, now: float) -> AuditEntry:
        """An entry for what it asked for."""
        return AuditEntry(
            time=now,
            caller=self.caller,
            peer=self.peer,
            operation=operation,
            subject=escaped(subject)[:LONGEST_SUBJECT],
            status=status,
        )


OWNER: Final = Who("local")  # of the home, who needs no server


def peer_of(scope: Scope) -> str:
    """The address that a request came from; empty over the home's socket."""
    return str((scope.get("client") or ("",))[0])


class Audit:
    """The entries that wait, and the thread that writes them. Whoever makes it closes it."""

    def __init__(self, catalog: Catalog) -> None:
        """Write to *catalog*; the thread starts with the first entry."""
        self._catalog = catalog
        self._waiting: queue.Queue[AuditEntry | None] = queue.Queue(MAX_WAITING)
        self._thread: threading.Thread | None = None
        self._lost = 0

    def answered(self, scope: Scope, status: int, *, caller: str = "", operation: str = "") -> None:
        """Write down a request that was answered with *status*, where that is of interest."""
        if status not in REFUSED and not (operation in OPERATIONS and status < 400):
            return
        who = Who(caller, peer_of(scope))
        entry = who.did(operation or scope["method"], scope["path"], status, self._catalog.now())
        try:
            self._waiting.put_nowait(entry)
        except queue.Full:
            self._lost += 1
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="audit", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Write what waits, and stop."""
        if self._thread is not None:
            self._waiting.put(None)
            self._thread.join()

    def _run(self) -> None:
        ending = False
        while not ending:
            batch = [self._waiting.get()]
            while not self._waiting.empty():
                batch.append(self._waiting.get())
            ending = None in batch
            self._write([one for one in batch if one is not None])

    def _write(self, entries: list[AuditEntry]) -> None:
        if lost := self._lost:
            self._lost = 0
            log.warning("%d refusals are not in the audit log: too many at once", lost)
        try:
            with self._catalog.write() as connection:
                audit.record(connection, entries)
        except StoreError as error:
            log.warning("%d entries are not in the audit log: %s", len(entries), error)
