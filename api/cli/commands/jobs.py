"""jobs: list, show, wait for, follow, cancel and retry."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from transship.api.cli.connect.completion import jobs as job_names
from transship.api.cli.connect.options import form_option
from transship.api.cli.connect.reach import connect
from transship.api.cli.form import Form
from transship.api.cli.groups import Group
from transship.api.cli.logins import logins, own_config

SHOWN_JOBS = 100
ID_CHARS = 36

_JOB = click.argument("job", shell_complete=job_names)
_JOBS = click.argument("ids", nargs=-1, required=True, metavar="JOB...", shell_complete=job_names)


@click.group(cls=Group, invoke_without_command=True)
@click.option("--state", multiple=True, help="Only jobs in this state; may be repeated.")
@click.option("--kind", multiple=True, help="Only jobs of this kind; may be repeated.")
@click.option("--parent", shell_complete=job_names, help="The children of this job.")
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    help="At most so many.  [default: 100; of --parent all]",
)
@form_option
@click.pass_context
def jobs(context: click.Context, /, form: Form, limit: int | None, **filters: Any) -> int:
    """List jobs, the newest first; with a command, act on some.

    JOB is a job's id, an unambiguous beginning or end of one, or `last`, your newest.
    """
    if context.invoked_subcommand is not None:
        return 0
    from transship.api.cli.output.job_tables import show_jobs  # noqa: PLC0415

    if limit is None and not filters["parent"]:
        limit = SHOWN_JOBS
    with connect() as connection:
        page = connection.client.jobs(limit=limit, **{k: v or None for k, v in filters.items()})
    if form.is_data:
        form.print(page)
        return 0
    show_jobs(page["items"], form)
    return 0


@jobs.command()
@_JOB
@form_option
def show(job: str, form: Form) -> int:
    """Show a job: how far it is, what it came to, and why it failed."""
    from transship.api.cli.output.job_tables import described_job  # noqa: PLC0415

    with connect() as connection:
        found = connection.client.job(job)
    if form.is_data:
        form.print(found)
    else:
        print(described_job(found, form))
    return 0


@jobs.command()
@_JOB
@form_option
def transfers(job: str, form: Form) -> int:
    """List the blob transfers of a job."""
    from transship.api.cli.output.job_tables import show_transfers  # noqa: PLC0415

    with connect() as connection:
        page = connection.client.transfers(job)
    if form.is_data:
        form.print(page)
    else:
        show_transfers(page["items"], form)
    return 0


@jobs.command()
@_JOB
@form_option
def log(job: str, form: Form) -> int:
    """Print what happened to a job."""
    from transship.api.cli.output.progress import describe_event  # noqa: PLC0415
    from transship.api.cli.output.terminal import shown_time  # noqa: PLC0415

    with connect() as connection:
        happened = _log(connection.client, _whole_id(connection.client, job))
        if form.is_data:
            form.print({"items": list(happened), "next": None})
            return 0
        for event in happened:
            print(f"{shown_time(event['time'])}  {describe_event(event) or event['type']}")
    return 0


@jobs.command()
@click.option("--limit", type=click.IntRange(1, 1000), default=100, show_default=True)
@form_option
def rejected(limit: int, form: Form) -> int:
    """List messages from the broker that could not become jobs."""
    from transship.api.cli.output.table import Column, show_table  # noqa: PLC0415
    from transship.api.cli.output.terminal import shown_time  # noqa: PLC0415

    with connect() as connection:
        page = connection.client.rejected(limit=limit)
    if form.is_data:
        form.print(page)
        return 0
    rows = [(shown_time(one["time"]), one["reason"], one["excerpt"]) for one in page["items"]]
    show_table(("TIME", Column("REASON", cut=True), Column("MESSAGE", cut=True)), rows, form)
    return 0


@jobs.command()
@_JOBS
@form_option
def wait(ids: tuple[str, ...], form: Form) -> int:
    """Wait for jobs to finish, and exit with the worst status."""
    from transship.api.cli.output.errors import job_exit_code, worst  # noqa: PLC0415
    from transship.api.cli.output.follow import await_end, report  # noqa: PLC0415

    with connect() as connection:
        named = [_whole_id(connection.client, one) for one in ids]
        ended = [await_end(connection, one) for one in named]
    if form.is_data:
        form.print(ended)
        return worst([job_exit_code(one) for one in ended])
    return worst([report(one, form=form, quiet=False) for one in ended])


@jobs.command()
@_JOB
@click.option("--quiet", "-q", is_flag=True, help="Show no progress.")
@form_option
def follow(job: str, quiet: bool, form: Form) -> int:
    """Show a job as it goes, from its first event to its end."""
    from transship.api.cli.output.follow import follow as follow_job  # noqa: PLC0415
    from transship.api.cli.output.follow import report  # noqa: PLC0415
    from transship.api.cli.output.progress import lines_or_bars  # noqa: PLC0415

    with connect() as connection:
        id_ = _whole_id(connection.client, job)
        ended = follow_job(connection, id_, lines_or_bars(quiet=quiet or form.is_data))
    return report(ended, form=form, quiet=quiet)


@jobs.command()
@_JOBS
@form_option
def cancel(ids: tuple[str, ...], form: Form) -> int:
    """Cancel jobs and their children."""
    with connect() as connection:
        asked = [connection.client.cancel(one) for one in ids]
    if form.is_data:
        form.print(asked)
    return 0


@jobs.command()
@_JOBS
@form_option
def retry(ids: tuple[str, ...], form: Form) -> int:
    """Retry finished jobs; of a mirror, only the images that failed."""
    from transship.api.cli.connect.target import NeedsServerError  # noqa: PLC0415
    from transship.workers.specs import parse_spec  # noqa: PLC0415

    with connect() as connection:
        if not connection.lasting:
            raise NeedsServerError(
                "the new job needs a running server",
                hint="start one with `transship up`, or run the first command again",
            )
        config = own_config()
        made = []
        for before in [connection.client.job(one) for one in ids]:
            own = logins(config, parse_spec(before["spec"]).registries)
            made.append(connection.client.retry(before["id"], credentials=own))
    if form.is_data:
        form.print(made)
    else:
        print("\n".join(job["id"] for job in made))
    return 0


def _whole_id(client: Any, name: str) -> str:
    """The id of the job that *name* stands for now: `last` may be another in a moment."""
    return name if len(name) == ID_CHARS else str(client.job(name)["id"])


def _log(client: Any, job: str) -> Iterator[dict[str, Any]]:
    after: str | None = "0"
    while after is not None:
        page = client.log(job, after=after)
        yield from page["items"]
        after = page["next"]
