"""Record what Docker answers, check that it still does, or compare Transship with the record."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from tests.oracle.compare import disagreements
from tests.oracle.docker import DockerSubject
from tests.oracle.records import path_of, record, recorded
from tests.oracle.scenario import all_scenarios, play
from tests.oracle.subject import Json
from tests.oracle.transship import TransshipSubject
from tests.support.dockerd import Dockerd, available
from tests.support.registries import RegistryProcess
from tests.support.up import Up, bare_environment


def main() -> int:
    """Run the scenarios that are named, or all."""
    parser = argparse.ArgumentParser(prog="python -m tests.oracle", description=__doc__)
    parser.add_argument("command", choices=["record", "check", "compare"])
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO")
    arguments = parser.parse_args()
    names = arguments.scenarios or sorted(all_scenarios())
    unknown = set(names) - set(all_scenarios())
    if unknown:
        parser.error(f"there is no scenario {', '.join(sorted(unknown))}")
    with tempfile.TemporaryDirectory() as directory:
        if arguments.command == "compare":
            return _compare(names, Path(directory))
        reason = available()
        if reason is not None:
            print(reason, file=sys.stderr)
            return 1
        run = _record if arguments.command == "record" else _check
        return run(names, Path(directory))


def _record(names: Iterable[str], directory: Path) -> int:
    for name, seen in _docker(names, directory):
        record(name, seen)
        print(path_of(name).name, flush=True)
    return 0


def _check(names: Iterable[str], directory: Path) -> int:
    found = 0
    for name, seen in _docker(names, directory):
        agrees = seen == recorded(name)
        found += not agrees
        print(f"{name}: {'as recorded' if agrees else 'not as recorded'}", flush=True)
        if not agrees:
            print(*disagreements(name, recorded(name), seen, ()), sep="\n", flush=True)
    return 1 if found else 0


def _docker(names: Iterable[str], directory: Path) -> Iterator[tuple[str, Json]]:
    """Play scenarios on Docker, each on a daemon of its own, and tell what was seen."""
    with RegistryProcess(directory) as registry:
        for name in names:
            with Dockerd() as daemon:
                seen = play(name, DockerSubject(daemon), registry)
            yield name, seen


def _compare(names: Iterable[str], directory: Path) -> int:
    found = 0
    with (
        Up(directory, environ=bare_environment(directory)) as up,
        TransshipSubject(up.url, up.home) as subject,
    ):
        for name in names:
            subject.wipe()
            # A server remembers which repositories of a registry have a layer.
            with RegistryProcess(directory / name) as registry:
                seen = play(name, subject, registry)
            differing = disagreements(name, recorded(name), seen)
            found += len(differing)
            print(f"{name}: {len(differing)} disagreements", *differing, sep="\n", flush=True)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
