"""Kills in the middle of long uploads to a registry that keeps what it was sent."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from sqlalchemy import select

from tests.kills.cluster import Cluster, cluster
from tests.kills.matrix import Kill, Matrix
from tests.support.images import big_image, push_to_registry
from tests.support.processes import wait_until
from tests.support.proxy import Action, ProxiedRequest
from tests.support.registry_simulator import RegistrySimulator
from transship.store.catalog.db.schema import transfers

BLOB_BYTES = 100 * 1024 * 1024
CHUNK_BYTES = 16 * 1024 * 1024
BYTES_PER_SECOND = 20_000_000


@dataclass
class ChunkKills:
    """The kills, and for each the bytes that went over the wire once more."""

    kills: list[Kill] = field(default_factory=list)
    again: list[int] = field(default_factory=list)
    jobs: int = 0
    seconds: float = 0.0


def kill_chunked_uploads(directory: Path, count: int, seed: int) -> ChunkKills:
    """Copy a blob of 100 MiB to the simulator, and kill its uploader after a few chunks; again."""
    random = Random(seed)
    made = ChunkKills()
    began = time.monotonic()
    with RegistrySimulator() as simulator, cluster(directory) as running:
        running.target.target_host = simulator.host
        running.target.on_request = _slower
        matrix = Matrix(running, random)
        for number in range(count):
            image = big_image(
                directory / f"image{number}", BLOB_BYTES, 1, seed=f"chunks {seed} {number}"
            )
            push_to_registry(running.upstream.url, f"team/big{number}", "1", image)
            running.target.forget()
            job = running.client.submit(
                {
                    "kind": "copy",
                    "source": f"{running.source.host}/team/big{number}:1",
                    "destination": f"{running.target.host}/team/big{number}:1",
                },
                credentials={},
            )["id"]
            blob = max(image.manifest.layers, key=lambda layer: layer.size)
            wanted = random.randint(1, blob.size // CHUNK_BYTES - 1) * CHUNK_BYTES
            _wait_for_offset(running, str(blob.digest), wanted)
            made.kills.append(matrix.kill_holder("upload"))
            done = running.client.wait(job)
            assert done["state"] == "succeeded", done["error"]
            assert done["result"]["digest"] == str(image.digest)
            sent = sum(r.bytes_received for r in running.target.requests() if r.is_upload)
            total = sum(b.size for b in image.manifest.blobs)
            again = sent - total
            print(f"  {number + 1}/{count}  killed after {wanted:,} bytes, {again:,} again")
            assert again <= CHUNK_BYTES + 1024 * 1024, again
            made.again.append(max(0, again))
            made.jobs += 1
        matrix.check_rest()
    made.seconds = time.monotonic() - began
    return made


def _slower(request: ProxiedRequest) -> Action | None:
    return Action(bytes_per_second=BYTES_PER_SECOND) if request.is_upload else None


def _wait_for_offset(running: Cluster, digest: str, wanted: int) -> None:
    def reached() -> bool:
        rows = running.read(
            lambda connection: connection.execute(
                select(transfers.c.upload_offset).where(
                    transfers.c.digest == digest, transfers.c.direction == "upload"
                )
            ).all()
        )
        return any(row.upload_offset >= wanted for row in rows)

    wait_until(reached, 120, "some chunks to be acknowledged")
