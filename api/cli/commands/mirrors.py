"""mirrors: policies of what is to be mirrored, in files and kept by a server."""

from __future__ import annotations

import sys
from typing import Any

import click

from transship.api.cli.connect.completion import mirrors as mirror_names
from transship.api.cli.connect.options import Duration, form_option, platform_options
from transship.api.cli.connect.policies import read_policy, warn
from transship.api.cli.connect.reach import connect
from transship.api.cli.form import Form
from transship.api.cli.groups import Group
from transship.store.durations import exact_duration

_NAME = click.argument("name", shell_complete=mirror_names)
_NAMES = click.argument(
    "names", nargs=-1, required=True, metavar="NAME...", shell_complete=mirror_names
)


@click.group(cls=Group, invoke_without_command=True)
@form_option
@click.pass_context
def mirrors(context: click.Context, /, form: Form) -> int:
    """Store mirror policies on the server, run them and show their runs.

    Without a command, list them. A policy with an interval is started by any running worker; its
    runs never overlap.
    """
    if context.invoked_subcommand is None:
        return _list(form)
    return 0


@mirrors.command()
@click.argument("name")
@click.argument("destination", metavar="[DST]", required=False)
@click.option("--file", "-f", required=True, metavar="FILE", help="The policy; - is the input.")
@click.option("--scoped", is_flag=True, help="Keep host and path of each source below DST.")
@click.option(
    "--every", type=Duration(), metavar="6h", help="Run now, and then at this interval (6h, 1d)."
)
@click.option("--disabled", is_flag=True, help="Add it disabled.")
@click.option("--priority", type=click.IntRange(-100, 100), help="Of its runs; higher goes first.")
@platform_options
@form_option
def add(
    name: str,
    destination: str | None,
    file: str,
    scoped: bool,
    every: int | None,
    disabled: bool,
    priority: int | None,
    platforms: tuple[str, ...],
    all_platforms: bool,
    form: Form,
) -> int:
    """Keep the policy in FILE as NAME, in place of the one of that name.

    Its runs sign in with the credentials of the server; see `transship credentials`.
    """
    policy = read_policy(file)
    warn(policy)
    wanted: dict[str, Any] = {
        **policy.of_runs,
        "entries": policy.entries_for(destination, scoped=scoped),
        "platforms": list(platforms),
        "all_platforms": all_platforms,
        "interval_seconds": every,
        "enabled": not disabled,
    }
    if priority is not None:
        wanted["priority"] = priority
    with connect() as connection:
        kept = connection.client.put_mirror(name, wanted)
    if form.is_data:
        form.print(kept)
    else:
        print(kept["name"])
    return 0


@mirrors.command("ls")
@form_option
def list_mirrors(form: Form) -> int:
    """List the policies that are kept."""
    return _list(form)


def _list(form: Form) -> int:
    from transship.api.cli.output.table import Column, show_table  # noqa: PLC0415
    from transship.api.cli.output.terminal import shown_time  # noqa: PLC0415

    with connect() as connection:
        page = connection.client.mirrors()
    if form.is_data:
        form.print(page)
        return 0
    rows = [
        (
            one["name"],
            "yes" if one["enabled"] else "no",
            _every(one["interval_seconds"]),
            shown_time(one["next_run_at"]),
            one["last_run"]["state"] if one["last_run"] else "-",
            str(one["entries"]),
        )
        for one in page["items"]
    ]
    heads = (
        Column("MIRROR", cut=True),
        Column("ENABLED", leave=2),
        Column("EVERY", leave=3),
        Column("NEXT", leave=4),
        "LAST",
        Column("ENTRIES", leave=5),
    )
    show_table(heads, rows, form)
    return 0


@mirrors.command()
@_NAME
@form_option
def show(name: str, form: Form) -> int:
    """Show a policy: when it runs, what it selects, and how its last run ended."""
    from transship.api.cli.output.mirror_tables import show_mirror  # noqa: PLC0415

    with connect() as connection:
        kept = connection.client.mirror(name)
        last = kept["last_run"]
        # The job may be gone, or another's; the policy says how it ended.
        found = connection.client.mirror_runs(name, limit=1)["items"] if last else []
    if form.is_data:
        form.print(kept)
    else:
        show_mirror(kept, found[0] if found else None, form)
    return 0


@mirrors.command()
@_NAME
@click.option("--quiet", "-q", is_flag=True, help="Show no progress.")
@click.option("--detach", "-d", is_flag=True, help="Print the job's id and return.")
@click.option(
    "--idempotency-key", metavar="KEY", help="Submitting twice with one key creates one job."
)
@form_option
def run(name: str, quiet: bool, detach: bool, idempotency_key: str | None, form: Form) -> int:
    """Start a run now, whether or not the policy is enabled, and follow it to its end."""
    from transship.api.cli.output.follow import start_job  # noqa: PLC0415

    return start_job(
        lambda client: client.run_mirror(name, idempotency_key=idempotency_key),
        form=form,
        quiet=quiet,
        detach=detach,
    )


@mirrors.command()
@_NAME
@click.option("--read", is_flag=True, help="Read everything, instead of asking for it.")
@click.option("--repair", is_flag=True, help="Copy again what is damaged.")
@click.option("--quiet", "-q", is_flag=True, help="Show no progress.")
@click.option("--detach", "-d", is_flag=True, help="Print the job's id and return.")
@click.option(
    "--idempotency-key", metavar="KEY", help="Submitting twice with one key creates one job."
)
@form_option
def verify(
    name: str,
    read: bool,
    repair: bool,
    quiet: bool,
    detach: bool,
    idempotency_key: str | None,
    form: Form,
) -> int:
    """Verify that the destinations have all of every image: tags, manifests, blobs, referrers."""
    from transship.api.cli.output.follow import start_job  # noqa: PLC0415

    return start_job(
        lambda client: client.verify_mirror(
            name, read=read, repair=repair, idempotency_key=idempotency_key
        ),
        form=form,
        quiet=quiet,
        detach=detach,
    )


@mirrors.command()
@_NAME
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True)
@form_option
def history(name: str, limit: int, form: Form) -> int:
    """List the runs of a policy, the newest first."""
    from transship.api.cli.output.job_tables import JOB  # noqa: PLC0415
    from transship.api.cli.output.mirror_tables import failures  # noqa: PLC0415
    from transship.api.cli.output.table import Column, show_table  # noqa: PLC0415
    from transship.api.cli.output.terminal import shown_time  # noqa: PLC0415
    from transship.store.sizes import human_bytes  # noqa: PLC0415

    with connect() as connection:
        page = connection.client.mirror_runs(name, limit=limit)
    if form.is_data:
        form.print(page)
        return 0
    rows = [
        (
            job["id"],
            job["state"],
            shown_time(job["created_at"]),
            shown_time(job["finished_at"]),
            str((job["result"] or {}).get("images", "-")),
            str(failures(job)),
            human_bytes(job["progress"]["bytes_moved"]),
            job["requested_by"],
        )
        for job in page["items"]
    ]
    header = (
        JOB,
        "STATE",
        Column("STARTED", leave=4),
        Column("ENDED", leave=5),
        Column("IMAGES", leave=1),
        "FAILED",
        Column("MOVED", leave=2),
        Column("BY", leave=6),
    )
    show_table(header, rows, form)
    return 0


@mirrors.command()
@_NAMES
def enable(names: tuple[str, ...]) -> int:
    """Resume scheduled runs. An overdue policy starts at once."""
    return _change(names, enabled=True)


@mirrors.command()
@_NAMES
def disable(names: tuple[str, ...]) -> int:
    """Stop scheduled runs. A run in progress continues."""
    return _change(names, enabled=False)


@mirrors.command("rm")
@_NAMES
def remove(names: tuple[str, ...]) -> int:
    """Forget policies. Their runs stay as jobs, and one that is going on goes on."""
    with connect() as connection:
        for name in names:
            connection.client.remove_mirror(name)
    return 0


@mirrors.command()
@click.argument("file")
@click.argument("destination", metavar="[DST]", required=False)
@click.option("--scoped", is_flag=True, help="Keep host and path of each source below DST.")
def convert(file: str, destination: str | None, scoped: bool) -> int:
    """Print FILE, a policy of skopeo sync or regsync, in Transship's own format.

    DST and --scoped become its defaults. Unsupported settings are reported on stderr.
    """
    policy = read_policy(file)
    warn(policy)
    if destination is not None or scoped:
        policy.entries_for(destination, scoped=scoped)  # whether it can be
    sys.stdout.write(policy.to_yaml(destination, scoped=scoped))
    return 0


def _change(names: tuple[str, ...], *, enabled: bool) -> int:
    with connect() as connection:
        for name in names:
            connection.client.change_mirror(name, enabled=enabled)
    return 0


def _every(seconds: float | None) -> str:
    return "-" if seconds is None else exact_duration(seconds)
