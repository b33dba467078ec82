"""status, version, completion: a look at the server, and what belongs to the program itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from transship import __version__
from transship.api.cli.connect.options import form_option
from transship.api.cli.form import Form

_STATES = ("queued", "running", "succeeded", "failed", "cancelled")


@click.command()
@form_option
def status(form: Form) -> int:
    """Show the server: its parts, its workers, what is degraded, and how many jobs there are.

    Starts none. Ends with 2 where there is no server.
    """
    from transship.api.cli.connect.connection import running_client  # noqa: PLC0415 -- --help needs none of it
    from transship.api.cli.connect.target import Target  # noqa: PLC0415

    with running_client(Target.load()) as client:
        found = client.status()
    if form.is_data:
        form.print(found)
    else:
        _show(found, form)
    return 0


@click.command()
@form_option
def version(form: Form) -> int:
    """Show the version of this program, and of the server if there is one."""
    from contextlib import ExitStack  # noqa: PLC0415 -- --help needs none of it

    from transship.api.cli.connect.connection import running_client  # noqa: PLC0415
    from transship.api.cli.connect.target import NeedsServerError, Target  # noqa: PLC0415

    server: dict[str, Any] | None = None
    with ExitStack() as opened:
        try:
            client = opened.enter_context(running_client(Target.load()))
        except NeedsServerError:
            pass
        else:
            server = client.status()
    if form.is_data:
        form.print({"client": __version__, "server": server["version"] if server else None})
        return 0
    print(f"client  {__version__}")
    print(f"server  {server['version']}" if server else "server  none is running")
    return 0


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> int:
    """Print what SHELL needs to complete commands, options, jobs, mirrors and references.

    In bash: `source <(transship completion bash)`.
    """
    from click.shell_completion import get_completion_class  # noqa: PLC0415 -- --help needs none of it

    from transship.api.cli.root import COMPLETE_VARIABLE, PROGRAM, cli  # noqa: PLC0415

    kind = get_completion_class(shell)
    assert kind is not None
    print(kind(cli, {}, PROGRAM, COMPLETE_VARIABLE).source())
    return 0


def _show(found: dict[str, Any], form: Form) -> None:
    from transship.api.cli.output.table import Column, fields, show_table  # noqa: PLC0415
    from transship.api.cli.output.terminal import shown_time, width  # noqa: PLC0415

    print(fields(_facts(found), width()))
    if found["workers"]:
        print()
        rows = [
            (
                one["id"],
                one["host"] or "-",
                "-" if one["pid"] is None else str(one["pid"]),
                shown_time(one["started_at"]),
                ", ".join(f"{name} {n}" for name, n in one["threads"].items() if n),
            )
            for one in found["workers"]
        ]
        heads = (
            Column("WORKER", cut=True),
            Column("HOST", cut=True, leave=2),
            Column("PID", leave=3),
            Column("STARTED", leave=4),
            Column("THREADS", cut=True, leave=1),
        )
        show_table(heads, rows, form)
    print()
    by_kind = found["jobs_by_kind"] if form is Form.WIDE else {}
    rows = [
        (kind, *(str(counts.get(state, 0)) for state in _STATES))
        for kind, counts in (*sorted(by_kind.items()), ("all", found["jobs"]))
    ]
    show_table(("JOBS", *(state.upper() for state in _STATES)), rows, form)


def _facts(found: dict[str, Any]) -> Iterator[tuple[str, str]]:
    database, broker = found["database"], found["broker"]
    yield "state", f"degraded: {', '.join(found['degraded'])}" if found["degraded"] else "ok"
    yield "version", found["version"]
    yield "address", "\n".join(found["addresses"])
    if found["home"]:
        yield "home", found["home"]
    place = f" {database['address']}" if database["address"] else ""
    yield "database", f"{database['kind']}{place}, schema {database['schema_version']}"
    if broker["kind"] == "none":
        yield "broker", "none: everything runs in one process"
    else:
        place = f" {broker['address']}" if broker["address"] else ""
        yield "broker", f"{broker['kind']}{place}{'' if broker['reachable'] else ', not reachable'}"
    threads = ", ".join(f"{queue['name']} {queue['threads']}" for queue in found["queues"])
    yield "threads", threads
