"""workspace: writable layers over images, and the images that they become."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import click

from transship.api.cli.connect.options import (
    form_option,
    job_options,
    json_option,
    source_date_epoch,
)
from transship.api.cli.connect.reach import connect
from transship.api.cli.form import Form
from transship.api.cli.groups import Group

_READ_BYTES = 1024 * 1024
_LETTERS = {"added": "A", "modified": "C", "deleted": "D"}
_TYPES = {"directory": "d", "symlink": "l", "fifo": "p", "character": "c", "block": "b"}


@click.group(cls=Group)
def workspace() -> None:
    """Put files over an image, look at them, and make an image of them."""


@workspace.command("create")
@click.argument("name")
@click.argument("reference", required=False)
@click.option("--platform", metavar="OS/ARCH[/VARIANT]", help="Of an index take this one.")
@click.option("--busy", is_flag=True, help="Keep the image from being removed by force, too.")
@click.option(
    "--pull",
    type=click.Choice(["missing", "always", "never"]),
    default="never",
    help="Pull the image first, by a job; missing: where it is not held.",
)
@job_options
def create_workspace(
    name: str, reference: str | None, platform: str | None, busy: bool, pull: str, **options: Any
) -> int:
    """Make the workspace NAME over the image REFERENCE, or an empty one."""
    from transship.api.cli.submit import ask  # noqa: PLC0415 -- --help needs none of it

    if pull != "never" and reference is not None:
        spec = {
            "kind": "workspace",
            "workspace": name,
            "reference": reference,
            "platform": platform,
            "busy": busy,
            "pull": pull,
        }
        return ask(spec, options)
    form: Form = options["form"]
    with connect() as connection:
        made = connection.client.create_workspace(name, reference, platform=platform, busy=busy)
    if form.is_data:
        form.print(made)
    else:
        print(made["name"])
    return 0


@workspace.command("ls")
@click.argument("name", required=False)
@click.argument("path", default="/")
@form_option
def list_workspaces(name: str | None, path: str, form: Form) -> int:
    """List the workspaces, or what the workspace NAME has at PATH and below it."""
    with connect() as connection:
        if name is None:
            page = connection.client.workspaces()
        else:
            page = connection.client.list_files(name, path)
    if form.is_data:
        form.print(page)
    elif name is None:
        _show_workspaces(page["items"], form)
    else:
        _show_files(page["items"], form)
    return 0


def _show_workspaces(items: list[dict[str, Any]], form: Form) -> None:
    from transship.api.cli.output.table import Column, show_table  # noqa: PLC0415
    from transship.store.sizes import human_bytes  # noqa: PLC0415

    rows = [
        (
            one["name"],
            one["reference"] or "",
            (one["image_id"] or "").removeprefix("sha256:")[:12],
            "busy" if one["busy"] else "idle",
            human_bytes(one["size_rw"]),
            human_bytes(one["size_root_fs"]),
        )
        for one in items
    ]
    heads = (
        "NAME",
        Column("REFERENCE", cut=True),
        Column("IMAGE ID", leave=2),
        "STATE",
        Column("SIZE", leave=1),
        Column("WITH IMAGE", leave=3),
    )
    show_table(heads, rows, form)


def _show_files(items: list[dict[str, Any]], form: Form) -> None:
    from transship.api.cli.output.table import Column, show_table  # noqa: PLC0415
    from transship.api.cli.output.terminal import shown_time  # noqa: PLC0415

    rows = [
        (
            f"{_TYPES.get(one['kind'], '-')}{one['mode']:04o}",
            f"{one['uid']}:{one['gid']}",
            str(one["size"]),
            shown_time(one["mtime"]),
            one["path"] + (f" -> {one['link']}" if one["link"] else ""),
        )
        for one in items
    ]
    heads = (
        Column("MODE", leave=1),
        Column("OWNER", leave=2),
        "BYTES",
        Column("MODIFIED", leave=3),
        Column("PATH", cut=True),
    )
    show_table(heads, rows, form)


@workspace.command("put")
@click.argument("name")
@click.argument("path")
@click.argument("tar", type=click.File("rb"))
@form_option
def put(name: str, path: str, tar: BinaryIO, form: Form) -> int:
    """Put the files of TAR, plain or compressed, into the directory PATH; `-` is stdin."""
    with connect() as connection:
        layer = connection.client.put_files(name, path, _pieces(tar))
    if form.is_data:
        form.print(layer)
    return 0


def _pieces(file: BinaryIO) -> Iterator[bytes]:
    while data := file.read(_READ_BYTES):
        yield data


@workspace.command("get")
@click.argument("name")
@click.argument("path")
@click.option(
    "--output", "-o", type=click.Path(path_type=Path, dir_okay=False), help="Write to this file."
)
def get(name: str, path: str, output: Path | None) -> int:
    """Write what is at PATH, with all that is below it, as a tar."""
    with connect() as connection:
        _save(connection.client.get_files(name, path), output)
    return 0


@workspace.command("diff")
@click.argument("name")
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the changes to this file, as the tar of a layer.",
)
@json_option
def diff(name: str, output: Path | None, form: Form) -> int:
    """List what differs from the image: A for added, C for changed, D for deleted."""
    with connect() as connection:
        if output is not None:
            _save(connection.client.workspace_layer(name), output)
            return 0
        page = connection.client.workspace_changes(name)
    if form.is_data:
        form.print(page)
    else:
        for one in page["items"]:
            print(f"{_LETTERS[one['kind']]} {one['path']}")
    return 0


@workspace.command("commit")
@click.argument("name")
@click.argument("reference", required=False)
@click.option("--author", "-a", default="", help="Who made it.")
@click.option("--message", "-m", default="", help="What was done, for its history.")
@click.option(
    "--change",
    "-c",
    "changes",
    multiple=True,
    metavar="INSTRUCTION",
    help="Of a Dockerfile, as 'CMD [\"/bin/app\"]'; may be repeated.",
)
@job_options
def commit(name: str, reference: str | None, **options: Any) -> int:
    """Make an image of the workspace NAME, called REFERENCE where that is given.

    SOURCE_DATE_EPOCH is when it was made, and the latest time of its files.
    """
    from transship.api.cli.submit import ask  # noqa: PLC0415 -- --help needs none of it

    spec = {
        "kind": "commit",
        "workspace": name,
        "reference": reference,
        "author": options.pop("author"),
        "message": options.pop("message"),
        "changes": list(options.pop("changes")),
        "source_date_epoch": source_date_epoch(),
    }
    return ask(spec, options)


@workspace.command("rm")
@click.argument("name")
@click.argument("path", required=False)
def rm(name: str, path: str | None) -> int:
    """Drop the workspace NAME, or only remove PATH from it."""
    with connect() as connection:
        if path is None:
            connection.client.remove_workspace(name)
        else:
            connection.client.delete_files(name, path)
    return 0


@workspace.command("busy")
@click.argument("name")
@click.option("--off", is_flag=True, help="It is idle again.")
@form_option
def busy(name: str, off: bool, form: Form) -> int:
    """Mark NAME as in use: its image cannot be removed then, not even by force."""
    with connect() as connection:
        changed = connection.client.change_workspace(name, busy=not off)
    if form.is_data:
        form.print(changed)
    return 0


def _save(pieces: Iterable[bytes], output: Path | None) -> None:
    from transship.api.cli.commands.transfer import written  # noqa: PLC0415 -- --help needs none of it

    if output is None and sys.stdout.isatty():
        raise click.UsageError("a tar is not for a terminal; write it to a file with -o")
    with written(output) as file:
        for piece in pieces:
            file.write(piece)
