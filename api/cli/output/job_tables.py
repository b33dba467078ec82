"""How jobs, their transfers and the runs of mirrors look on a terminal."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any, Final

from transship.api.cli.form import Form
from transship.api.cli.output.errors import describe
from transship.api.cli.output.failures import described_failures
from transship.api.cli.output.progress import done_of_total
from transship.api.cli.output.table import Column, fields, show_table
from transship.api.cli.output.terminal import seconds_since, shown_time, width
from transship.store.durations import rough_duration
from transship.store.sizes import human_bytes

SHORT_CHARS: Final = 12  # of the end of an id, which is random
_STATES: Final = ("queued", "running", "succeeded", "failed", "cancelled")


def _short(text: str) -> str:
    return text[-SHORT_CHARS:]


JOB: Final = Column("JOB", short=_short)
_JOBS: Final = (
    JOB,
    Column("KIND", leave=5),
    "STATE",
    Column("DONE", leave=3),
    Column("AGE", leave=2),
    Column("TIME", leave=4),
    Column("PRIORITY", wide=True),
    Column("BY", wide=True),
    Column("CREATED", wide=True),
    Column("WHAT", cut=True),
    Column("REASON", cut=True, leave=1),
)


def show_jobs(jobs: Iterable[dict[str, Any]], form: Form) -> None:
    """Print a line a job."""
    rows = [
        (
            job["id"],
            job["kind"],
            job["state"],
            percent(job),
            rough_duration(seconds_since(job["created_at"])),
            _took(job),
            str(job["priority"]),
            job["requested_by"],
            shown_time(job["created_at"]),
            job["label"],
            reason(job),
        )
        for job in jobs
    ]
    show_table(_JOBS, rows, form)


def show_transfers(transfers: Iterable[dict[str, Any]], form: Form) -> None:
    """Print a line a transfer."""
    rows = [
        (
            one["direction"],
            one["digest"] if form is Form.WIDE else one["digest"][7:19],
            one["state"],
            human_bytes(one["bytes_done"]),
            human_bytes(one["size"]),
            str(one["attempts"]),
            one["worker"] or "-",
            f"{one['registry']}/{one['repository']}",
            _cause(one["error"]),
        )
        for one in transfers
    ]
    heads = (
        Column("DIRECTION", leave=3),
        "BLOB",
        "STATE",
        Column("DONE", leave=4),
        "SIZE",
        Column("ATTEMPTS", wide=True),
        Column("WORKER", wide=True),
        Column("WHERE", cut=True, leave=1),
        Column("REASON", cut=True, leave=2),
    )
    show_table(heads, rows, form)


def described_job(job: dict[str, Any], form: Form) -> str:
    """All that there is to say of a job: names and values, then why it failed.

    With `-o wide` also what was asked for, as JSON.
    """
    told = fields([*_facts(job), *(_asked(job) if form is Form.WIDE else ())], width())
    parts = [told]
    if job["error"]:
        failed = (job["result"] or {}).get("failed", ())
        parts.append((describe(job["error"], "failed") + described_failures(failed)).rstrip("\n"))
        parts += _more_failures(job)
    return "\n".join(parts)


def percent(job: dict[str, Any]) -> str:
    """How much of a job is done, of what is known."""
    if job["state"] == "succeeded":
        return "100%"
    done, total = done_of_total(job)
    return f"{min(100 * done // total, 99)}%" if total else "-"


def reason(job: dict[str, Any]) -> str:
    """Why a job ended as it did, in short; '' where there is nothing to say."""
    if job["superseded_by"] is not None:
        return "something newer wrote it first"
    return _cause(job["error"])


def _cause(error: dict[str, Any] | None) -> str:
    return f"{error['side']}: {error['detail']}" if error else ""


def _facts(job: dict[str, Any]) -> Iterator[tuple[str, str]]:
    progress, result = job["progress"], job["result"] or {}
    yield "job", job["id"]
    yield "what", f"{job['kind']} {job['label']}"
    yield "state", f"{job['state']}, {percent(job)}" if job["state"] == "running" else job["state"]
    for name, key in (("parent", "parent"), ("retry of", "retry_of")):
        if job[key]:
            yield name, job[key]
    yield "requested by", f"{job['requested_by']}, priority {job['priority']}"
    yield "created", shown_time(job["created_at"])
    if job["started_at"]:
        yield "started", shown_time(job["started_at"])
    if job["finished_at"]:
        yield "finished", f"{shown_time(job['finished_at'])}, after {_took(job)}"
    if job["deadline"]:
        yield "deadline", shown_time(job["deadline"])
    if progress["blobs_total"]:
        yield "blobs", f"{progress['blobs_done']} of {progress['blobs_total']}"
        done, total, moved, skipped = (
            human_bytes(progress[f"bytes_{name}"]) for name in ("done", "total", "moved", "skipped")
        )
        yield "bytes", f"{done} of {total}: moved {moved}, skipped {skipped}"
    if sum(job["children"].values()):
        yield (
            "images",
            ", ".join(f"{job['children'][s]} {s}" for s in _STATES if job["children"].get(s)),
        )
    for key in ("reference", "digest", "image_id"):
        if result.get(key):
            yield key.replace("_", " "), str(result[key])
    if job["superseded_by"] is not None:
        yield "superseded", f"something newer wrote it first {job['superseded_by']}".rstrip()


def _asked(job: dict[str, Any]) -> Iterator[tuple[str, str]]:
    yield "asked for", json.dumps(job["spec"], indent=2)
    if job["result"]:
        yield "result", json.dumps(job["result"], indent=2)


def _more_failures(job: dict[str, Any]) -> Iterator[str]:
    result = job["result"] or {}
    if (more := result.get("failures", 0) - len(result.get("failed", ()))) > 0:
        yield f"  and {more} more: see `transship jobs --parent {job['id']} --state failed`"


def _took(job: dict[str, Any]) -> str:
    if job["started_at"] is None:
        return "-"
    return rough_duration(seconds_since(job["started_at"], job["finished_at"]))
