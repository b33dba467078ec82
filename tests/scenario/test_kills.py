"""A few kills of the matrix; the whole of it is `make kill-matrix`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.kills.__main__ import Round, play

LARGEST_BLOB = 17_000_000
HOLDERS = {"resolve": 1, "download": 3, "upload": 3, "publish": 1}
OTHERS = {"api": 1, "redis": 1, "failover": 1, "switchover": 1}


@pytest.mark.long
@pytest.mark.timeout(400)
def test_twelve_kills_and_every_job_succeeds(tmp_path: Path) -> None:
    plan = Round("twelve", HOLDERS, OTHERS)
    play(plan, tmp_path / "twelve", seed=10)
    workers = [kill for kill in plan.kills if kill.role in ("control", "download", "upload")]
    assert len(plan.kills) == 12
    assert sum(kill.hit for kill in workers) >= 6
    assert plan.jobs > 0
    # A death between naming a file and recording it costs one more read of that blob, since nothing
    # says where the file came from; any other death costs what was on its way.
    assert max(plan.again["download"], default=0) <= LARGEST_BLOB
    assert sum(count > 2 * 1024 * 1024 for count in plan.again["download"]) <= 1
