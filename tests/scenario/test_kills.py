"""Ten kills of the matrix; the whole of it is `make kill-matrix`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.kills.__main__ import Round, play

HOLDERS = {"resolve": 1, "download": 3, "upload": 3, "publish": 1}


@pytest.mark.slow
def test_ten_kills_and_every_job_succeeds(tmp_path: Path) -> None:
    plan = Round("ten", HOLDERS, {"api": 1, "redis": 1})
    play(plan, tmp_path / "ten", seed=10)
    workers = [kill for kill in plan.kills if kill.role not in ("api", "redis")]
    assert len(plan.kills) == 10
    assert sum(kill.hit for kill in workers) >= 6
    assert plan.jobs > 0
    assert max(plan.again["download"], default=0) <= 2 * 1024 * 1024
