"""mirrors: policies of what is to be mirrored, in files and kept by a server."""

from __future__ import annotations

import json
import sys
from typing import Any

import click

from transship.api.cli.commands.access import Duration
from transship.api.cli.connect.options import json_option, platform_options
from transship.api.cli.connect.policies import read_policy, warn
from transship.api.cli.connect.reach import connect, print_json


@click.group(invoke_without_command=True)
@click.pass_context
def mirrors(context: click.Context, /) -> int:
    """Store mirror policies on the server, run them and show their runs.

    Without a command, list them. A policy with an interval is started by any running worker; its
    runs never overlap.
    """
    if context.invoked_subcommand is None:
        return int(context.invoke(list_mirrors, as_json=False))
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
@json_option
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
    as_json: bool,
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
    print(json.dumps(kept, indent=2) if as_json else kept["name"])
    return 0


@mirrors.command("ls")
@json_option
def list_mirrors(as_json: bool) -> int:
    """List the policies that are kept."""
    from transship.api.cli.output.table import table  # noqa: PLC0415

    with connect() as connection:
        page = connection.client.mirrors()
    if as_json:
        print_json(page)
        return 0
    rows = [
        (
            one["name"],
            "yes" if one["enabled"] else "no",
            _every(one["interval_seconds"]),
            one["next_run_at"] or "-",
            one["last_run"]["state"] if one["last_run"] else "-",
            str(one["entries"]),
        )
        for one in page["items"]
    ]
    print(table(("MIRROR", "ENABLED", "EVERY", "NEXT", "LAST", "ENTRIES"), rows))
    return 0


@mirrors.command()
@click.argument("name")
@json_option
def show(name: str, as_json: bool) -> int:  # noqa: ARG001 -- it prints nothing else
    """Show a policy as JSON."""
    with connect() as connection:
        print_json(connection.client.mirror(name))
    return 0


@mirrors.command()
@click.argument("name")
@click.option("--quiet", "-q", is_flag=True, help="Show no progress.")
@click.option("--detach", "-d", is_flag=True, help="Print the job's id and return.")
@click.option(
    "--idempotency-key", metavar="KEY", help="Submitting twice with one key creates one job."
)
@json_option
def run(name: str, quiet: bool, detach: bool, idempotency_key: str | None, as_json: bool) -> int:
    """Start a run now, whether or not the policy is enabled, and follow it to its end."""
    from transship.api.cli.output.follow import start_job  # noqa: PLC0415

    return start_job(
        lambda client: client.run_mirror(name, idempotency_key=idempotency_key),
        as_json=as_json,
        quiet=quiet,
        detach=detach,
    )


@mirrors.command()
@click.argument("name")
@click.option("--read", is_flag=True, help="Read everything, instead of asking for it.")
@click.option("--repair", is_flag=True, help="Copy again what is damaged.")
@click.option("--quiet", "-q", is_flag=True, help="Show no progress.")
@click.option("--detach", "-d", is_flag=True, help="Print the job's id and return.")
@click.option(
    "--idempotency-key", metavar="KEY", help="Submitting twice with one key creates one job."
)
@json_option
def verify(
    name: str,
    read: bool,
    repair: bool,
    quiet: bool,
    detach: bool,
    idempotency_key: str | None,
    as_json: bool,
) -> int:
    """Verify that the destinations have all of every image: tags, manifests, blobs, referrers."""
    from transship.api.cli.output.follow import start_job  # noqa: PLC0415

    return start_job(
        lambda client: client.verify_mirror(
            name, read=read, repair=repair, idempotency_key=idempotency_key
        ),
        as_json=as_json,
        quiet=quiet,
        detach=detach,
    )


@mirrors.command()
@click.argument("name")
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True)
@json_option
def history(name: str, limit: int, as_json: bool) -> int:
    """List the runs of a policy, the newest first."""
    from transship.api.cli.output.table import table  # noqa: PLC0415
    from transship.store.sizes import human_bytes  # noqa: PLC0415

    with connect() as connection:
        page = connection.client.mirror_runs(name, limit=limit)
    if as_json:
        print_json(page)
        return 0
    rows = [
        (
            job["id"],
            job["state"],
            job["created_at"],
            job["finished_at"] or "-",
            str((job["result"] or {}).get("images", "-")),
            str(_failures(job)),
            human_bytes(job["progress"]["bytes_moved"]),
            job["requested_by"],
        )
        for job in page["items"]
    ]
    header = ("JOB", "STATE", "STARTED", "ENDED", "IMAGES", "FAILED", "MOVED", "BY")
    print(table(header, rows))
    return 0


@mirrors.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
def enable(names: tuple[str, ...]) -> int:
    """Resume scheduled runs. An overdue policy starts at once."""
    return _change(names, enabled=True)


@mirrors.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
def disable(names: tuple[str, ...]) -> int:
    """Stop scheduled runs. A run in progress continues."""
    return _change(names, enabled=False)


@mirrors.command("rm")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
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


def _failures(job: dict[str, Any]) -> int:
    """How many images and repositories of a run failed, so far if it has not ended.

    Its result counts them all, and names some. One without a count is of an older version.
    """
    result = job["result"] or {}
    known = max(job["children"].get("failed", 0), len(result.get("failed", ())))
    counted: int = result.get("failures", known)
    return counted


def _every(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds % length == 0:
            return f"{seconds / length:.0f}{unit}"
    return f"{seconds:g}s"
