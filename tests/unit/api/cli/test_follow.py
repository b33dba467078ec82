"""What a command says when its job has ended."""

from __future__ import annotations

from typing import Any

import pytest

from api.cli.follow import report, summary

PROGRESS = {"bytes_moved": 2_000_000, "bytes_spared": 0}
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
    assert summary(job()) == "b:1@sha256:1: done; moved 2.0 MB, spared 0 B"


def test_a_summary_says_that_nothing_was_to_do() -> None:
    result = {"reference": "b:1", "digest": "sha256:1", "up_to_date": True}
    assert summary(job(result=result)).startswith("b:1@sha256:1: up to date; ")


def test_a_summary_of_a_mirror_counts_images() -> None:
    done = job(kind="mirror", result={"images": 3, "up_to_date": 1})
    assert summary(done) == "a -> b: 3 images, 1 up to date; moved 2.0 MB, spared 0 B"


def test_a_summary_of_all_tags_counts_these() -> None:
    done = job(kind="pull", result={"reference": "a", "tags": 3, "up_to_date": False})
    assert summary(done) == "a: 3 tags, done; moved 2.0 MB, spared 0 B"


def test_a_summary_says_who_was_faster() -> None:
    assert summary(job(superseded_by="J2")) == "b:1: something newer wrote it first (J2)"


def test_success_is_quiet_where_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert report(job(), as_json=False, quiet=True) == 0
    assert capsys.readouterr() == ("", "")


def test_a_failure_is_told_even_when_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    failed = [{"tag": "1", "error": {**ERROR, "detail": "no such tag"}}]
    ended = job(state="failed", error=ERROR, result={"failed": failed}, children={"succeeded": 1})
    assert report(ended, as_json=False, quiet=True) == 3
    out, err = capsys.readouterr()
    assert out == ""
    assert "1 of 2 images failed" in err
    assert "  1: transship: at the source: no such tag" in err


def test_a_cancelled_job_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert report(job(state="cancelled", result=None), as_json=False, quiet=False) == 1
    assert capsys.readouterr().err == "transship: the job was cancelled\n"
