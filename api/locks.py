"""Who runs on a home: one engine, or single roles side by side; and how many commands use it.

Locks are the kernel's: they end with the process that holds them, however it ends.
"""

from __future__ import annotations

import fcntl
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from store.errors import EngineRunningError


@dataclass(slots=True)
class HomeLock:
    """A held lock; closing it lets it go. It also passes to children that inherit it."""

    _fd: int

    def close(self) -> None:
        """Let go."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def engine_exclusive(run_dir: Path, **facts: Any) -> HomeLock:
    """Become the engine of the home; *facts* tell others who it is.

    Raises:
        EngineRunningError: there is one, or a role runs by itself.
    """
    path = run_dir / "engine.lock"
    fd = _lock(path, fcntl.LOCK_EX | fcntl.LOCK_NB)
    if fd is None:
        holder = engine_facts(run_dir)
        who = f"process {holder['pid']}" if "pid" in holder else "another process"
        raise EngineRunningError(
            f"{who} runs on this home already",
            subject=str(run_dir.parent),
            hint="use it, stop it, or set another TRANSSHIP_HOME",
        )
    os.ftruncate(fd, 0)
    os.pwrite(fd, json.dumps({"pid": os.getpid(), **facts}).encode(), 0)
    return HomeLock(fd)


def engine_shared(run_dir: Path) -> HomeLock:
    """Run a single role beside others of its kind.

    Raises:
        EngineRunningError: an engine has the home for itself.
    """
    fd = _lock(run_dir / "engine.lock", fcntl.LOCK_SH | fcntl.LOCK_NB)
    if fd is None:
        raise EngineRunningError(
            f"process {engine_facts(run_dir).get('pid', '?')} runs on this home already",
            subject=str(run_dir.parent),
            hint="stop it, or set another TRANSSHIP_HOME",
        )
    return HomeLock(fd)


def engine_facts(run_dir: Path) -> dict[str, Any]:
    """What the last engine of the home told of itself; it need not live any more."""
    try:
        facts: dict[str, Any] = json.loads((run_dir / "engine.lock").read_bytes())
    except (OSError, ValueError):
        return {}
    return facts


def client_presence(run_dir: Path) -> HomeLock:
    """Be counted as a command that uses the home's engine."""
    fd = _lock(run_dir / "clients.lock", fcntl.LOCK_SH)
    assert fd is not None
    return HomeLock(fd)


def no_clients(run_dir: Path, *, wait: bool) -> HomeLock | None:
    """Hold off new commands once the last has left; None if not to wait and some are there."""
    fd = _lock(run_dir / "clients.lock", fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    return None if fd is None else HomeLock(fd)


def _lock(path: Path, operation: int) -> int | None:
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, operation)
    except BlockingIOError:
        os.close(fd)
        return None
    except BaseException:
        os.close(fd)
        raise
    return fd
