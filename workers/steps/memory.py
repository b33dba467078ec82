"""What registries have answered in a run, so that nothing is asked for twice."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Any, Final, TypeVar

from transship.store.catalog.content.blobs import Source
from transship.store.errors import Side
from transship.store.oci.descriptor import Descriptor
from transship.store.oci.digest import Digest
from transship.workers.registry.client import Repository
from transship.workers.registry.referrers import Referrers
from transship.workers.steps.remote import Remote

T = TypeVar("T")

MAX_REMEMBERED: Final = 20_000  # answers of one repository


class Memory:
    """A repository whose answers about tags and referrers are remembered for a while.

    Each is asked for once, also by several threads at a time; who comes second waits for it.
    """

    def __init__(self, repository: Repository) -> None:
        """Remember as long as this object lives."""
        self._repository = repository
        self._lock = threading.Lock()
        self._answers: dict[Hashable, Future[Any]] = {}

    def head_manifest(self, tag: str) -> Descriptor | None:
        """As `Repository.head_manifest`."""
        return self.once(("tag", tag), lambda: self._repository.head_manifest(tag))

    def list_referrers(self, digest: Digest, *, tagged: bool = True) -> Referrers:
        """As `Repository.list_referrers`."""
        return self.once(
            (digest, tagged), lambda: self._repository.list_referrers(digest, tagged=tagged)
        )

    def once(self, key: Hashable, ask: Callable[[], T]) -> T:
        """The answer to a question, called *key*; asked for by *ask* if it is not known."""
        with self._lock:
            answer = self._answers.get(key)
            mine = answer is None
            if answer is None:
                if len(self._answers) >= MAX_REMEMBERED:
                    self._answers.clear()
                answer = self._answers[key] = Future()
        if mine:
            try:
                answer.set_result(ask())
            except BaseException as error:  # noqa: BLE001 -- raised again for all who wait
                answer.set_exception(error)
        found: T = answer.result()
        return found


class Memories:
    """What was answered by the sides of the images of a run, which threads may share."""

    def __init__(self) -> None:
        """Begin with nothing remembered."""
        self._lock = threading.Lock()
        self._of: dict[tuple[Source, Side], Memory] = {}

    def of(self, side: Remote) -> Memory:
        """What is remembered of one side, asked with its credential."""
        with self._lock:
            return self._of.setdefault((side.source, side.side), Memory(side.repository))
