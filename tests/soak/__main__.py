"""`make soak`: fifty clients submit, cancel, list and follow for an hour; is it level?

Memory, open files and the size of the database are measured once a minute, over all processes of a
`transship up` that forgets ended jobs after a minute. Everything is private and on loopback.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from tests.support.images import build_image, push_to_registry
from tests.support.redis import RedisProcess
from tests.support.registries import RegistryProcess
from tests.support.server import environment, owner_client
from tests.support.up import Up, processes_under
from transship.api.client import Client
from transship.store.errors import TransshipError
from transship.store.sizes import human_bytes

CLIENTS = 50
PAUSE_SECONDS = (0.5, 2.5)
IMAGES = 40
RESULTS = Path(__file__).parent / "RESULTS.md"
LEVEL = 1.15  # the last part against the first, warm one


@dataclass(frozen=True, slots=True)
class Sample:
    """What all processes of the server use at one moment."""

    minute: float
    resident_bytes: int
    open_files: int
    database_bytes: int
    jobs: int


@dataclass
class Load:
    """Clients that do what clients do, at random."""

    url: str
    home: Path
    names: list[str]
    targets: list[str]
    done: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._client, args=(number,)) for number in range(CLIENTS)
        ]

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Let the clients end what they are at."""
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def _client(self, number: int) -> None:
        random = Random(number)
        actions: list[tuple[str, Callable[[Client, Random], None]]] = [
            ("submit", self._submit),
            ("follow", self._follow),
            ("cancel", self._cancel),
            ("list", self._list),
            ("remove", self._remove),
        ]
        with owner_client(self.url, self.home) as client:
            while not self._stopping.wait(random.uniform(*PAUSE_SECONDS)):
                name, act = random.choice(actions)
                try:
                    act(client, random)
                    self.done[name] += 1
                except TransshipError as error:
                    if getattr(error, "http_status", 500) >= 500:
                        self.failures.append(f"{name}: {error}")
                    self.done[f"{name} refused"] += 1

    def _spec(self, random: Random) -> dict[str, str]:
        name = random.choice(self.names)
        if random.random() < 0.5:
            return {"kind": "pull", "reference": name}
        return {"kind": "copy", "source": name, "destination": random.choice(self.targets)}

    def _submit(self, client: Client, random: Random) -> None:
        client.submit(self._spec(random), credentials={})

    def _follow(self, client: Client, random: Random) -> None:
        job = client.submit(self._spec(random), credentials={})
        for _ in client.events(job["id"], after=0):
            pass

    def _cancel(self, client: Client, random: Random) -> None:
        client.cancel(client.submit(self._spec(random), credentials={})["id"])

    def _list(self, client: Client, random: Random) -> None:
        client.jobs(limit=random.randint(1, 200))
        client.limits()

    def _remove(self, client: Client, random: Random) -> None:
        client.remove(random.choice(self.names), force=True)


def measure(up: Up, began: float) -> Sample:
    """Add up what the server and its children use."""
    resident = files = 0
    for pid in (up.process.pid, *processes_under(up.process.pid)):
        try:
            pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
            resident += pages * os.sysconf("SC_PAGE_SIZE")
            files += sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
        except OSError:  # it has just ended
            continue
    database = sum(path.stat().st_size for path in up.home.glob("catalog.sqlite3*"))
    jobs = len(up.client.jobs(limit=1000)["items"])
    return Sample((time.monotonic() - began) / 60, resident, files, database, jobs)


def report(samples: list[Sample], load: Load) -> tuple[str, bool]:
    """What was seen, and whether it was level: the last third against the second one."""
    third = max(1, len(samples) // 3)
    warm, last = samples[third : 2 * third] or samples, samples[-third:]
    actions = ", ".join(f"{count} {name}" for name, count in sorted(load.done.items()))
    lines = [
        f"{samples[-1].minute:.0f} minutes, {CLIENTS} clients: {actions}.",
        f"Answers of 500 and above, or none at all: {len(load.failures)}.",
        "",
        "| | second third, median | last third, median | ratio |",
        "|---|---|---|---|",
    ]
    level = not load.failures
    for name, shown in (
        ("resident_bytes", human_bytes),
        ("open_files", str),
        ("database_bytes", human_bytes),
        ("jobs", str),
    ):
        before = statistics.median(getattr(one, name) for one in warm)
        after = statistics.median(getattr(one, name) for one in last)
        ratio = after / before if before else 1.0
        level &= name == "jobs" or ratio <= LEVEL
        lines.append(
            f"| {name.replace('_', ' ')} | {shown(round(before))} | {shown(round(after))} "
            f"| {ratio:.2f} |"
        )
    return "\n".join(lines) + "\n", level


def main() -> int:
    """Run it; returns 0 if all was level and nothing failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--write", action="store_true", help="write RESULTS.md")
    arguments = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="soak-") as place,
        RegistryProcess(Path(place) / "source", host_name="localhost") as source,
        RegistryProcess(Path(place) / "target", host_name="localhost") as target,
        RedisProcess(Path(place) / "redis") as redis,
    ):
        names = []
        for number in range(IMAGES):
            image = build_image(f"soak {number % 10}", layers=3, layer_bytes=60_000,
                                labels={"number": str(number)})  # fmt: skip
            push_to_registry(source.url, f"team/app{number % 5}", f"v{number}", image)
            names.append(f"{source.host}/team/app{number % 5}:v{number}")
        targets = [f"{target.host}/mirror/app:{number}" for number in range(20)]
        environ = environment(
            Path(place) / "home",
            TRANSSHIP_BROKER_URL=redis.url,
            TRANSSHIP_KEEP_JOBS="1m",
            TRANSSHIP_GC_INTERVAL="2m",
            TRANSSHIP_STORE_MIN_FREE_BYTES="0",
        )
        with Up(Path(place), "--workers", "2", environ=environ) as up:
            load = Load(up.url, up.home, names, targets)
            load.start()
            began = time.monotonic()
            samples = []
            while time.monotonic() - began < arguments.minutes * 60:
                time.sleep(min(60, arguments.minutes * 60 / 12))
                samples.append(measure(up, began))
                print(samples[-1], dict(load.done), load.failures[-3:], flush=True)
            load.stop()
        text, level = report(samples, load)
    print(text)
    if arguments.write:
        RESULTS.write_text(f"# Mixed load for an hour: what was seen\n\n{text}")
    return 0 if level else 1


if __name__ == "__main__":
    sys.exit(main())
