"""A full disk, a database that does not answer, and clocks that jump."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.images import big_image, build_image, push_to_registry
from tests.support.processes import wait_until
from tests.support.proxy import SlowProxy
from tests.support.registries import RegistryProcess
from tests.support.server import Server

HOUR = 3600.0
LOCKED_SECONDS = 10.0
SMALL_BYTES = 24 * 1024 * 1024

Start = Callable[..., Server]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 24 MiB."""
    place = tmp_path / "small"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={SMALL_BYTES}", "tmpfs", str(place)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip("no file system may be mounted here")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_disk_that_fills_up_in_mid_pull_fails_that_job_and_loses_nothing(
    source: RegistryProcess, start_server: Start, small_disk: Path, tmp_path: Path
) -> None:
    """As soon as there is room the same job, asked for again, goes on where it was."""
    image = big_image(tmp_path / "image", 30 * 1024 * 1024, 1, seed="too big")
    push_to_registry(source.url, "team/big", "1", image)
    small = build_image("small", layers=1)
    push_to_registry(source.url, "team/small", "1", small)
    server = start_server(
        workers=1,
        TRANSSHIP_HOME=str(small_disk / "home"),
        TRANSSHIP_DATABASE_URL=f"sqlite:///{tmp_path}/elsewhere.sqlite3",
        TRANSSHIP_STORE_MIN_FREE_BYTES="0",
    )
    name = f"{source.host}/team/big:1"

    failed = server.client.wait(server.submit(kind="pull", reference=name))

    assert failed["state"] == "failed"
    assert (failed["error"]["code"], failed["error"]["side"]) == ("disk-full", "store")
    assert not list((small_disk / "home" / "blobs" / "sha256").glob(_layer(image)))
    partial = _partial_bytes(small_disk / "home")
    assert partial > 1024 * 1024

    subprocess.run(["mount", "-o", f"remount,size={4 * SMALL_BYTES}", small_disk], check=True)
    again = server.client.wait(server.submit(kind="pull", reference=name))

    assert again["state"] == "succeeded"
    assert again["progress"]["bytes_skipped"] >= partial - 1024 * 1024
    other = server.submit(kind="pull", reference=f"{source.host}/team/small:1")
    assert server.client.wait(other)["state"] == "succeeded"


def test_a_database_that_is_locked_for_ten_seconds_holds_up_and_breaks_nothing(
    source: RegistryProcess, start_server: Start
) -> None:
    image = build_image("locked", layers=2)
    push_to_registry(source.url, "team/app", "1", image)
    with SlowProxy(source.host, bytes_per_second=40_000, host_name="localhost") as proxy:
        server = start_server(workers=2)
        job = server.submit(kind="pull", reference=f"{proxy.host}/team/app:1")
        wait_until(lambda: proxy.blob_bodies > 0, 30, "bytes to flow")
        late: list[dict[str, Any]] = []
        asking = threading.Thread(
            target=lambda: late.append(
                server.client.submit(
                    {"kind": "pull", "reference": f"{source.host}/team/app:1"}, credentials={}
                )
            )
        )
        with server.catalog.write():  # what a backup, or a disk that hangs, does
            began = time.monotonic()
            asking.start()
            assert server.client.alive()
            wait_until(
                lambda: time.monotonic() - began >= LOCKED_SECONDS, 30, "ten seconds to pass"
            )
        asking.join(30)
        assert server.client.wait(job)["state"] == "succeeded"
        assert server.client.wait(late[0]["id"])["state"] == "succeeded"
        assert {row.crashes for row in server.transfer_rows()} == {0}


@pytest.mark.parametrize("jump", [HOUR, -HOUR], ids=["ahead", "back"])
def test_a_clock_that_jumps_by_an_hour_delays_nothing_and_kills_nobody(
    source: RegistryProcess, start_server: Start, tmp_path: Path, jump: float
) -> None:
    """Delays are stored with their length, and who is alive is told without a clock."""
    library = _faketime()
    image = build_image("clock", layers=2)
    push_to_registry(source.url, "team/app", "1", image)
    clock = tmp_path / "clock"
    clock.write_text("+0s")
    with SlowProxy(source.host, bytes_per_second=150_000, host_name="localhost") as proxy:
        server = start_server(
            workers=2,
            TRANSSHIP_LEASE_SECONDS="4",
            LD_PRELOAD=library,
            FAKETIME_TIMESTAMP_FILE=str(clock),
            FAKETIME_NO_CACHE="1",
            DONT_FAKE_MONOTONIC="1",
        )
        job = server.submit(kind="pull", reference=f"{proxy.host}/team/app:1")
        wait_until(lambda: proxy.blob_bodies > 0, 30, "bytes to flow")
        clock.write_text(f"{jump:+.0f}s")
        began = time.monotonic()
        assert server.client.wait(job)["state"] == "succeeded"
        after = server.submit(kind="pull", reference=f"{source.host}/team/app:1")
        assert server.client.wait(after)["state"] == "succeeded"
    assert time.monotonic() - began < 60
    assert {row.crashes for row in server.transfer_rows()} == {0}
    assert {row.tries for row in server.transfer_rows()} == {1}


def _faketime() -> str:
    """The library that sets a process's clock, where it is installed."""
    for place in (
        "/usr/lib/x86_64-linux-gnu",
        "/usr/lib/aarch64-linux-gnu",
        "/usr/lib",
        "/usr/lib64",
    ):
        library = Path(place) / "faketime" / "libfaketimeMT.so.1"
        if library.exists():
            return str(library)
    pytest.skip("libfaketime is not installed")


def _layer(image: Any) -> str:
    return str(image.manifest.layers[0].digest).partition(":")[2]


def _partial_bytes(home: Path) -> int:
    return sum(path.stat().st_size for path in (home / "ingests").iterdir())
