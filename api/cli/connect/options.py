"""Options that several commands share."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

import click

from transship.api.cli.form import Form
from transship.store.durations import parse_duration

_EPOCH_VARIABLE = "SOURCE_DATE_EPOCH"

F = TypeVar("F", bound=Callable[..., Any])


class Duration(click.ParamType[float]):
    """A time span above zero, in the one grammar of `store.durations`."""

    name = "duration"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return seconds."""
        try:
            seconds = parse_duration(str(value))
        except ValueError as wrong:
            self.fail(str(wrong), param, ctx)
        if not seconds:
            self.fail("a duration is above 0", param, ctx)
        return seconds


def form_option(command: F) -> F:
    """`-o` and `--json`: in which form something is shown; the command gets a `form`."""
    form = click.option(
        "-o",
        "--output",
        "shown_as",
        type=click.Choice([form.value for form in Form]),
        help="table; wide: all columns, in full; json or yaml: as the API returns it.",
    )
    return form(json_option(command))


def json_option(command: F) -> F:
    """`--json` alone, where `-o` names a file; the command gets a `form`."""

    @wraps(command)
    def formed(*arguments: Any, as_json: bool, shown_as: str | None = None, **options: Any) -> Any:
        if as_json and shown_as not in (None, Form.JSON):
            raise click.UsageError(f"--json is -o json, and not -o {shown_as}")
        form = Form.JSON if as_json else Form(shown_as or Form.TABLE)
        return command(*arguments, form=form, **options)

    option = click.option("--json", "as_json", is_flag=True, help="The same as -o json.")
    return option(cast("F", formed))


def platform_options(command: F) -> F:
    """`--platform` and `--all-platforms`."""
    command = click.option("--all-platforms", is_flag=True, help="Take every platform.")(command)
    return click.option(
        "--platform",
        "platforms",
        multiple=True,
        metavar="OS/ARCH[/VARIANT]",
        help="Take this platform; may be repeated.",
    )(command)


def referrer_options(command: F) -> F:
    """`--referrers`, `--artifact-type` and `--on-rewrite`; see `referrers_in`."""
    for option in (
        click.option(
            "--on-rewrite",
            type=click.Choice(["warn", "fail"]),
            help="Where only some platforms are copied, and a signature is of them all.",
        ),
        click.option(
            "--artifact-type",
            "artifact_types",
            multiple=True,
            metavar="TYPE",
            help="Of these, take those of this type only; may be repeated.",
        ),
        click.option(
            "--referrers/--no-referrers",
            default=None,
            help="Take along signatures, SBOMs and attestations.",
        ),
    ):
        command = option(command)
    return command


def referrers_in(options: dict[str, Any]) -> dict[str, Any]:
    """Take what `referrer_options` has read out of *options*; the fields of a spec that it means.

    Raises:
        click.UsageError: they contradict one another.
    """
    wanted, types = options.pop("referrers"), list(options.pop("artifact_types"))
    rewrite = options.pop("on_rewrite")
    if wanted is False and types:
        raise click.UsageError("give --no-referrers or --artifact-type, not both")
    found: dict[str, Any] = {}
    if types or wanted is not None:
        found["referrers"] = types or ("all" if wanted else "none")
    return found if rewrite is None else {**found, "on_rewrite": rewrite}


def job_options(command: F) -> F:
    """What every command takes that makes a job and follows it."""
    return form_option(_job_options(command))


def job_options_for_files(command: F) -> F:
    """The same for a command whose `-o` is a file."""
    return json_option(_job_options(command))


def _job_options(command: F) -> F:
    for option in (
        click.option("--quiet", "-q", is_flag=True, help="Show no progress."),
        click.option("--detach", "-d", is_flag=True, help="Print the job's id and return."),
        click.option("--priority", type=click.IntRange(-100, 100), help="Higher goes first."),
        click.option(
            "--deadline",
            type=Duration(),
            metavar="DURATION",
            help="Fail the job after so long, as 90 (seconds), 1.5h or 30d.",
        ),
        click.option(
            "--idempotency-key",
            metavar="KEY",
            help="Submitting twice with one key creates one job.",
        ),
    ):
        command = option(command)
    return command


def source_date_epoch() -> int | None:
    """When to say that an image was created, as the environment has it for reproducible builds.

    Raises:
        click.UsageError: what it has is no number of seconds.
    """
    text = os.environ.get(_EPOCH_VARIABLE, "")
    if not text:
        return None
    if not text.isdecimal():
        raise click.UsageError(f"{_EPOCH_VARIABLE} is {text!r}, not seconds since the epoch")
    return int(text)
