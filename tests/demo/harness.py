"""Where the demo plays: two registries and a running Transship, on free loopback ports."""

from __future__ import annotations

import base64
import json
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import httpx
import pytest

from tests.demo.errors import DemoError
from tests.support.processes import ChildProcess, free_port
from tests.support.redis import redis_program
from tests.support.registries import RegistryProcess
from tests.support.server import TRANSSHIP, environment

Credentials = tuple[str, str]

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_CREDENTIALS = ("demo", "correct horse battery staple")
_START_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Harness:
    """What runs, and how commands reach it.

    Attributes:
        credentials: What the target asks for; None where no password could be hashed here.
        environ: The environment of a command: `TRANSSHIP_URL`, and `DOCKER_CONFIG` with the
            credentials.
        flower: Its address; None without Redis, since Flower shows Celery's tasks.
    """

    source: RegistryProcess
    target: RegistryProcess
    credentials: Credentials | None
    environ: dict[str, str]
    url: str
    flower: str | None


class Stopped(BaseException):
    """A signal came; everything is ended on the way out."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.exit_code = 128 + number


def stop_on_signals() -> None:
    """Make Ctrl-C, and what `kill` and a closed terminal send, end what was started here.

    Children are in process groups of their own, so that no signal but ours reaches them.
    """
    for one in _SIGNALS:
        signal.signal(one, _stop)


@contextmanager
def harness(directory: Path) -> Iterator[Harness]:
    """Start everything in *directory*; all of it has ended when the block has.

    Raises:
        DemoError: something does not start.
    """
    with ExitStack() as running:
        try:
            made = _start(directory, running)
        except AssertionError as late:
            raise DemoError(str(late)) from late
        try:
            yield made
        finally:
            _ignore_signals()


def _start(directory: Path, running: ExitStack) -> Harness:
    source = running.enter_context(
        RegistryProcess(directory / "source", host_name="localhost"),
    )
    credentials: Credentials | None = _CREDENTIALS
    try:
        target = RegistryProcess(directory / "target", host_name="localhost", htpasswd=credentials)
    except pytest.skip.Exception:  # neither htpasswd nor a libcrypt with bcrypt
        credentials = None
        target = RegistryProcess(directory / "target", host_name="localhost")
    running.enter_context(target)
    environ = environment(directory / "home", TRANSSHIP_LOG="WARNING")
    config = Path(environ["DOCKER_CONFIG"], "config.json")
    config.parent.mkdir()
    auths = {}
    if credentials is not None:
        login = base64.b64encode(":".join(credentials).encode()).decode()
        auths[target.host] = {"auth": login}  # as `docker login` writes it
    config.write_text(json.dumps({"auths": auths}))

    url = f"http://127.0.0.1:{free_port()}"
    flower = f"127.0.0.1:{free_port()}" if redis_program() else None
    command = [*TRANSSHIP, "up", "--listen", url.removeprefix("http://"), "--workers", "2"]
    if flower is not None:
        command.append(f"--flower={flower}")
    up = ChildProcess(command, directory=directory, name="up", environ=environ)
    running.enter_context(up)
    up.wait_ready(lambda: _ready(url), _START_SECONDS)
    return Harness(
        source,
        target,
        credentials,
        {**environ, "TRANSSHIP_URL": url},
        url,
        f"http://{flower}" if flower else None,
    )


def _ready(url: str) -> bool:
    try:
        answer = httpx.get(f"{url}/readyz", timeout=2)
    except httpx.HTTPError:
        return False
    return answer.status_code == 200 and not answer.json()["degraded"]


def _stop(number: int, frame: FrameType | None) -> None:
    _ignore_signals()  # an impatient second Ctrl-C must not leave half of it running
    raise Stopped(number)


def _ignore_signals() -> None:
    for one in _SIGNALS:
        signal.signal(one, signal.SIG_IGN)
