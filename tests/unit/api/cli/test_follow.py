"""What a command says when its job has ended."""

from __future__ import annotations

from typing import Any

import pytest

from transship.api.cli.form import Form
from transship.api.cli.output.follow import report, summary

PROGRESS = {"bytes_moved": 2_000_000, "bytes_skipped": 0}
ERROR = {
    "code": "partial", "side": "source", "subject": "", "detail": "1 of 2 images failed",
    "hint": "", "retryable": False, "attempts": 1,
}  # fmt: skip


def job(**facts: Any) -> dict[str, Any]:
    return {
        "kind": "copy", "state": "succeeded", "label": "a -> b", "progress": PROGRESS,
        "result": {"reference": "b:1", "digest": "sha256:1"}, "error": None, "children": {},
        "superseded_by": None, **facts,
    }  # fmt: skip


def test_a_summary_names_what_moved() -> None:
    assert summary(job()) == "b:1@sha256:1: done; moved 2.0 MB, skipped 0 B"


def test_a_summary_says_that_nothing_was_to_do() -> None:
    result = {"reference": "b:1", "digest": "sha256:1", "up_to_date": True}
    assert summary(job(result=result)).startswith("b:1@sha256:1: up to date; ")


def test_a_summary_of_a_mirror_counts_images() -> None:
    done = job(kind="mirror", result={"images": 3, "up_to_date": 1})
    assert summary(done) == "a -> b: 3 images, 1 up to date; moved 2.0 MB, skipped 0 B"


def test_a_summary_of_a_mirror_names_rules_that_select_nothing() -> None:
    result = {"images": 3, "up_to_date": 1, "nothing_selected": ["here.test/app"]}
    told = summary(job(kind="mirror", result=result)).splitlines()
    assert told[0] == "here.test/app: no tag is selected"


def test_a_plan_is_shown_instead_of_a_summary(capsys: pytest.CaptureFixture[str]) -> None:
    result = {
        "dry_run": True, "drift": True, "images": 4, "up_to_date": 1, "to_copy": 2, "missing": 1,
        "failures": 0, "bytes": 3_000_000, "bytes_known_of": 2, "reference": "b",
        "items_left_out": 0, "nothing_selected": ["c"], "failed": [], "items": [
            {"source": "a:1", "destination": "b:1", "state": "up-to-date"},
            {"source": "a:2", "destination": "b:2", "state": "copy", "bytes": 2_000_000},
            {"source": "a:3", "destination": "b:3", "state": "copy", "replaces": "sha256:1"},
            {"source": "a:4", "destination": "b:4", "state": "missing"},
        ],
    }  # fmt: skip
    assert report(job(kind="mirror", result=result), form=Form.TABLE, quiet=False) == 3
    assert capsys.readouterr().out.splitlines() == [
        "up to date  a:1 -> b:1",
        "to copy     a:2 -> b:2 (2.0 MB)",
        "to update   a:3 -> b:3",
        "missing     a:4 -> b:4",
        "c: no tag is selected",
        "b: 4 images, 1 up to date, 2 to copy (at most 3.0 MB), 1 missing",
    ]


def test_a_summary_of_all_tags_counts_these() -> None:
    done = job(kind="pull", result={"reference": "a", "tags": 3, "up_to_date": False})
    assert summary(done) == "a: 3 tags, done; moved 2.0 MB, skipped 0 B"


def test_a_summary_says_who_was_faster() -> None:
    assert summary(job(superseded_by="J2")) == "b:1: something newer wrote it first (J2)"


def test_success_is_quiet_where_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert report(job(), form=Form.TABLE, quiet=True) == 0
    assert capsys.readouterr() == ("", "")


def test_a_failure_is_told_even_when_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    failed = [{"tag": "1", "error": {**ERROR, "detail": "no such tag"}}]
    ended = job(state="failed", error=ERROR, result={"failed": failed}, children={"succeeded": 1})
    assert report(ended, form=Form.TABLE, quiet=True) == 3
    out, err = capsys.readouterr()
    assert out == ""
    assert "1 of 2 images failed" in err
    assert "  1: at the source: no such tag" in err


def test_failures_that_a_result_does_not_name_are_counted(
    capsys: pytest.CaptureFixture[str],
) -> None:
    result = {"failed": [{"tag": "1", "error": ERROR}], "failures": 5000}
    report(job(id="J", state="failed", error=ERROR, result=result), form=Form.TABLE, quiet=True)
    told = capsys.readouterr().err.splitlines()
    assert told[-1] == "  and 4999 more: see `transship jobs --parent J --state failed`"


def test_a_cancelled_job_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert report(job(state="cancelled", result=None), form=Form.TABLE, quiet=False) == 1
    assert capsys.readouterr().err == "transship: the job was cancelled\n"
