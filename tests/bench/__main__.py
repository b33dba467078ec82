"""`make bench`: copy, pull and mirror, beside skopeo, A B A B, medians and ratios.

Every run begins cold: an empty target registry, an empty store, no cache of known blobs; the second
pass of a mirror finds what the first has left. Wall time is that of the command as typed. CPU is
what all processes of that side used meanwhile: for Transship the command, the API, the workers and
Redis. The registries are the same for both and are not counted.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.images import Image, big_image, build_image, push_to_registry
from tests.support.processes import ChildProcess, free_port, wait_until
from tests.support.registries import RegistryProcess
from tests.support.server import TRANSSHIP, environment

SKOPEO_CACHE = Path("/var/lib/containers/cache/blob-info-cache-v1.boltdb")
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Sample:
    """One run: seconds by the clock, and seconds of CPU."""

    wall: float
    cpu: float


@dataclass(frozen=True)
class Place:
    """What a run finds: the image at the source, an empty target, an empty directory."""

    source: str
    target: str
    directory: Path


Side = Callable[[Place], Sample]


def main() -> int:
    """Run the benchmark and print its table."""
    arguments = argparse.ArgumentParser(prog="python -m tests.bench")
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--megabytes", type=int, default=370)
    arguments.add_argument("--tags", type=int, default=100)
    options = arguments.parse_args()
    if shutil.which("skopeo") is None:
        print("skopeo is not installed: nothing to compare with", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory(prefix="transship-bench-") as name:
        directory = Path(name)
        large = big_image(directory / "large", options.megabytes * 1_000_000, layers=6)
        many = big_image(directory / "many", 40_000_000, layers=40, seed="many")
        with RegistryProcess(directory / "source", host_name="localhost") as source:
            push_to_registry(source.url, "bench/large", "1", large)
            push_to_registry(source.url, "bench/many", "1", many)
            print(_about(options.rounds))
            print(_HEADER)
            for label, image in ((_label(large), "large"), (_label(many), "many")):
                reference = f"{source.host}/bench/{image}:1"
                for verb, ours, theirs in CASES:
                    pairs = _pairs(reference, ours, theirs, options.rounds, directory)
                    print(_row(f"{verb}, {label}", pairs), flush=True)
            for number in range(options.tags):
                small = build_image(f"tag {number}", layers=2, layer_bytes=20_000)
                push_to_registry(source.url, "bench/tags", f"v{number}", small)
            repository = f"{source.host}/bench/tags"
            passes = _mirror_pairs(repository, options.rounds, directory)
            for which, pairs in zip(("first pass", "nothing new"), passes, strict=True):
                print(_row(f"mirror of {options.tags} tags, {which}", pairs), flush=True)
    return 0


def _pairs(
    reference: str, ours: Side, theirs: Side, rounds: int, directory: Path
) -> list[tuple[Sample, Sample]]:
    """A B A B; the first pair warms the page cache and is not counted."""
    pairs = []
    for number in range(rounds + 1):
        pair = []
        for side in (ours, theirs):
            place = directory / "run"
            with RegistryProcess(place / "target", host_name="localhost") as target:
                pair.append(side(Place(reference, f"{target.host}/copy/app:1", place)))
            shutil.rmtree(place)
        if number:
            pairs.append((pair[0], pair[1]))
    return pairs


def _mirror_pairs(
    repository: str, rounds: int, directory: Path
) -> tuple[list[tuple[Sample, Sample]], list[tuple[Sample, Sample]]]:
    """The first and the second pass over a repository, A B A B; the first pair is not counted."""
    passes: tuple[list[tuple[Sample, Sample]], list[tuple[Sample, Sample]]] = ([], [])
    for number in range(rounds + 1):
        sides = []
        for side in (_our_mirror, _skopeo_sync):
            place = directory / "run"
            with RegistryProcess(place / "target", host_name="localhost") as target:
                sides.append(side(Place(repository, f"{target.host}/copy", place)))
            shutil.rmtree(place)
        if number:
            for which, pairs in enumerate(passes):
                pairs.append((sides[0][which], sides[1][which]))
    return passes


def _our_mirror(place: Place) -> list[Sample]:
    samples = []
    with _server(place.directory) as (environ, pids):
        for _ in range(2):
            before = sum(_cpu_of(pid) for pid in pids())
            command = [*TRANSSHIP, "mirror", "--quiet", place.source, f"{place.target}/tags"]
            sample = _timed(command, environ)
            served = sum(_cpu_of(pid) for pid in pids()) - before
            samples.append(Sample(sample.wall, sample.cpu + served))
    return samples


def _skopeo_sync(place: Place) -> list[Sample]:
    options = ["--src-tls-verify=false", "--dest-tls-verify=false", "--src", "docker"]
    SKOPEO_CACHE.unlink(missing_ok=True)
    command = ["skopeo", "sync", *options, "--dest", "docker", place.source, place.target]
    return [_timed(command, dict(os.environ)) for _ in range(2)]


def _served(*command: str) -> Side:
    """A Transship command against a server that runs already."""

    def side(place: Place) -> Sample:
        with _server(place.directory) as (environ, pids):
            before = sum(_cpu_of(pid) for pid in pids())
            sample = _timed([*TRANSSHIP, *_filled(command, place), "--quiet"], environ)
            served = sum(_cpu_of(pid) for pid in pids()) - before
        return Sample(sample.wall, sample.cpu + served)

    return side


def _alone(*command: str) -> Side:
    """A Transship command that brings its own engine."""

    def side(place: Place) -> Sample:
        environ = environment(place.directory / "home")
        return _timed([*TRANSSHIP, *_filled(command, place), "--quiet"], environ)

    return side


def _skopeo(*command: str) -> Side:
    """skopeo, with its cache of known blobs emptied."""

    def side(place: Place) -> Sample:
        SKOPEO_CACHE.unlink(missing_ok=True)
        options = ["--src-tls-verify=false", "--dest-tls-verify=false", "--quiet"]
        return _timed(["skopeo", "copy", *options, *_filled(command, place)], dict(os.environ))

    return side


CASES: tuple[tuple[str, Side, Side], ...] = (
    (
        "copy, server running",
        _served("copy", "{source}", "{target}"),
        _skopeo("docker://{source}", "docker://{target}"),
    ),
    (
        "copy, no server",
        _alone("copy", "{source}", "{target}"),
        _skopeo("docker://{source}", "docker://{target}"),
    ),
    (
        "pull, server running",
        _served("pull", "{source}"),
        _skopeo("docker://{source}", "oci:{directory}/layout:1"),
    ),
)


def _filled(command: Sequence[str], place: Place) -> list[str]:
    values = {"source": place.source, "target": place.target, "directory": str(place.directory)}
    return [part.format(**values) for part in command]


@contextmanager
def _server(directory: Path) -> Iterator[tuple[dict[str, str], Callable[[], list[int]]]]:
    url = f"http://127.0.0.1:{free_port()}"
    environ = environment(directory / "home", TRANSSHIP_LOG="WARNING")
    command = [*TRANSSHIP, "up", "--listen", url.removeprefix("http://"), "--workers", "2"]
    with ChildProcess(command, directory=directory, name="up", environ=environ) as up:
        client = {**environ, "TRANSSHIP_URL": url}
        ready = [sys.executable, "-c", _READY, f"{url}/readyz"]
        up.wait_ready(lambda: subprocess.run(ready, check=False).returncode == 0, 60)
        wait_until(lambda: len(_children(up.pid)) >= 4, 20, "Redis, API and two workers")
        yield client, lambda: [up.pid, *_children(up.pid)]


_READY = """
import sys, urllib.error, urllib.request, json
try:
    answer = json.load(urllib.request.urlopen(sys.argv[1], timeout=2))
except OSError:
    sys.exit(1)
sys.exit(answer["threads"]["control"] < 16)
"""


def _timed(command: Sequence[str], environ: dict[str, str]) -> Sample:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.perf_counter()
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    wall = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Sample(wall, cpu)


def _cpu_of(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def _children(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(child) for child in text.split()]


_HEADER = (
    "| what | Transship, s | skopeo, s | ratio | Transship, CPU s | skopeo, CPU s | CPU ratio |\n"
    "|---|---|---|---|---|---|---|"
)


def _row(label: str, pairs: list[tuple[Sample, Sample]]) -> str:
    cells = [label]
    for figure in ("wall", "cpu"):
        ours = [getattr(pair[0], figure) for pair in pairs]
        theirs = [getattr(pair[1], figure) for pair in pairs]
        ratio = statistics.median(a / b for a, b in zip(ours, theirs, strict=True))
        cells += [_spread(ours), _spread(theirs), f"**{ratio:.2f}**"]
    return f"| {' | '.join(cells)} |"


def _spread(values: list[float]) -> str:
    return f"{statistics.median(values):.2f} ({min(values):.2f}-{max(values):.2f})"


def _label(image: Image) -> str:
    return f"{image.size / 1e6:.0f} MB in {len(image.manifest.layers)} layers"


def _about(rounds: int) -> str:
    version = subprocess.run(["skopeo", "--version"], capture_output=True, text=True, check=True)
    return (
        f"{os.cpu_count()} cores, Python {platform.python_version()}, "
        f"{version.stdout.strip()}; {rounds} pairs, A B A B, each cold; "
        "median (least-most), ratio = median of the pairs' ratios.\n"
    )


if __name__ == "__main__":
    sys.exit(main())
