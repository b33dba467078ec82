"""jobs: list, show, wait for, follow, cancel and retry."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import click

from transship.api.cli.connect.options import json_option
from transship.api.cli.connect.reach import connect, print_json
from transship.api.cli.logins import logins, own_config

SHOWN_JOBS = 100
EXCERPT_CHARS = 60  # of a message in a table; --json prints more


@click.group(invoke_without_command=True)
@click.option("--state", multiple=True, help="Only jobs in this state; may be repeated.")
@click.option("--kind", multiple=True, help="Only jobs of this kind; may be repeated.")
@click.option("--parent", help="The children of this job.")
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    help="At most so many.  [default: 100; of --parent all]",
)
@json_option
@click.pass_context
def jobs(context: click.Context, /, as_json: bool, limit: int | None, **filters: Any) -> int:
    """List jobs, the newest first; with a command, act on some."""
    if context.invoked_subcommand is not None:
        return 0
    from transship.api.cli.output.table import table  # noqa: PLC0415

    if limit is None and not filters["parent"]:
        limit = SHOWN_JOBS
    with connect() as connection:
        page = connection.client.jobs(limit=limit, **{k: v or None for k, v in filters.items()})
    if as_json:
        print_json(page)
        return 0
    rows = [
        (job["id"], job["kind"], job["state"], _percent(job), job["label"]) for job in page["items"]
    ]
    print(table(("JOB", "KIND", "STATE", "DONE", "WHAT"), rows))
    return 0


@jobs.command()
@click.argument("job")
@json_option
def show(job: str, as_json: bool) -> int:  # noqa: ARG001 -- it prints nothing else
    """Show a job as JSON."""
    with connect() as connection:
        print_json(connection.client.job(job))
    return 0


@jobs.command()
@click.argument("job")
@json_option
def transfers(job: str, as_json: bool) -> int:
    """List the blob transfers of a job."""
    from transship.api.cli.output.table import table  # noqa: PLC0415
    from transship.store.sizes import human_bytes  # noqa: PLC0415

    with connect() as connection:
        page = connection.client.transfers(job)
    if as_json:
        print_json(page)
        return 0
    rows = [
        (
            one["direction"],
            one["digest"][7:19],
            one["state"],
            human_bytes(one["bytes_done"]),
            human_bytes(one["size"]),
            f"{one['registry']}/{one['repository']}",
        )
        for one in page["items"]
    ]
    print(table(("DIRECTION", "BLOB", "STATE", "DONE", "SIZE", "WHERE"), rows))
    return 0


@jobs.command()
@click.argument("job")
@json_option
def log(job: str, as_json: bool) -> int:
    """Print what happened to a job."""
    from transship.api.cli.output.progress import describe_event  # noqa: PLC0415

    with connect() as connection:
        happened = _log(connection.client, job)
        if as_json:
            print(json.dumps({"items": list(happened), "next": None}, indent=2))
            return 0
        for event in happened:
            print(f"{event['time']}  {describe_event(event) or event['type']}")
    return 0


@jobs.command()
@click.option("--limit", type=click.IntRange(1, 1000), default=100, show_default=True)
@json_option
def rejected(limit: int, as_json: bool) -> int:
    """List messages from the broker that could not become jobs."""
    from transship.api.cli.output.table import table  # noqa: PLC0415

    with connect() as connection:
        page = connection.client.rejected(limit=limit)
    if as_json:
        print_json(page)
        return 0
    rows = [(one["time"], one["reason"], one["excerpt"][:EXCERPT_CHARS]) for one in page["items"]]
    print(table(("TIME", "REASON", "MESSAGE"), rows))
    return 0


@jobs.command()
@click.argument("ids", nargs=-1, required=True, metavar="JOB...")
@json_option
def wait(ids: tuple[str, ...], as_json: bool) -> int:
    """Wait for jobs to finish, and exit with the worst status."""
    from transship.api.cli.output.errors import job_exit_code, worst  # noqa: PLC0415
    from transship.api.cli.output.follow import await_end, report  # noqa: PLC0415

    with connect() as connection:
        ended = [await_end(connection, one) for one in ids]
    if as_json:
        print_json(ended)
        return worst([job_exit_code(one) for one in ended])
    return worst([report(one, as_json=False, quiet=False) for one in ended])


@jobs.command()
@click.argument("job")
@click.option("--quiet", "-q", is_flag=True, help="Show no progress.")
@json_option
def follow(job: str, quiet: bool, as_json: bool) -> int:
    """Show a job as it goes, from its first event to its end."""
    from transship.api.cli.output.follow import follow as follow_job  # noqa: PLC0415
    from transship.api.cli.output.follow import report  # noqa: PLC0415
    from transship.api.cli.output.progress import lines_or_bars  # noqa: PLC0415

    with connect() as connection:
        ended = follow_job(connection, job, lines_or_bars(quiet=quiet or as_json))
    return report(ended, as_json=as_json, quiet=quiet)


@jobs.command()
@click.argument("ids", nargs=-1, required=True, metavar="JOB...")
@json_option
def cancel(ids: tuple[str, ...], as_json: bool) -> int:
    """Cancel jobs and their children."""
    with connect() as connection:
        asked = [connection.client.cancel(one) for one in ids]
    if as_json:
        print_json(asked)
    return 0


@jobs.command()
@click.argument("ids", nargs=-1, required=True, metavar="JOB...")
@json_option
def retry(ids: tuple[str, ...], as_json: bool) -> int:
    """Retry finished jobs; of a mirror, only the images that failed."""
    from transship.api.cli.output.errors import NeedsServerError  # noqa: PLC0415
    from transship.workers.specs import parse_spec  # noqa: PLC0415

    with connect() as connection:
        if not connection.lasting:
            raise NeedsServerError(
                "the new job needs a running server",
                hint="start one with `transship up`, or run the first command again",
            )
        config = own_config()
        made = []
        for one in ids:
            spec = parse_spec(connection.client.job(one)["spec"])
            made.append(connection.client.retry(one, credentials=logins(config, spec.registries)))
    print(json.dumps(made, indent=2) if as_json else "\n".join(job["id"] for job in made))
    return 0


def _log(client: Any, job: str) -> Iterator[dict[str, Any]]:
    after: str | None = "0"
    while after is not None:
        page = client.log(job, after=after)
        yield from page["items"]
        after = page["next"]


def _percent(job: dict[str, Any]) -> str:
    from transship.api.cli.output.progress import done_of_total  # noqa: PLC0415

    if job["state"] == "succeeded":
        return "100%"
    done, total = done_of_total(job)
    return f"{min(100 * done // total, 99)}%" if total else "-"
