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
