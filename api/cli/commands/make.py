"""create, cache: images of a config alone, and those that builds have made before."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from transship.api.cli.connect.options import form_option
from transship.api.cli.connect.reach import connect
from transship.api.cli.form import Form

_FILE = click.Path(path_type=Path, exists=True, dir_okay=False, allow_dash=True)


@click.command()
@click.argument("config", type=_FILE)
@click.option("--parent", metavar="REFERENCE", help="Make it a child of this image.")
@form_option
def create(config: Path, parent: str | None, form: Form) -> int:
    """Make an image of the file CONFIG, an image's config, over layers that are held.

    The file is kept byte for byte, and names the layers by their diffIDs. The image has no name.
    """
    raw = _read(config)
    with connect() as connection:
        made = connection.client.create(raw, parent=parent)
    if form.is_data:
        form.print(made)
    else:
        print(made["image_id"])
    return 0


@click.command()
@click.argument("sources", metavar="[FROM]...", nargs=-1)
@click.option(
    "--config",
    "config",
    type=_FILE,
    required=True,
    help="The config of the step's container, a JSON object in Docker's words.",
)
@click.option("--parent", metavar="REFERENCE", help="The image that the step begins with.")
@form_option
def cache(sources: tuple[str, ...], config: Path, parent: str | None, form: Form) -> int:
    """Print the ID of the image that a step of a build gives, if it was done before.

    It is looked for among the children of the parent, and in the images FROM, which may have been
    built elsewhere. Ends with 1 where it is not known.
    """
    step = _parsed(_read(config))
    with connect() as connection:
        found = connection.client.cached(step, parent=parent, sources=sources)
    if form.is_data:
        form.print(found)
    else:
        for name in found["unknown"]:
            click.echo(f"{name} is not here, or does not tell its steps", err=True)
        if found["image_id"] is not None:
            print(found["image_id"])
    return 0 if found["image_id"] is not None else 1


def _read(path: Path) -> bytes:
    return sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()


def _parsed(raw: bytes) -> dict[str, Any]:
    try:
        value = json.loads(raw)
    except ValueError as error:
        raise click.BadParameter(f"not JSON: {error}", param_hint="--config") from None
    if not isinstance(value, dict):
        raise click.BadParameter("not a JSON object", param_hint="--config")
    return value
