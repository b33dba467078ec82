"""A Celery process that cannot become a worker ends, instead of eating messages."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import tests

ROOT = Path(tests.__path__[0]).parent
SCRIPT = """
import sys
from celery.signals import worker_init, worker_ready
import transship.workers.process.process as process
from transship.store.errors import DatabaseUnavailableError

def fail(*_):
    raise DatabaseUnavailableError("the database is starting up", subject="postgresql://here")

process.open_worker = fail
process.current = fail
{signal}.send(sender=None)
print("went on")
"""


def _end(signal: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", SCRIPT.format(signal=signal)],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "HOME": "/nonexistent"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_it_ends_where_its_database_cannot_be_opened() -> None:
    done = _end("worker_init")
    assert (done.returncode, done.stdout) == (1, "")
    assert "the database is starting up" in done.stderr


def test_it_ends_where_it_cannot_register() -> None:
    done = _end("worker_ready")
    assert (done.returncode, done.stdout) == (1, "")
    assert "the database is starting up" in done.stderr
