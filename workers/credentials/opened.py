"""The credentials of job trees, opened: in memory while their trees are at work, and no longer."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import Final

from transship.store.catalog.access import credentials
from transship.store.catalog.access.credentials import Sealer
from transship.store.catalog.db.engine import Catalog
from transship.workers.credentials.grants import opened_credential
from transship.workers.registry.auth.credentials import Credential

MAX_TREES: Final = 256
FORGET_SECONDS: Final = 5.0  # between two looks at which trees have ended


class OpenedCredentials:
    """Reads what a tree signs in with once, and forgets it when the tree has ended.

    Safe to use from many threads. Some other thread calls `forget_ended` now and then.
    """

    def __init__(self, catalog: Catalog, sealer: Sealer) -> None:
        """Open nothing yet."""
        self._catalog = catalog
        self._sealer = sealer
        self._lock = threading.Lock()
        self._trees: dict[str, Mapping[str, Credential]] = {}
        self._looked_at = time.monotonic()

    def __len__(self) -> int:
        """How many trees have credentials in memory."""
        return len(self._roots())

    def of(self, root: str) -> Mapping[str, Credential]:
        """The credentials of the tree of *root*, by registry; they never change."""
        with self._lock:
            if root in self._trees:
                return self._trees[root]
        with self._catalog.read() as connection:
            sealed = credentials.of_root(connection, root)
        opened = {key: opened_credential(one, self._sealer) for key, one in sealed.items()}
        with self._lock:
            while len(self._trees) >= MAX_TREES:
                del self._trees[next(iter(self._trees))]
            self._trees[root] = opened
        return opened

    def forget_ended(self) -> None:
        """Forget what belongs to trees that have ended: the rows go with the last job."""
        now = time.monotonic()
        if now - self._looked_at < FORGET_SECONDS:
            return
        self._looked_at = now
        roots = self._roots()
        if not roots:
            return
        with self._catalog.read() as connection:
            alive = credentials.roots_among(connection, roots)
        with self._lock:
            for root in set(roots) - alive:
                self._trees.pop(root, None)

    def _roots(self) -> list[str]:
        """The trees that have any."""
        with self._lock:
            return [root for root, opened in self._trees.items() if opened]
