"""How jobs and mirrors look, on terminals from 40 to 200 columns."""

from __future__ import annotations

import copy
import os
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from transship.api.cli.form import Form
from transship.api.cli.output import terminal
from transship.api.cli.output.failures import described_failures
from transship.api.cli.output.job_tables import described_job, reason, show_jobs
from transship.api.cli.output.mirror_tables import show_mirror
from transship.api.cli.output.table import cells

NOW = datetime.now(UTC)


def ago(**span: float) -> str:
    return (NOW - timedelta(**span)).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def error(detail: str = "image not found, or access denied", subject: str = "r/a:1") -> Any:
    return {
        "code": "not-found", "side": "source", "subject": subject, "detail": detail,
        "hint": "check the name", "retryable": False, "attempts": 1,
    }  # fmt: skip


def job(**more: Any) -> dict[str, Any]:
    return {
        "id": "01a20dc4-7660-789c-b92e-fa96058f4556", "kind": "copy", "state": "succeeded",
        "label": "registry.example/team/app:1 -> backup.example/team/app:1", "priority": 0,
        "parent": None, "root": "r", "requested_by": "local", "created_at": ago(hours=5),
        "started_at": ago(hours=5), "finished_at": ago(hours=4.5), "deadline": None,
        "progress": {
            "bytes_total": 26_000_000, "bytes_done": 26_000_000, "bytes_moved": 20_000_000,
            "bytes_skipped": 6_000_000, "blobs_total": 4, "blobs_done": 4,
        },
        "children": {}, "result": {"reference": "backup.example/team/app:1", "digest": "sha256:1"},
        "error": None, "superseded_by": None, "retry_of": None, "spec": {"kind": "copy"}, **more,
    }  # fmt: skip


FAILED = job(
    state="failed",
    result=None,
    error=error(),
    id="01a20dc4-8c9b-744a-b8e3-c5f40ecff949",
)


@pytest.mark.parametrize("width", range(40, 201, 10))
def test_jobs_fit_the_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], width: int
) -> None:
    monkeypatch.setattr(terminal, "width", lambda: width)
    show_jobs([job(), FAILED], Form.TABLE)
    lines = capsys.readouterr().out.splitlines()
    assert max(map(cells, lines)) <= width
    heads = lines[0].split()
    assert heads[0] == "JOB"
    assert {"STATE", "WHAT"} <= set(heads)
    if width >= 150:
        assert heads == ["JOB", "KIND", "STATE", "DONE", "AGE", "TIME", "WHAT", "REASON"]
        assert lines[1].split()[1:6] == ["copy", "succeeded", "100%", "5h", "30m"]
        assert "source: image not found" in lines[2]
    if width >= 190:
        assert job()["id"] in lines[1]


def test_elsewhere_nothing_is_cut_and_wide_has_more(capsys: pytest.CaptureFixture[str]) -> None:
    show_jobs([job()], Form.TABLE)
    narrow = capsys.readouterr().out
    assert job()["id"] in narrow
    assert job()["label"] in narrow
    show_jobs([job()], Form.WIDE)
    wide = capsys.readouterr().out.splitlines()
    assert {"PRIORITY", "BY", "CREATED"} <= set(wide[0].split())


def test_times_are_local_on_a_terminal_and_utc_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "2026-11-24T10:00:00.123Z"
    assert terminal.shown_time(text) == text
    assert terminal.shown_time(None, "never") == "never"
    monkeypatch.setitem(os.environ, "TZ", "Etc/GMT-2")  # two hours before UTC
    terminal_time = datetime.fromisoformat(text).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    assert terminal.local_time(text) == terminal_time
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    assert terminal.shown_time(text) == terminal_time


def test_a_job_is_described_by_lines() -> None:
    told = described_job(job(parent="p", retry_of="q", deadline=ago(hours=1)), Form.TABLE)
    facts = dict(line.split(":", 1) for line in told.splitlines())
    assert facts["job"].strip() == job()["id"]
    assert facts["state"].strip() == "succeeded"
    assert facts["bytes"].strip() == "26 MB of 26 MB: moved 20 MB, skipped 6.0 MB"
    assert facts["finished"].strip().endswith("after 30m")
    assert facts["reference"].strip() == "backup.example/team/app:1"
    assert {"parent", "retry of", "deadline", "digest"} <= set(facts)
    assert "{" not in told
    assert '"kind": "copy"' in described_job(job(), Form.WIDE)


def test_a_failed_job_says_why_and_what_to_do() -> None:
    told = described_job(FAILED, Form.TABLE)
    assert told.splitlines()[-2:] == [
        "failed: at the source: r/a:1: image not found, or access denied",
        "  check the name",
    ]
    assert reason(job(superseded_by="")) == "something newer wrote it first"


def failed(count: int, detail: str, repository: str = "r.test/app") -> list[dict[str, Any]]:
    return [
        {"image": f"{repository}:{n}", "tag": str(n), "error": error(detail, f"{repository}:{n}")}
        for n in range(count)
    ]


def test_a_cause_is_told_once() -> None:
    told = described_failures([*failed(7, "gone"), *failed(1, "too large", "r.test/other")])
    assert told.splitlines() == [
        "  7 images: at the source: gone",
        "  check the name",
        "    r.test/app:0, r.test/app:1, r.test/app:2, r.test/app:3, r.test/app:4 and 2 more",
        "  r.test/other:0: at the source: r.test/other:0: too large",
        "  check the name",
    ]


def test_a_repository_is_not_named_where_there_is_one() -> None:
    assert "    0, 1\n" in described_failures(failed(2, "gone"))


def test_a_job_with_failed_images_groups_them() -> None:
    parent = copy.deepcopy(FAILED)
    parent["result"] = {"failed": failed(100, "gone"), "failures": 120}
    told = described_job(parent, Form.TABLE)
    assert told.count("gone") == 1
    assert told.endswith(
        f"and 20 more: see `transship jobs --parent {parent['id']} --state failed`"
    )


def test_a_mirror_is_shown_with_its_entries_and_its_last_failure(
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = job(kind="mirror", state="failed", result={"failed": failed(3, "gone")}, error=error())
    kept = {
        "name": "nightly", "enabled": False, "interval_seconds": 21600, "next_run_at": None,
        "running": None, "entries": 3, "created_at": ago(days=3), "updated_at": ago(days=2),
        "last_run": {
            "job": run["id"], "state": "failed", "started_at": ago(hours=5),
            "finished_at": ago(hours=4),
        },
        "spec": {
            "platforms": [], "all_platforms": False, "priority": -10,
            "entries": [
                {"source": "r.test/app", "destination": "b.test/app", "tags": ["1", "2"]},
                {"source": "r.test/all", "destination": "b.test/all", "tags": [], "select": None},
                {
                    "source": "r.test/new", "destination": "b.test/new", "tags": [],
                    "select": {"semver": [">=1"], "allow": [], "deny": ["*-rc*"], "newest": 2},
                },
                {"source": "r.test/one:5", "destination": "b.test/one:5", "tags": []},
            ],
        },
    }  # fmt: skip
    show_mirror(kept, run, Form.TABLE)
    told = capsys.readouterr().out
    lines = [line.rstrip() for line in told.splitlines()]
    assert lines[0].split() == ["mirror:", "nightly"]
    assert "every 6h" in lines[1]
    assert [line.split(maxsplit=2)[2:] for line in lines if line.startswith("r.test/")] == [
        ["1, 2"], ["all"], ["semver >=1; deny *-rc*; newest 2"], ["this one"],
    ]  # fmt: skip
    assert told.count("gone") == 1
    assert "{" not in told
