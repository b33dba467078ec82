"""What a shell may complete: jobs, mirrors and references, as the server has them.

Silent and quick: where no server answers at once, nothing is completed, and none is started.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:
    from transship.api.client import Client

MAX_COMPLETED: Final = 100
_ANSWER_SECONDS: Final = 1.0


def jobs(_: click.Context, __: click.Parameter, incomplete: str) -> list[str]:
    """The newest jobs, and `last`."""
    found = _asked(lambda client: client.jobs(limit=MAX_COMPLETED)["items"])
    return _beginning(incomplete, ["last", *(job["id"] for job in found)] if found else [])


def mirrors(_: click.Context, __: click.Parameter, incomplete: str) -> list[str]:
    """The stored mirrors."""
    return _beginning(
        incomplete, [one["name"] for one in _asked(lambda client: client.mirrors()["items"])]
    )


def references(_: click.Context, __: click.Parameter, incomplete: str) -> list[str]:
    """The names of images in the store."""
    found = _asked(lambda client: client.images(None)["items"])
    return _beginning(incomplete, [name for one in found for name in one["repo_tags"]])


def _beginning(incomplete: str, names: list[str]) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]


def _asked(question: Callable[[Client], Any]) -> Any:
    """The answer of the server that there is; [] where it does not come."""
    with suppress(Exception):  # a shell that completes has no place for a complaint
        from transship.api.cli.connect.connection import running_client  # noqa: PLC0415 -- --help needs none of it
        from transship.api.cli.connect.target import Target  # noqa: PLC0415

        with running_client(Target.load(), seconds=_ANSWER_SECONDS) as client:
            return question(client)
    return []
