"""`make demo`: mirror real images between two registries, twice, and verify every digest.

Everything is real and everything is private to this run: two registries, one behind a password, a
Redis, an API, two Celery workers and Flower, in a temporary directory and on free loopback ports.
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.demo.cargo import Shipment, build_cargo, push_cargo
from tests.demo.errors import DemoError
from tests.demo.evidence import (
    blobs_sent,
    moved_nothing,
    raw_manifest,
    read_back,
    requests_so_far,
    skopeo_program,
)
from tests.demo.harness import Harness, Stopped, harness, stop_on_signals
from tests.support.registries import PROGRAM as REGISTRY
from tests.support.server import TRANSSHIP
from transship.api.cli.output.table import table
from transship.store.oci.digest import Digest
from transship.store.sizes import human_bytes


@dataclass(frozen=True, slots=True)
class Ride:
    """A command that has ended: the job that it made, and how long it took as typed."""

    shipment: Shipment
    job: dict[str, Any]
    seconds: float


def main() -> int:
    """Run the demo; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.demo", description=__doc__)
    parser.add_argument("--keep", action="store_true", help="let it all run until Ctrl-C")
    arguments = parser.parse_args()
    if shutil.which(REGISTRY) is None:
        print(
            f"{REGISTRY} is not installed, and without it there is nothing to mirror between; "
            "on Debian: apt-get install docker-registry redis-server skopeo",
            file=sys.stderr,
        )
        return 1
    stop_on_signals()
    try:
        with tempfile.TemporaryDirectory(prefix="transship-demo-") as name:
            _play(Path(name), keep=arguments.keep)
    except DemoError as failed:
        print(f"\nThe demo failed: {failed}", file=sys.stderr)
        return 1
    except Stopped as stopped:
        print("\nstopped; nothing was left running", file=sys.stderr)
        return stopped.exit_code
    return 0


def _play(directory: Path, *, keep: bool) -> None:
    began = time.monotonic()
    _say("Starting the registries")
    with harness(directory) as where:
        shipments = build_cargo()
        push_cargo(shipments, where.source.url)
        _describe(where, shipments)
        _first_pass(where, shipments)
        _second_pass(where, shipments)
        _say(f"All of it held, in {time.monotonic() - began:.0f} s")
        if keep:
            _stay(where)
        else:
            _farewell(where)


def _describe(where: Harness, shipments: Sequence[Shipment]) -> None:
    locked = "behind a password" if where.credentials else "no password: none can be hashed here"
    print(f"  source       {where.source.host}: {', '.join(map(str, shipments))}")
    print(f"  destination  {where.target.host}: empty, {locked}")
    if where.flower:
        print(f"  transship    {where.url}: API, two Celery workers, a private Redis")
        print(f"  Flower       {where.flower}")
    else:
        print(f"  transship    {where.url}: one process, no Celery: no Redis is installed")


def _first_pass(where: Harness, shipments: Sequence[Shipment]) -> None:
    _say("First pass: nothing is there yet")
    requests_so_far(where.source)
    where.source.forget_requests()
    rides = _ride(where, shipments)
    _report(rides)
    sent = blobs_sent(requests_so_far(where.source))
    if again := [digest for digest, times in sent.items() if times > 1]:
        raise DemoError(f"the source had to send {again[0]} {sent[again[0]]} times")
    print(f"  The source sent {len(sent)} blobs, each once, by its own log.")
    _verify(where, shipments)


def _verify(where: Harness, shipments: Sequence[Shipment]) -> None:
    skopeo = skopeo_program() is not None
    _say("Verifying what arrived" + ("" if skopeo else "; skopeo is not installed: by plain HTTP"))
    manifests, blobs, count = 0, 0, 0
    for shipment in shipments:
        digests: set[Digest] = set()
        for identifier, sent in shipment.manifests():
            at_source = raw_manifest(where.source, shipment.source, identifier, None)
            arrived = raw_manifest(where.target, shipment.target, identifier, where.credentials)
            if not arrived == at_source == sent:
                raise DemoError(f"{shipment.target} {identifier} is not what the source holds")
            manifests += 1
        for image in shipment.tags.values():
            digests |= set(image.blobs)
        count += read_back(where.target, shipment.target, digests, where.credentials)
        blobs += len(digests)
    print(f"  {manifests} manifests and indexes are the source's, byte for byte", end="")
    print(", as skopeo reads them" if skopeo else "")
    print(f"  {blobs} layers and configs, {human_bytes(count)}, hash to their digests")


def _second_pass(where: Harness, shipments: Sequence[Shipment]) -> None:
    _say("Second pass: the same commands again")
    registries = {"source": where.source, "destination": where.target}
    for registry in registries.values():
        requests_so_far(registry)
        registry.forget_requests()
    rides = _ride(where, shipments)
    _report(rides)
    if moved := sum(ride.job["progress"]["bytes_moved"] for ride in rides):
        raise DemoError(f"{human_bytes(moved)} moved in the second pass")
    for label, registry in registries.items():
        print(f"  log of the {label}: {moved_nothing(label, requests_so_far(registry))}")
    print("  and nothing else.")


def _ride(where: Harness, shipments: Sequence[Shipment]) -> list[Ride]:
    """Type the commands one after the other, as a user would."""
    rides = []
    for shipment in shipments:
        for command in shipment.commands(where.source.host, where.target.host):
            print(f"\n  $ transship {' '.join(command)}", flush=True)
            began = time.monotonic()
            done = _transship(where, *command)
            seconds = time.monotonic() - began
            if done.returncode != 0:
                raise DemoError(f"`transship {command[0]}` ended with {done.returncode}")
            print(f"  {done.stdout.strip()}")
            newest = _transship(where, "jobs", "--json", "--limit", "1")
            if newest.returncode != 0:
                raise DemoError(f"`transship jobs` ended with {newest.returncode}")
            rides.append(Ride(shipment, json.loads(newest.stdout)["items"][0], seconds))
    return rides


def _transship(where: Harness, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command; its progress goes where ours goes, so that a terminal sees bars."""
    return subprocess.run(
        [*TRANSSHIP, *arguments], env=where.environ, stdout=subprocess.PIPE, text=True, check=False
    )


def _report(rides: Sequence[Ride]) -> None:
    columns = ("JOBS", "WHAT", "IMAGES", "BLOBS", "MOVED", "SKIPPED", "SECONDS")
    rows, total = [], [0, 0, 0, 0, 0]
    for ride in rides:
        job, progress = ride.job, ride.job["progress"]
        children = sum(job["children"].values())
        counts = [
            1 + children,
            children or 1,
            progress["blobs_total"],
            progress["bytes_moved"],
            progress["bytes_skipped"],
        ]
        total = [sum(pair) for pair in zip(total, counts, strict=True)]
        rows.append(_row(f"{job['kind']} {ride.shipment.source}", counts, ride.seconds))
    rows.append(_row("in all", total, sum(ride.seconds for ride in rides)))
    text = table(columns, rows)
    print("\n" + "\n".join(f"  {line}" for line in text.splitlines()))
    print("  Blobs are layers and configs; what a copy receives and sends on counts once.\n")


def _row(what: str, counts: Sequence[int], seconds: float) -> tuple[str, ...]:
    jobs, images, blobs, moved, skipped = counts
    return (
        str(jobs),
        what,
        str(images),
        str(blobs),
        human_bytes(moved),
        human_bytes(skipped),
        f"{seconds:.1f}",
    )


def _stay(where: Harness) -> None:
    print("  Everything runs until Ctrl-C. In another terminal:")
    print(f"    export TRANSSHIP_URL={where.url} DOCKER_CONFIG={where.environ['DOCKER_CONFIG']}")
    print("    .venv/bin/transship jobs")
    print(f"    .venv/bin/transship copy {where.source.host}/team/tools:stable", end=" ")
    print(f"{where.target.host}/mine:1", flush=True)
    try:
        while True:
            signal.pause()
    except Stopped:
        print("\n  stopped; all is gone now")


def _farewell(where: Harness) -> None:
    flower = f", Flower at {where.flower}" if where.flower else ""
    print(f"  The API was at {where.url}/api/v1{flower}; all is gone now.")
    print("  Try it yourself:")
    print("    make demo KEEP=1               the same, and it stays until Ctrl-C")
    print("    make up                        a server of your own, with Flower")
    print("    .venv/bin/transship --help     every command; none needs a server")


def _say(heading: str) -> None:
    print(f"\n== {heading}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
