"""A Docker daemon of a test's own: the real one, on its own socket and data directory."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import platform
import shutil
import socket
import subprocess
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
import pytest

from tests.support.processes import ChildProcess

PROGRAM = "dockerd"
VERSION = "20.10"
API = "/v1.41"
_READY_SECONDS = 30
_ANSWER_SECONDS = 120


@functools.cache
def available() -> str | None:
    """Say why the daemon cannot be started here; None where nothing speaks against it."""
    program = shutil.which(PROGRAM)
    if program is None:
        return f"{PROGRAM} is not installed"
    if os.geteuid() != 0:
        return f"{PROGRAM} needs root"
    if platform.machine() != "x86_64":
        return f"the programs in the images are for x86_64, not {platform.machine()}"
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
    if f"version {VERSION}." not in said.stdout:
        return f"Docker {VERSION} is wanted, found: {said.stdout.strip()}"
    return None


class EngineError(Exception):
    """The daemon refused, or failed within a stream that had begun with 200.

    Attributes:
        status: The HTTP status; 200 if the stream had begun.
        message: The daemon's own words.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status
        self.message = message


class Dockerd:
    """Docker 20.10 in a short temporary directory, without a network; experimental is on.

    Attributes:
        socket_path: Where it listens.
        driver: The storage driver that it got: "overlay2", or "vfs" where that does not start.

    Raises:
        AssertionError: it does not start; names its log.
    """

    def __init__(self) -> None:
        # Sockets below it must keep to the 107 bytes of a socket's path.
        self._directory = Path(tempfile.mkdtemp(prefix="dockerd-"))
        self.socket_path = self._directory / "sock"
        self._http = httpx.Client(
            transport=httpx.HTTPTransport(uds=str(self.socket_path)),
            base_url="http://docker",
            timeout=_ANSWER_SECONDS,
        )
        try:
            self.driver, self._process = self._start()
        except BaseException:
            self._clean()
            raise

    def _start(self) -> tuple[str, ChildProcess]:
        try:
            return "overlay2", self._start_with("overlay2")
        except AssertionError:
            return "vfs", self._start_with("vfs")

    def _start_with(self, driver: str) -> ChildProcess:
        process = ChildProcess(
            [
                PROGRAM,
                *("-H", f"unix://{self.socket_path}"),
                *("--data-root", self._directory / driver),
                *("--exec-root", self._directory / "exec"),
                *("--pidfile", self._directory / "pid"),
                *("--storage-driver", driver),
                *("--iptables=false", "--ip6tables=false", "--bridge=none", "--experimental"),
            ],
            directory=self._directory,
            name=PROGRAM,
            environ={"PATH": os.environ["PATH"], "HOME": str(self._directory)},
        )
        process.wait_ready(self.answers, _READY_SECONDS)
        return process

    def answers(self) -> bool:
        """Say whether the daemon answers a ping."""
        # httpcore forgets to close a socket that did not connect.
        with socket.socket(socket.AF_UNIX) as probe:
            if probe.connect_ex(str(self.socket_path)) != 0:
                return False
        with contextlib.suppress(httpx.TransportError):
            return self._http.get("/_ping").status_code == 200
        return False

    @property
    def log(self) -> str:
        """What the daemon has written so far."""
        return self._process.log

    def request(
        self,
        method: str,
        path: str,
        *,
        params: dict[str, Any] | None = None,
        content: bytes | None = None,
        body: Any = None,
        headers: dict[str, str] | None = None,
    ) -> bytes:
        """Return the answer in whole.

        Args:
            method: The HTTP method.
            path: Below the API's version.
            params: The query; a list repeats its key.
            content: A tar to send.
            body: What to send as JSON instead.
            headers: More headers.

        Raises:
            EngineError: the status is 400 or more.
        """
        sent = {"Content-Type": "application/x-tar"} if content is not None else {}
        answer = self._http.request(
            method,
            f"{API}{path}",
            params=params,
            content=content,
            json=body,
            headers={**sent, **(headers or {})},
        )
        if answer.status_code >= 400:
            raise EngineError(answer.status_code, _message(answer))
        return answer.content

    def json(self, method: str, path: str, **how: Any) -> Any:
        """Return the answer's JSON; None for an empty answer. Otherwise as `request`."""
        raw = self.request(method, path, **how)
        return json.loads(raw) if raw.strip() else None

    def stream(self, method: str, path: str, **how: Any) -> list[dict[str, Any]]:
        """Return the objects of a stream that ends by itself. Otherwise as `request`.

        Raises:
            EngineError: with status 200, where the stream says that the operation failed.
        """
        items = list(_objects(self.request(method, path, **how).decode()))
        for item in items:
            if "errorDetail" in item:
                raise EngineError(200, item["errorDetail"]["message"])
        return items

    def stop(self) -> None:
        """End the daemon and what runs in it, and remove all that it kept."""
        if self._process.exit_status is None:
            # A container's shim outlives the daemon unless the container is gone before.
            with contextlib.suppress(EngineError, httpx.TransportError):
                self.remove_containers()
        self._process.stop(30)
        self._clean()

    def remove_containers(self) -> None:
        """End and remove every container."""
        for container in self.json("GET", "/containers/json", params={"all": 1}):
            params = {"force": 1, "v": 1}
            self.request("DELETE", f"/containers/{container['Id']}", params=params)

    def _clean(self) -> None:
        self._http.close()
        mounts = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
        for mount in reversed(mounts):
            if Path(mount).is_relative_to(self._directory):
                subprocess.run(["umount", "--lazy", mount], check=False)
        shutil.rmtree(self._directory, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()


def _message(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["message"])
    except (ValueError, KeyError, TypeError):
        return answer.text.strip()


def _objects(text: str) -> Iterator[dict[str, Any]]:
    """Yield JSON objects that stand one after the other, with or without white space between."""
    decoder = json.JSONDecoder()
    position = 0
    while position < len(text):
        if text[position].isspace():
            position += 1
            continue
        item, position = decoder.raw_decode(text, position)
        yield item


@contextlib.contextmanager
def daemon_or_skip() -> Iterator[Dockerd]:
    """A daemon for tests, which are skipped where none starts."""
    reason = available()
    if reason is not None:
        pytest.skip(reason)
    try:
        with warnings.catch_warnings():
            # httpcore leaves the socket of a refused connection to the garbage collector.
            warnings.simplefilter("ignore", ResourceWarning)
            daemon = Dockerd()
    except AssertionError as error:
        pytest.skip(f"dockerd does not start here: {error}")
    with daemon:
        yield daemon
