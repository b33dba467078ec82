"""One engine a home, or roles side by side; the locks end with their processes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from transship.api.processes import locks
from transship.store.errors import EngineRunningError


def test_a_second_engine_is_refused_and_told_who_is_there(tmp_path: Path) -> None:
    first = locks.engine_exclusive(tmp_path, kind="up")
    with pytest.raises(
        EngineRunningError, match=rf"process {os.getpid()} \(up\) is already using this"
    ):
        locks.engine_exclusive(tmp_path, kind="up")
    first.close()
    locks.engine_exclusive(tmp_path, kind="up").close()


def test_roles_run_side_by_side(tmp_path: Path) -> None:
    first = locks.engine_shared(tmp_path, kind="api")
    second = locks.engine_shared(tmp_path, kind="worker")
    with pytest.raises(EngineRunningError):
        locks.engine_exclusive(tmp_path, kind="up")
    first.close()
    with pytest.raises(EngineRunningError):
        locks.engine_exclusive(tmp_path, kind="up")
    second.close()
    locks.engine_exclusive(tmp_path, kind="up").close()


def test_a_role_is_refused_beside_an_engine(tmp_path: Path) -> None:
    engine = locks.engine_exclusive(tmp_path, kind="embedded")
    with pytest.raises(EngineRunningError, match=rf"process {os.getpid()} \(embedded\)"):
        locks.engine_shared(tmp_path, kind="api")
    engine.close()


def test_a_role_that_has_left_is_not_named(tmp_path: Path) -> None:
    ours = locks.engine_shared(tmp_path, kind="api")
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    (tmp_path / "engine.lock").write_text(f'{{"pid": {gone.pid}, "kind": "worker"}}')
    with pytest.raises(EngineRunningError, match="another process is already using this"):
        locks.engine_exclusive(tmp_path, kind="up")
    ours.close()


def test_facts_that_cannot_be_read_are_none(tmp_path: Path) -> None:
    assert locks.engine_facts(tmp_path) == {}
    (tmp_path / "engine.lock").write_text('{"pid"')
    assert locks.engine_facts(tmp_path) == {}


def test_a_lock_ends_with_its_process(tmp_path: Path) -> None:
    code = (
        "import sys, time, pathlib; from transship.api.processes import locks\n"
        "lock = locks.engine_exclusive(pathlib.Path(sys.argv[1]), kind='up')\n"
        "print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-P", "-c", code, tmp_path], stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(EngineRunningError, match=f"process {holder.pid} "):
            locks.engine_exclusive(tmp_path, kind="up")
        holder.kill()
    locks.engine_exclusive(tmp_path, kind="up").close()


def test_a_child_does_not_inherit_a_lock(tmp_path: Path) -> None:
    lock = locks.engine_exclusive(tmp_path, kind="up")
    with subprocess.Popen(["sleep", "60"], close_fds=False) as child:
        lock.close()
        locks.engine_exclusive(tmp_path, kind="up").close()
        child.kill()


def test_commands_are_counted_and_hold_off_the_end(tmp_path: Path) -> None:
    first, second = locks.client_presence(tmp_path), locks.client_presence(tmp_path)
    assert locks.no_clients(tmp_path, wait=False) is None
    first.close()
    assert locks.no_clients(tmp_path, wait=False) is None
    second.close()
    gate = locks.no_clients(tmp_path, wait=False)
    assert gate is not None
    gate.close()


def test_a_lock_may_be_closed_twice(tmp_path: Path) -> None:
    lock = locks.engine_exclusive(tmp_path, kind="up")
    lock.close()
    lock.close()
    assert locks.no_clients(tmp_path, wait=False) is not None
