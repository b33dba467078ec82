"""Work for the cluster: pulls, pushes and copies of images that nobody has seen before."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from random import Random
from typing import Any

from tests.kills.cluster import Cluster
from tests.support.images import Image, build_image, push_to_registry
from tests.support.processes import wait_until
from transship.store.errors import TransshipError
from transship.store.oci.digest import Digest

IN_FLIGHT = 8
LAYER_BYTES = 9_000_000
HUNG_SECONDS = 600  # `up` takes 10 s to come back on two slow cores, and is killed every 12 s


@dataclass
class Batch:
    """Keeps jobs in flight until it is told to stop, and checks each when it has ended."""

    cluster: Cluster
    random: Random
    results: list[dict[str, Any]] = field(default_factory=list)
    sizes: dict[str, int] = field(default_factory=dict)  # of every blob that may move

    def __post_init__(self) -> None:
        self._stopping = threading.Event()
        self._abandoned = threading.Event()
        self._number = 0
        self._lock = threading.Lock()
        self._failures: list[BaseException] = []
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(IN_FLIGHT)]

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def finish(self) -> None:
        """Begin nothing more, and wait until all has ended; raises what went wrong."""
        self._stopping.set()
        for thread in self._threads:
            thread.join()
        if self._failures:
            raise self._failures[0]

    def abandon(self) -> None:
        """Begin nothing more, and let go of what has not ended, because something has failed.

        Raises what went wrong with a job before, which may be why.
        """
        failures = list(self._failures)
        self._abandoned.set()
        self._stopping.set()
        if failures:
            raise failures[0]

    def _work(self) -> None:
        try:
            while not self._stopping.is_set():
                with self._lock:
                    self._number += 1
                    number = self._number
                self._one(number)
        except BaseException as failure:  # noqa: BLE001 -- raised again by whoever waits
            self._failures.append(failure)
            self._stopping.set()

    def _one(self, number: int) -> None:
        image = build_image(f"kill {number}", layers=2, layer_bytes=LAYER_BYTES)
        self.sizes |= {str(blob.digest): blob.size for blob in image.manifest.blobs}
        name = f"team/app{number}"
        push_to_registry(self.cluster.upstream.url, name, "1", image)
        source = f"{self.cluster.source.host}/{name}:1"
        target = f"{self.cluster.target.host}/{name}:1"
        if number % 2:
            self._job(image, kind="copy", source=source, destination=target)
        else:
            self._job(image, kind="pull", reference=source)
            self._job(image, kind="push", reference=source, destination=target)

    def _job(self, image: Image, **spec: Any) -> None:
        """Ask for a job as a careful client does, and wait for its end."""
        key = f"{spec['kind']} {image.digest}"

        def submitted() -> dict[str, Any] | None:
            self._check_wanted()
            try:
                return self.cluster.client.submit(spec, credentials={}, idempotency_key=key)
            except TransshipError:  # the API or the database is away: the key makes it one job
                time.sleep(0.1)
                return None

        job = wait_until(submitted, 60, "the API to accept a job")
        assert job is not None

        def ended() -> dict[str, Any] | None:
            self._check_wanted()
            try:
                found = self.cluster.client.wait(job["id"])
            except TransshipError:
                time.sleep(0.1)
                return None
            return found

        done = wait_until(ended, HUNG_SECONDS, f"{spec['kind']} to end")
        assert done is not None
        assert done["state"] == "succeeded", (spec, done["error"])
        assert done["result"]["digest"] == str(image.digest), spec
        if spec["kind"] == "pull":
            self._check_store(image)
        self.results.append(done)

    def _check_wanted(self) -> None:
        if self._abandoned.is_set():
            raise RuntimeError("abandoned")

    def _check_store(self, image: Image) -> None:
        for blob in image.manifest.blobs:
            path = self.cluster.home / "blobs" / blob.digest.algorithm / blob.digest.hex
            assert Digest.of(path.read_bytes()) == blob.digest
