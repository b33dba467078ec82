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

from transship.store.errors import EngineRunningError

ROLES = ("api", "worker")  # what runs beside others; each is a kind of its own
SOCKET = "api.sock"  # of the engine, in the directory of its locks


@dataclass(slots=True)
class HomeLock:
    """A held lock; closing it lets it go. Children do not inherit it."""

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
    return _engine(run_dir, fcntl.LOCK_EX, "use it, stop it, or set another TRANSSHIP_HOME", facts)


def engine_shared(run_dir: Path, **facts: Any) -> HomeLock:
    """Run a single role beside others of its kind.

    Raises:
        EngineRunningError: an engine has the home for itself.
    """
    return _engine(run_dir, fcntl.LOCK_SH, "stop it, or set another TRANSSHIP_HOME", facts)


def engine_facts(run_dir: Path) -> dict[str, Any]:
    """What the engine of the home told of itself, or the role that came last; it may be gone."""
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


def _engine(run_dir: Path, operation: int, hint: str, facts: dict[str, Any]) -> HomeLock:
    fd = _lock(run_dir / "engine.lock", operation | fcntl.LOCK_NB)
    if fd is None:
        raise EngineRunningError(
            f"{_holder(run_dir)} is already using this data directory",
            subject=str(run_dir.parent),
            hint=hint,
        )
    os.ftruncate(fd, 0)
    os.pwrite(fd, json.dumps({"pid": os.getpid(), **facts}).encode(), 0)
    return HomeLock(fd)


def _holder(run_dir: Path) -> str:
    facts = engine_facts(run_dir)
    # Of roles side by side the last one wrote, and may have left before the others.
    if "pid" not in facts or (facts.get("kind") in ROLES and not _lives(facts["pid"])):
        return "another process"
    return f"process {facts['pid']} ({facts.get('kind')})"


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


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
