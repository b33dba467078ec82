"""limits: show them, and change them while everything runs."""

from __future__ import annotations

from typing import Any

import click

from transship.api.cli.connect.options import form_option
from transship.api.cli.connect.reach import connect
from transship.api.cli.form import Form

_COUNT = click.IntRange(min=0)
_TRIES = click.IntRange(min=1)


class _Size(click.ParamType[int]):
    """Bytes, as a number or with k, M or G (powers of 1000), KiB, MiB or GiB behind it."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read it, or say what is wrong with it."""
        from transship.store.sizes import parse_bytes  # noqa: PLC0415

        try:
            return parse_bytes(str(value))
        except ValueError as wrong:
            self.fail(str(wrong), param, ctx)


@click.command()
@click.option("--max-concurrent-downloads", type=_COUNT, help="Over all workers; 0 pauses.")
@click.option("--max-concurrent-uploads", type=_COUNT, help="Over all workers; 0 pauses.")
@click.option("--max-download-attempts", type=_TRIES, help="Tries, not retries.")
@click.option("--max-upload-attempts", type=_TRIES, help="Tries, not retries.")
@click.option(
    "--registry",
    "registries",
    multiple=True,
    metavar="HOST",
    help="The options below are for this registry; may be repeated.",
)
@click.option(
    "--concurrency", type=_COUNT, help="Concurrent blob transfers, downloads and uploads together."
)
@click.option(
    "--requests-per-second",
    type=click.FloatRange(min=0, min_open=True),
    help="Over all workers, including manifest and HEAD requests.",
)
@click.option("--bytes-per-second", type=_Size(), help="As 500k, 20M or 64MiB.")
@click.option(
    "--pause/--resume", "paused", default=None, help="Stop or resume all requests to the registry."
)
@click.option("--unpark", is_flag=True, help="Ask registries again that are left alone.")
@click.option("--reset", is_flag=True, help="Reset to the defaults: all, or those of --registry.")
@form_option
def limits(
    registries: tuple[str, ...],
    paused: bool | None,
    unpark: bool,
    reset: bool,
    form: Form,
    **values: Any,
) -> int:
    """Show the limits in force and where each comes from, or change them.

    A change acts at once, up and down, and stays until it is reset.
    """
    given = {name: value for name, value in values.items() if value is not None}
    of_registry: dict[str, Any] = {
        name: given.pop(name)
        for name in ("concurrency", "requests_per_second", "bytes_per_second")
        if name in given
    }
    if paused is not None:
        of_registry["paused"] = paused
    if (of_registry or unpark) and not registries:
        raise click.UsageError("name the registry with --registry HOST")
    if registries and not of_registry and not reset and not unpark:
        raise click.UsageError("say what is to be changed for the registry, --unpark or --reset")
    if (reset or unpark) and (given or of_registry or (reset and unpark)):
        raise click.UsageError("--reset and --unpark stand alone, and take no new values")
    with connect() as connection:
        if reset:
            found = connection.client.reset_limits(list(registries))
        elif unpark:
            for registry in registries:
                connection.client.unpark(registry)
            found = connection.client.limits()
        elif given or of_registry:
            change = {**given, "registries": dict.fromkeys(registries, of_registry)}
            found = connection.client.change_limits(change)
        else:
            found = connection.client.limits()
    if form.is_data:
        form.print(found)
    else:
        _show(found, form)
    return 0


def _show(found: dict[str, Any], form: Form) -> None:
    from transship.api.cli.output.table import show_table  # noqa: PLC0415
    from transship.store.sizes import human_bytes  # noqa: PLC0415

    registries = found.pop("registries")
    rows = [(name, str(one["value"]), one["source"]) for name, one in found.items()]
    show_table(("LIMIT", "VALUE", "FROM"), rows, form)
    if not registries:
        return
    rate = "{} a second".format
    rows_of_registries = [
        (
            host,
            _or_dash(one["concurrency"]),
            _or_dash(one["requests_per_second"]),
            _or_dash(one["bytes_per_second"] and rate(human_bytes(one["bytes_per_second"]))),
            _state(one),
        )
        for host, one in registries.items()
    ]
    heads = ("REGISTRY", "BODIES", "REQUESTS/S", "BYTES", "NOW")
    print()
    show_table(heads, rows_of_registries, form)


def _or_dash(value: Any) -> str:
    return "-" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _state(one: dict[str, Any]) -> str:
    if one["paused"]:
        return "paused"
    if one["parked_seconds"]:
        return f"backing off for {one['parked_seconds']:.0f} s"
    if one["budget_parked_seconds"]:
        return f"open; a credential has used up its budget for {one['budget_parked_seconds']:.0f} s"
    return "open"
