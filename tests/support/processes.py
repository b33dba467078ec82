"""Child processes and conditions with deadlines.

Nothing here sleeps for a fixed time and hopes: every wait is for a condition, and says what it
waited for when it does not come.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

T = TypeVar("T")
POLL_SECONDS = 0.01


def free_port() -> int:
    """Return a TCP port that is free on loopback now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def port_answers(port: int, host: str = "127.0.0.1") -> bool:
    """Say whether something accepts connections on *port*."""
    try:
        with socket.create_connection((host, port), timeout=1):
            return True
    except OSError:
        return False


def wait_until(predicate: Callable[[], T], seconds: float, what: str) -> T:
    """Return the first true value of *predicate*.

    Raises:
        AssertionError: it did not come within *seconds*; names *what* was waited for.
    """
    deadline = time.monotonic() + seconds
    while True:
        value = predicate()
        if value:
            return value
        if time.monotonic() >= deadline:
            raise AssertionError(f"{what}: not within {seconds:g} s")
        time.sleep(POLL_SECONDS)


class ChildProcess:
    """A program in a process group of its own, its output in a file.

    Args:
        command: Program and arguments.
        directory: Where it runs, and where its output goes.
        name: For messages and for the names of the files.
        environ: Its whole environment; by default that of the tests.
        separate_output: Keep standard output out of the log, in `<name>.out`.
    """

    def __init__(
        self,
        command: Sequence[str | Path],
        *,
        directory: Path,
        name: str,
        environ: Mapping[str, str] | None = None,
        separate_output: bool = False,
    ) -> None:
        self.name = name
        self.log_path = directory / f"{name}.log"
        self.output_path = directory / f"{name}.out" if separate_output else self.log_path
        with self.log_path.open("ab") as log, self.output_path.open("ab") as output:
            self._process = subprocess.Popen(
                [str(part) for part in command],
                cwd=directory,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=log,
                env=None if environ is None else dict(environ),
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    @property
    def exit_status(self) -> int | None:
        """Its status, negative for a signal; None while it runs."""
        return self._process.poll()

    @property
    def log(self) -> str:
        """What it has written so far."""
        return self.log_path.read_text(errors="replace")

    def wait_ready(self, predicate: Callable[[], object], seconds: float = 20) -> None:
        """Wait until *predicate* holds; fail early, with the log, if the process ends."""

        def ready() -> bool:
            if self.exit_status is not None:
                raise AssertionError(
                    f"{self.name} ended with {self.exit_status} before it was ready:\n{self.log}"
                )
            return bool(predicate())

        try:
            wait_until(ready, seconds, f"{self.name} to be ready")
        except AssertionError as late:
            self.stop()
            raise AssertionError(f"{late}\n{self.log[-4000:]}") from None

    def wait(self, seconds: float = 20) -> int:
        """Wait for its end, and return its status."""
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(
                f"{self.name} did not end within {seconds:g} s:\n{self.log[-4000:]}"
            ) from None

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the process alone."""
        self._process.send_signal(number)

    def kill(self) -> None:
        """End the process and its children at once, as a power cut would."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait(10)

    def stop(self, seconds: float = 10) -> None:
        """Ask it to end, and make it end if it does not. Its children end with it."""
        self._process.terminate()
        self._end_within(seconds)

    def _end_within(self, seconds: float) -> None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)
        self.kill()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()


def stop_all(processes: Iterable[ChildProcess]) -> None:
    """Stop all of them at the same time."""
    asked = list(processes)
    for process in asked:
        process.send(signal.SIGTERM)
    for process in asked:
        process._end_within(10)
