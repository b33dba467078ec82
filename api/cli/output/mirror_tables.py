"""How a stored mirror looks on a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from transship.api.cli.form import Form
from transship.api.cli.output.failures import described_failures
from transship.api.cli.output.job_tables import reason
from transship.api.cli.output.table import Column, fields, show_table
from transship.api.cli.output.terminal import shown_time, width
from transship.store.durations import exact_duration


def show_mirror(kept: dict[str, Any], last: dict[str, Any] | None, form: Form) -> None:
    """Print a policy: when it runs, its entries, and why its *last* run failed, if it did."""
    print(fields(_facts(kept, last), width()))
    rows = [
        (one["source"], one.get("destination") or "-", _selection(one))
        for one in kept["spec"].get("entries", ())
    ]
    print()
    heads = (Column("SOURCE", cut=True), Column("DESTINATION", cut=True), Column("TAGS", cut=True))
    show_table(heads, rows, form)
    if last is not None and (failed := (last["result"] or {}).get("failed")):
        print(f"\nfailed in the last run:\n{described_failures(failed)}".rstrip("\n"))


def failures(job: Mapping[str, Any]) -> int:
    """How many images and repositories of a run failed, so far if it has not ended.

    Its result counts them all, and names some. One without a count is of an older version.
    """
    result = job["result"] or {}
    known = max(job["children"].get("failed", 0), len(result.get("failed", ())))
    counted: int = result.get("failures", known)
    return counted


def _facts(kept: dict[str, Any], last: dict[str, Any] | None) -> Iterator[tuple[str, str]]:
    yield "mirror", kept["name"]
    every = kept["interval_seconds"]
    yield "runs", "when asked to" if every is None else f"every {exact_duration(every)}"
    if not kept["enabled"]:
        yield "enabled", "no"
    if kept["next_run_at"]:
        yield "next run", shown_time(kept["next_run_at"])
    if kept["running"]:
        yield "running", kept["running"]
    run = kept["last_run"]
    if run:
        ended = f", finished {shown_time(run['finished_at'])}" if run["finished_at"] else ""
        yield "last run", f"{run['state']}, started {shown_time(run['started_at'])}{ended}"
        yield "its job", run["job"]
        if last is not None and last["id"] == run["job"] and (why := reason(last)):
            yield "why", why
    spec = kept["spec"]
    platforms = "all" if spec.get("all_platforms") else ", ".join(spec.get("platforms") or ())
    yield "platforms", platforms or "all"
    yield "priority", str(spec.get("priority", "-"))
    yield "created", shown_time(kept["created_at"])
    yield "updated", shown_time(kept["updated_at"])


def _selection(entry: Mapping[str, Any]) -> str:
    """What an entry takes of its repository, in the words of a policy."""
    if entry.get("tags"):
        return ", ".join(entry["tags"])
    if "@" in entry["source"] or ":" in entry["source"].rpartition("/")[2]:
        return "this one"
    select = {k: v for k, v in (entry.get("select") or {}).items() if v not in (None, [], ())}
    if not select:
        return "all"
    return "; ".join(
        f"{key} {', '.join(map(str, value)) if isinstance(value, list) else value}"
        for key, value in select.items()
    )
