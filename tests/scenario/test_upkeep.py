"""Collection, the size cap, the floor of free space, fsck and retention, on a running server."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.support.images import Image, build_image, push_to_registry
from tests.support.processes import wait_until
from tests.support.registries import RegistryProcess
from tests.support.server import Server, run

Start = Callable[..., Server]


def _put(registry: RegistryProcess, tag: str, seed: str = "") -> tuple[Image, str]:
    image = build_image(seed or tag, layers=2)
    push_to_registry(registry.url, "team/app", tag, image)
    return image, f"{registry.host}/team/app:{tag}"


def _pull(server: Server, name: str) -> dict[str, Any]:
    job = server.client.wait(server.submit(kind="pull", reference=name))
    assert job["state"] == "succeeded", job["error"]
    return job


def _blob(server: Server, digest: object) -> Path:
    algorithm, _, hex_ = str(digest).partition(":")
    return server.home / "blobs" / algorithm / hex_


def _files(server: Server) -> set[str]:
    return {path.name for path in (server.home / "blobs" / "sha256").iterdir()}


def test_gc_takes_what_a_removed_image_alone_needed(
    source: RegistryProcess, start_server: Start
) -> None:
    kept, kept_name = _put(source, "kept")
    gone, gone_name = _put(source, "gone")
    server = start_server(workers=1)
    _pull(server, kept_name)
    _pull(server, gone_name)
    server.client.remove(gone_name, force=False)

    done = run("gc", "--json", environ=_client(server))

    assert done.returncode == 0, done.stderr
    shared = set(map(str, kept.blobs)) | {str(kept.digest)}
    lost = (set(map(str, gone.blobs)) | {str(gone.digest)}) - shared
    report = json.loads(done.stdout)["result"]
    assert report["blobs"] == len(lost)
    assert _files(server) == {digest.partition(":")[2] for digest in shared}
    assert _pull(server, gone_name)["result"]["up_to_date"] is False


def test_above_the_cap_unused_blobs_go_by_themselves_and_used_ones_stay(
    source: RegistryProcess, target: RegistryProcess, start_server: Start
) -> None:
    """A copy leaves blobs in the store that nothing there refers to."""
    kept, kept_name = _put(source, "kept")
    copied, copied_name = _put(source, "copied")
    server = start_server(
        workers=1,
        TRANSSHIP_STORE_MAX_BYTES=str(kept.size),
        TRANSSHIP_GC_INTERVAL="1s",
    )
    _pull(server, kept_name)
    job = server.client.wait(
        server.submit(kind="copy", source=copied_name, destination=f"{target.host}/other:1")
    )
    assert job["state"] == "succeeded"
    gone = [blob for blob in copied.blobs if blob not in kept.blobs]
    wait_until(lambda: not any(_blob(server, blob).exists() for blob in gone), 60, "a collection")
    assert all(_blob(server, blob).exists() for blob in kept.blobs)


def test_below_the_floor_of_free_space_nothing_is_fetched(
    source: RegistryProcess, start_server: Start, tmp_path: Path
) -> None:
    """And as soon as there is room, the job goes on by itself."""
    _, name = _put(source, "one")
    floor = shutil.disk_usage(tmp_path).total * 2
    server = start_server(workers=1, TRANSSHIP_STORE_MIN_FREE_BYTES=str(floor))
    job = server.submit(kind="pull", reference=name)
    wait_until(
        lambda: any(row.state == "pending" for row in server.transfer_rows()), 30, "transfers"
    )
    assert server.client.job(job)["state"] == "running"
    assert all(row.state == "pending" for row in server.transfer_rows())
    server.restart_workers(TRANSSHIP_STORE_MIN_FREE_BYTES="0")
    assert server.client.wait(job)["state"] == "succeeded"


def test_fsck_puts_wrong_bytes_aside_and_says_so(
    source: RegistryProcess, start_server: Start
) -> None:
    image, name = _put(source, "one")
    server = start_server(workers=1)
    _pull(server, name)
    layer = _spoil(server, image)

    done = run("fsck", environ=_client(server))

    assert done.returncode == 1
    assert "1 blobs that are in use are wrong or missing" in done.stderr
    assert "fsck --repair" in done.stderr
    assert not _blob(server, layer).exists()
    assert (server.home / "quarantine" / str(layer).replace(":", "-")).exists()


def test_fsck_repair_fetches_again_what_is_wrong_and_what_is_missing(
    source: RegistryProcess, start_server: Start
) -> None:
    image, name = _put(source, "one")
    server = start_server(workers=1)
    _pull(server, name)
    layer = _spoil(server, image)
    _blob(server, image.digest).unlink()  # its manifest

    done = run("fsck", "--repair", "--json", environ=_client(server))

    assert done.returncode == 0, done.stderr + done.stdout
    report = json.loads(done.stdout)["result"]
    assert set(report["repaired"]) == {str(layer), str(image.digest)}
    again = json.loads(run("fsck", "--json", environ=_client(server)).stdout)["result"]
    assert (again["wrong"], again["missing"], again["damaged"]) == ([], [], [])
    assert _pull(server, name)["result"]["up_to_date"] is True


def test_a_file_that_lies_in_the_trash_is_taken_back(
    source: RegistryProcess, target: RegistryProcess, start_server: Start
) -> None:
    image, name = _put(source, "one")
    server = start_server(workers=1)
    _pull(server, name)
    layer = list(image.blobs)[-1]
    trashed = server.home / "trash" / str(layer).replace(":", "-")
    _blob(server, layer).rename(trashed)
    pushed = server.client.wait(
        server.submit(kind="push", reference=name, destination=f"{target.host}/other:1")
    )
    assert pushed["state"] == "succeeded", pushed["error"]

    _blob(server, layer).rename(trashed)
    done = run("fsck", "--json", environ=_client(server))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["result"]["restored"] == [str(layer)]
    assert _blob(server, layer).exists()


def test_ended_jobs_are_forgotten_after_a_while(
    source: RegistryProcess, start_server: Start
) -> None:
    """But for the newest one."""
    _, name = _put(source, "one")
    other, other_name = _put(source, "other")
    server = start_server(workers=1, TRANSSHIP_KEEP_JOBS="2s")
    _pull(server, name)
    newest = _pull(server, other_name)["id"]

    def left() -> list[str]:
        return [job["id"] for job in server.client.jobs()["items"]]

    wait_until(lambda: left() == [newest], 60, "the other job to be forgotten")
    assert {row.digest for row in server.transfer_rows()} <= set(map(str, other.blobs))
    assert _pull(server, name)["result"]["up_to_date"] is True


def _spoil(server: Server, image: Image) -> object:
    layer = list(image.blobs)[-1]
    path = _blob(server, layer)
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.chmod(0o600)
    path.write_bytes(raw)
    return layer


def _client(server: Server) -> dict[str, str]:
    return {**server.environ, "TRANSSHIP_URL": server.url}
