"""The processes that `transship up` starts, watches and ends."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import time
from dataclasses import dataclass, field
from functools import partial

_PR_SET_PDEATHSIG = 1
_ANYBODYS = frozenset({"PATH", "HOME", "LANG", "TZ", "TMPDIR", "VIRTUAL_ENV"})
_prctl = getattr(ctypes.CDLL(None), "prctl", None)  # Linux has it


@dataclass(slots=True)
class Child:
    """A process that is started again when it ends.

    It inherits the variables of this process; where *other* says that it is another program than
    ours, those that any program needs, and its own, which begin with *other*.
    """

    name: str
    command: list[str]
    environment: dict[str, str]
    other: str | None = None
    pass_fds: tuple[int, ...] = ()
    process: subprocess.Popen[bytes] | None = None
    started: float = field(default=0.0)

    def start(self) -> None:
        """Start it."""
        self.started = time.monotonic()
        # In a group of its own, so that Ctrl-C reaches `up` alone, which says when to stop.
        self.process = subprocess.Popen(  # noqa: S603 -- our own commands
            self.command,
            env={**self._inherited(), **self.environment},
            pass_fds=self.pass_fds,
            process_group=0,
            preexec_fn=partial(_die_with, os.getpid()),  # noqa: PLW1509 -- no thread runs here
        )

    def _inherited(self) -> dict[str, str]:
        if self.other is None:
            return dict(os.environ)
        return {
            name: value
            for name, value in os.environ.items()
            if name in _ANYBODYS or name.startswith(("LC_", self.other))
        }

    def stop(self) -> None:
        """Ask it to end."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()

    def reap(self, deadline: float) -> None:
        """Wait for its end until *deadline*, then make it end."""
        if self.process is None:
            return
        try:
            self.process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def _die_with(parent: int) -> None:
    """Called between fork and exec: let the kernel kill this process when *parent* ends.

    Nobody is left then to ask for an orderly end; and whoever starts next takes the work over.
    """
    if _prctl is not None:
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it has ended already
        os._exit(1)
