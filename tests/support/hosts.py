"""Hosts in the small: processes with a network and a name of their own.

A host sees only its own loopback interface. What it is to reach outside, and what is to be reached
in it, is relayed from the same port on one side to the same port on the other. A network that
fails is a host whose relays are closed.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import subprocess
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import pytest

from tests.support.relay import Relay, connected, listening

R = TypeVar("R")
_CLONE_NEWNET = 0x40000000
_NAMESPACES = Path("/run/netns")


def _ip() -> str:
    return shutil.which("ip", path=f"{os.environ['PATH']}:/usr/sbin:/sbin") or "ip"


def _run(*command: str) -> bool:
    with contextlib.suppress(FileNotFoundError):
        done = subprocess.run(command, capture_output=True, check=False)
        return done.returncode == 0
    return False


class Host:
    """A host called *name*, with nothing running; whoever makes it closes it.

    Where network namespaces may not be made, it is this machine by its own name, and cannot be
    cut off.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        namespace = f"transship-{os.getpid()}-{name}"
        self._namespace = namespace if _run(_ip(), "netns", "add", namespace) else None
        self._relays: list[Relay] = []
        self._ports: list[int] = []
        if self._namespace is not None:
            subprocess.run(
                [_ip(), "-n", namespace, "link", "set", "lo", "up"], check=True, timeout=10
            )

    @property
    def is_apart(self) -> bool:
        """Whether it has a network of its own."""
        return self._namespace is not None

    def command(self, *command: str) -> list[str]:
        """The command that runs *command* there, as one process."""
        if self._namespace is None:
            return list(command)
        rename = 'hostname "$0" && exec "$@"'
        apart = ["unshare", "--uts", "sh", "-c", rename, self.name]
        return [_ip(), "netns", "exec", self._namespace, *apart, *command]

    def reach(self, *ports: int) -> None:
        """Let its processes reach what listens on *ports* outside."""
        self._ports += ports
        if self.is_apart:
            for port in ports:
                self._relays.append(
                    Relay(self._inside(partial(listening, port)), partial(connected, port))
                )

    def expose(self, port: int) -> None:
        """Let everyone reach what listens on *port* there."""
        if self.is_apart:
            self._relays.append(
                Relay(listening(port), partial(self._inside, partial(connected, port)))
            )

    def cut_off(self) -> None:
        """Cut all its connections, and refuse new ones; skips the test if that cannot be done."""
        if not self.is_apart:
            pytest.skip("network namespaces may not be made here")
        for relay in self._relays:
            relay.close()
        self._relays.clear()

    def join_again(self) -> None:
        """Let its processes reach again what they reached before."""
        ports, self._ports = self._ports, []
        self.reach(*ports)

    def close(self) -> None:
        """Remove it. Its processes are to be ended first."""
        for relay in self._relays:
            relay.close()
        if self._namespace is not None:
            _run(_ip(), "netns", "delete", self._namespace)

    def _inside(self, act: Callable[[], R]) -> R:
        """What *act* returns in its network. A socket stays where it was made."""
        results: list[R] = []
        failures: list[BaseException] = []

        def run() -> None:  # in a thread of its own: there is no way back
            try:
                with (_NAMESPACES / str(self._namespace)).open() as file:
                    libc = ctypes.CDLL(None, use_errno=True)
                    if libc.setns(file.fileno(), _CLONE_NEWNET) != 0:
                        raise OSError(ctypes.get_errno(), "cannot enter the namespace")
                results.append(act())
            except BaseException as error:  # noqa: BLE001 -- raised by whoever asked
                failures.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
        if failures:
            raise failures[0]
        return results[0]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
