"""`transship up`, as its users start it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from tests.support.images import Image, build_image, push_to_registry
from tests.support.processes import ChildProcess, wait_until
from tests.support.registries import RegistryProcess
from tests.support.server import TRANSSHIP, bearer, environment, owner_client, remote
from transship.api.client import Client

_ADDRESS = re.compile(r"^API +(http://\S+)", re.MULTILINE)
_FLOWER = re.compile(r"^Flower +(http://\S+)", re.MULTILINE)


def bare_environment(directory: Path, **more: str) -> dict[str, str]:
    """The environment of a machine with nothing but Python on PATH; the home is in *directory*."""
    empty = directory / "bin"
    empty.mkdir(parents=True, exist_ok=True)
    return {**environment(directory / "home", **more), "PATH": str(empty)}


def processes_under(pid: int) -> dict[int, str]:
    """The processes that *pid* started and that still run, with their command lines."""
    found = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = stat.read_text().rpartition(") ")[2].split()[:2]
            if int(parent) == pid and state != "Z":
                command = (stat.parent / "cmdline").read_bytes()
                found[int(stat.parent.name)] = command.replace(b"\0", b" ").decode()
        except (OSError, ValueError):  # it has just ended
            continue
    return found


def runs(pid: int) -> bool:
    """Whether a process runs; one that only waits to be reaped does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(") ")[2][0] != "Z"


class Up:
    """A running `transship up` on a free port, with a worker for each queue.

    Args:
        directory: Its output goes there.
        environ: Its environment; whether it finds a Redis depends on PATH.
        arguments: More of them.
    """

    def __init__(self, directory: Path, *arguments: str, environ: Mapping[str, str]) -> None:
        self.environ = dict(environ)
        self.home = Path(environ["TRANSSHIP_HOME"])
        self.process = ChildProcess(
            [*TRANSSHIP, "up", "--listen", "127.0.0.1:0", *arguments],
            directory=directory,
            name="up",
            environ=environ,
        )
        self.process.wait_ready(lambda: _ADDRESS.search(self.process.log), 30)
        self.url = _ADDRESS.findall(self.process.log)[-1]
        self.client = Client(self.url)
        self.http = httpx.Client(base_url=self.url, timeout=30, trust_env=False)
        self.process.wait_ready(self.ready, 40)
        self.client.close()
        self.client = owner_client(self.url, self.home)
        self.http.headers.update(bearer(self.home))

    @property
    def flower_url(self) -> str:
        """Where Flower is."""
        found: str = _FLOWER.findall(self.process.log)[-1]
        return found

    def ready(self) -> bool:
        """Whether jobs are accepted, and nothing keeps them from moving."""
        try:
            answer = self.http.get("/readyz")
        except httpx.TransportError:
            return False
        return answer.status_code == 200 and not answer.json()["degraded"]

    def children(self) -> dict[int, str]:
        """Its child processes by id."""
        return processes_under(self.process.pid)

    def child(self, words: str) -> int:
        """The one child whose command line has *words* in it."""
        (pid,) = [pid for pid, command in self.children().items() if words in command]
        return pid

    def stop(self) -> None:
        """End it; its children end with it."""
        children = self.children()
        self.client.close()
        self.http.close()
        self.process.stop(15)
        wait_until(lambda: not any(map(runs, children)), 15, "the children of `up` to end")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()


@dataclass(frozen=True, slots=True)
class Environment:
    """Two registries, and a server in one process.

    Attributes:
        environ: Of commands that use the server by its URL.
    """

    source: RegistryProcess
    target: RegistryProcess
    up: Up
    environ: dict[str, str]

    def put(self, name: str, **options: Any) -> Image:
        """Build an image of a few layers and push it to the source as `team/<name>`, tag 1."""
        image = build_image(name, **{"layers": 2, **options})
        push_to_registry(self.source.url, f"team/{name}", "1", image)
        return image

    def submit(self, credentials: Mapping[str, Any] | None = None, **spec: Any) -> str:
        """Ask for a job, and return its id."""
        job: str = self.up.client.submit(spec, credentials=dict(credentials or {}))["id"]
        return job


@contextmanager
def up_environment(directory: Path, **settings: str) -> Iterator[Environment]:
    """All of it, in *directory*."""
    with (
        RegistryProcess(directory / "source", host_name="localhost") as source,
        RegistryProcess(directory / "target", host_name="localhost") as target,
        Up(directory, environ=bare_environment(directory, **settings)) as up,
    ):
        environ = remote(directory / "client" / "home", up.url, up.home)
        (directory / "client").mkdir()
        yield Environment(source, target, up, environ)
