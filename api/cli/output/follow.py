"""Makes a job and follows it to its end, whatever happens to the server meanwhile."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from transship.api.cli.connect.connection import Connection
from transship.api.cli.connect.policies import described_plan, described_verification
from transship.api.cli.connect.target import NeedsServerError, Target
from transship.api.cli.form import Form
from transship.api.cli.output.errors import describe, job_exit_code
from transship.api.cli.output.failures import described_failures
from transship.api.cli.output.progress import Display, lines_or_bars
from transship.api.client import Client
from transship.store.errors import ServerUnreachableError


def run_job(
    spec: dict[str, Any],
    *,
    credentials: dict[str, Any],
    form: Form,
    quiet: bool,
    detach: bool,
    idempotency_key: str | None,
) -> int:
    """Submit *spec*, show how it goes, and return the exit code of its end."""
    return start_job(
        lambda client: client.submit(
            spec, credentials=credentials, idempotency_key=idempotency_key
        ),
        form=form,
        quiet=quiet,
        detach=detach,
    )


def start_job(
    start: Callable[[Client], dict[str, Any]], *, form: Form, quiet: bool, detach: bool
) -> int:
    """Have a job made by *start*, show how it goes, and return the exit code of its end."""
    with Connection(Target.load()) as connection:
        if detach and not connection.lasting:
            raise NeedsServerError(
                "--detach needs a running server",
                hint="start one with `transship up`, or set TRANSSHIP_URL",
            )
        job = start(connection.client)
        if detach:
            if form.is_data:
                form.print(job)
            else:
                print(job["id"])
            return 0
        display = lines_or_bars(quiet=quiet or form.is_data)
        try:
            job = follow(connection, job["id"], display)
        except KeyboardInterrupt:
            display.close()
            connection.client.cancel(job["id"])
            raise
    return report(job, form=form, quiet=quiet)


def follow(connection: Connection, id_: str, display: Display) -> dict[str, Any]:
    """Show the job's events until it has ended, and return it."""
    after = 0
    with display:
        while True:
            try:
                for event in connection.client.events(id_, after=after):
                    after = event.get("id", after)
                    display.show(event)
                job = connection.client.job(id_)
                if job["finished_at"] is not None:
                    return job
            except ServerUnreachableError:
                connection.reconnect()


def await_end(connection: Connection, id_: str) -> dict[str, Any]:
    """Return the job when it has ended, and show nothing until then."""
    while True:
        try:
            return connection.client.wait(id_)
        except ServerUnreachableError:
            connection.reconnect()


def report(job: dict[str, Any], *, form: Form, quiet: bool) -> int:
    """Say how the job ended, and return the exit code."""
    if form.is_data:
        form.print(job)
        return job_exit_code(job)
    planned = bool((job["result"] or {}).get("dry_run"))
    verified = "verified" in (job["result"] or {})
    if planned and not quiet:
        print(described_plan(job["result"]))
    if verified and not quiet:
        print(described_verification(job["result"]))
    if job["state"] == "succeeded":
        only_verified = verified and "images" not in job["result"]
        if not quiet and not planned and not only_verified:
            print(summary(job))
    elif job["error"]:
        sys.stderr.write(describe(job["error"]))
        result = job["result"] or {}
        failed = result.get("failed", ())
        sys.stderr.write(described_failures(failed))
        if (more := result.get("failures", 0) - len(failed)) > 0:
            where = "" if planned else f": see `transship jobs --parent {job['id']} --state failed`"
            sys.stderr.write(f"  and {more} more{where}\n")
    else:
        sys.stderr.write(f"transship: the job was {job['state']}\n")
    return job_exit_code(job)


def summary(job: dict[str, Any]) -> str:
    """One line on what a job came to."""
    from transship.store.sizes import human_bytes  # noqa: PLC0415

    result, progress = job["result"] or {}, job["progress"]
    what = result.get("reference", job["label"])
    figures = (
        f"moved {human_bytes(progress['bytes_moved'])}, "
        f"skipped {human_bytes(progress['bytes_skipped'])}"
    )
    if job["superseded_by"] is not None:
        by = f" ({job['superseded_by']})" if job["superseded_by"] else ""
        return f"{what}: something newer wrote it first{by}"
    if job["kind"] == "prune":
        lines = [f"{did}: {it}" for one in result["deleted"] for did, it in one.items()]
        reclaimed = human_bytes(result["space_reclaimed"])
        return "\n".join((*lines, f"layers of {reclaimed} are not needed any more"))
    if job["kind"] == "gc":
        return (
            f"removed {result['blobs']} blobs of {human_bytes(result['bytes'])}, "
            f"kept {human_bytes(result['kept_bytes'])}"
        )
    if job["kind"] == "fsck":
        repaired = f", repaired {len(result['repaired'])}" if result["repaired"] else ""
        return f"checked {result['blobs']} blobs of {human_bytes(result['bytes'])}{repaired}"
    if job["kind"] == "workspace":
        return str(result["workspace"])
    if job["kind"] == "commit":
        return str(result["image_id"])
    if job["kind"] == "load":
        moved = [f"{name} stood for another image until now" for name in result["moved"]]
        loaded = [
            f"Loaded image ID: {name}" if name.startswith("sha256:") else f"Loaded image: {name}"
            for name in result["loaded"]
        ]
        return "\n".join((*moved, *loaded)) or "the archive holds no image"
    if job["kind"] == "import":
        return str(result["image_id"])
    if job["kind"] == "squash":
        return f"{what}@{result['digest']}: squashed"
    if job["kind"] == "mirror":
        told = f"{what}: {result['images']} images, {result['up_to_date']} up to date; {figures}"
        nothing = result.get("nothing_selected", ())
        return "\n".join((*(f"{one}: no tag is selected" for one in nothing), told))
    if result.get("kept"):
        return f"{what}@{result['digest']}: kept, for it is not to be overwritten"
    state = "up to date" if result.get("up_to_date") else "done"
    if "tags" in result:
        return f"{what}: {result['tags']} tags, {state}; {figures}"
    if "@" not in what:
        what = f"{what}@{result.get('digest')}"
    return f"{what}: {state}; {figures}"
