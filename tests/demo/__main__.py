"""`make demo`: mirror real images between two registries, twice, and verify every digest.

Everything is real and everything is private to this run: two registries, one behind a password, a
Redis, an API, two workers and Flower, in a temporary directory and on free loopback ports.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from store.oci import mediatypes
from store.sizes import human_bytes
from tests.demo.cargo import Shipment, load_cargo
from tests.support.processes import ChildProcess, free_port
from tests.support.redis import redis_program
from tests.support.registries import PROGRAM as REGISTRY
from tests.support.registries import RegistryProcess
from tests.support.server import TRANSSHIP, environment

USER, PASSWORD = "demo", "correct horse battery staple"


class DemoError(Exception):
    """Something that the demo promises does not hold."""


@dataclass(frozen=True)
class Stage:
    """Where the demo plays."""

    source: RegistryProcess
    target: RegistryProcess
    environ: dict[str, str]
    url: str
    flower: str | None


def main() -> int:
    """Run the demo; returns the exit code."""
    if shutil.which(REGISTRY) is None:
        print(f"{REGISTRY} is not installed, and the demo has nothing to mirror between.")
        print("On Debian: apt-get install docker-registry redis-server skopeo")
        return 1
    try:
        with tempfile.TemporaryDirectory(prefix="transship-demo-") as name, _stage(Path(name)) as s:
            shipments = load_cargo(s.source)
            _first_pass(s, shipments)
            _second_pass(s, shipments)
            _farewell(s)
    except DemoError as failed:
        print(f"\nThe demo failed: {failed}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        return 130
    return 0


@contextmanager
def _stage(directory: Path) -> Iterator[Stage]:
    """Two registries and a running Transship; all of it ends with the block."""
    _say("Setting the stage")
    with (
        RegistryProcess(directory / "source", host_name="localhost") as source,
        RegistryProcess(
            directory / "target", host_name="localhost", htpasswd=(USER, PASSWORD)
        ) as target,
    ):
        print(f"  source registry       {source.host}")
        print(f"  destination registry  {target.host}, behind a password")
        config = directory / "docker" / "config.json"
        config.parent.mkdir()
        entry = {"username": USER, "password": PASSWORD}
        config.write_text(json.dumps({"auths": {target.host: entry}}))
        environ = environment(directory / "home", TRANSSHIP_LOG="WARNING")
        port, flower = free_port(), f"127.0.0.1:{free_port()}" if redis_program() else None
        command = [*TRANSSHIP, "up", "--listen", f"127.0.0.1:{port}", "--workers", "2"]
        if flower is not None:
            command.append(f"--flower={flower}")
        url = f"http://127.0.0.1:{port}"
        with ChildProcess(command, directory=directory, name="up", environ=environ) as up:
            up.wait_ready(lambda: _ready(url), 60)
            if flower is not None:
                print(f"  transship up          {url}, two Celery workers, Flower at {flower}")
            else:
                print(f"  transship up          {url}, one process: no Redis is installed")
            yield Stage(source, target, {**environ, "TRANSSHIP_URL": url}, url, flower)


def _first_pass(stage: Stage, shipments: Sequence[Shipment]) -> None:
    _say("First pass: nothing is there yet")
    began = time.monotonic()
    jobs = _run_all(stage, shipments)
    _table(jobs, time.monotonic() - began)
    _say(f"Verifying with {'skopeo' if shutil.which('skopeo') else 'plain HTTP (no skopeo here)'}")
    count = 0
    for shipment in shipments:
        for identifier, expected in shipment.manifests():
            found = _raw_manifest(stage.target, shipment.target, identifier)
            if found != expected:
                raise DemoError(f"{shipment.target} {identifier} is not what was sent")
            count += 1
    print(f"  {count} manifests and indexes are the same, byte for byte")


def _second_pass(stage: Stage, shipments: Sequence[Shipment]) -> None:
    _say("Second pass: the same commands again")
    stage.source.forget_requests()
    stage.target.forget_requests()
    began = time.monotonic()
    jobs = _run_all(stage, shipments)
    _table(jobs, time.monotonic() - began)
    if any(job["progress"]["bytes_moved"] for job in jobs):
        raise DemoError("something moved in the second pass")
    for label, registry in (("source", stage.source), ("destination", stage.target)):
        methods = [request.method for request in registry.requests()]
        others = sorted(set(methods) - {"HEAD"})
        print(f"  requests in the {label} registry's log: {methods.count('HEAD')} HEAD")
        if others:
            raise DemoError(f"the second pass sent {', '.join(others)} to the {label} registry")
    print("  and nothing else")


def _run_all(stage: Stage, shipments: Sequence[Shipment]) -> list[dict[str, Any]]:
    """Type the commands one after the other, as a user would."""
    jobs = []
    for shipment in shipments:
        command = shipment.command(stage.source.host, stage.target.host)
        print(f"\n  $ transship {' '.join(command)}", flush=True)
        done = subprocess.run(
            [*TRANSSHIP, *command],
            env=stage.environ,
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise DemoError(f"the command ended with {done.returncode}")
        print(f"  {done.stdout.strip()}")
        listed = subprocess.run(
            [*TRANSSHIP, "jobs", "--json", "--limit", "1"],
            env=stage.environ,
            capture_output=True,
            check=True,
        )
        jobs.append(json.loads(listed.stdout)["items"][0])
    return jobs


def _table(jobs: Sequence[dict[str, Any]], seconds: float) -> None:
    print(f"\n  {'job':<8}{'images':>7}{'layers and configs':>20}{'moved':>10}{'spared':>10}")
    total = dict.fromkeys(("images", "blobs_done", "bytes_moved", "bytes_spared"), 0)
    for job in jobs:
        row = {**job["progress"], "images": sum(job["children"].values()) or 1}
        for key in total:
            total[key] += row[key]
        print(_line(job["kind"], row))
    print(_line("total", total) + f"   in {seconds:.1f} s")


def _line(name: str, row: dict[str, int]) -> str:
    return (
        f"  {name:<8}{row['images']:>7}{row['blobs_done']:>20}"
        f"{human_bytes(row['bytes_moved']):>10}{human_bytes(row['bytes_spared']):>10}"
    )


def _raw_manifest(registry: RegistryProcess, repository: str, identifier: str) -> bytes:
    """What the registry holds, read by an independent client."""
    separator = "@" if ":" in identifier else ":"
    skopeo = shutil.which("skopeo")
    if skopeo is not None:
        name = f"docker://{registry.host}/{repository}{separator}{identifier}"
        options = ["--raw", "--tls-verify=false", f"--creds={USER}:{PASSWORD}"]
        read = subprocess.run([skopeo, "inspect", *options, name], capture_output=True, check=False)
        if read.returncode != 0:
            raise DemoError(f"skopeo cannot read {name}: {read.stderr.decode().strip()}")
        return read.stdout
    answer = httpx.get(
        f"{registry.url}/v2/{repository}/manifests/{identifier}",
        headers={"Accept": ", ".join(mediatypes.ACCEPT)},
        auth=(USER, PASSWORD),
    )
    return answer.content


def _ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz", timeout=2).status_code == 200
    except httpx.HTTPError:
        return False


def _farewell(stage: Stage) -> None:
    _say("All of it held")
    flower = f" Flower showed the tasks at http://{stage.flower}." if stage.flower else ""
    print(f"  The API was at {stage.url}/api/v1.{flower}")
    print("  To try it yourself:  make up   and in another terminal")
    print("  .venv/bin/transship pull alpine      (or --help)")


def _say(heading: str) -> None:
    print(f"\n== {heading}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
