"""Options that several commands share."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeVar

import click

_EPOCH_VARIABLE = "SOURCE_DATE_EPOCH"

F = TypeVar("F", bound=Callable[..., Any])


def json_option(command: F) -> F:
    """`--json`: print the API's own object."""
    return click.option(
        "--json", "as_json", is_flag=True, help="Print JSON, as the API returns it."
    )(command)


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
    for option in (
        click.option("--quiet", "-q", is_flag=True, help="Show no progress."),
        click.option("--detach", "-d", is_flag=True, help="Print the job's id and return."),
        click.option("--priority", type=click.IntRange(-100, 100), help="Higher goes first."),
        click.option(
            "--deadline",
            type=float,
            metavar="SECONDS",
            help="Fail the job after this many seconds.",
        ),
        click.option(
            "--idempotency-key",
            metavar="KEY",
            help="Submitting twice with one key creates one job.",
        ),
    ):
        command = option(command)
    return json_option(command)


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
