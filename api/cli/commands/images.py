"""images, inspect, history, children, tag, rm: look at what is held, name it, remove it."""

from __future__ import annotations

import sys
from typing import Any

import click

from transship.api.cli.connect.completion import references as local_references
from transship.api.cli.connect.options import form_option
from transship.api.cli.connect.reach import connect
from transship.api.cli.form import Form
from transship.api.cli.logins import credential_of
from transship.api.cli.output.errors import exit_code, explain, is_missing
from transship.store.errors import TransshipError


@click.command()
@click.argument("pattern", required=False)
@click.option("--all", "-a", "all_", is_flag=True, help="Show unnamed ones with children too.")
@click.option(
    "--filter",
    "-f",
    "filters",
    multiple=True,
    metavar="KEY=VALUE",
    help="Keys: before, dangling, label, reference, since, until; may be repeated.",
)
@click.option("--digests", is_flag=True, help="Show digests.")
@form_option
def images(
    pattern: str | None, all_: bool, filters: tuple[str, ...], digests: bool, form: Form
) -> int:
    """List the images in the store, those that match PATTERN where one is given."""
    from transship.api.cli.output.table import Column, show_table  # noqa: PLC0415

    with connect() as connection:
        page = connection.client.images(pattern, filters=filters, all_=all_)
    if form.is_data:
        form.print(page)
        return 0
    digests = digests or form is Form.WIDE
    rows = [line for item in page["items"] for line in _lines(item, digests=digests)]
    heads = (
        Column("REFERENCE", cut=True),
        Column("IMAGE ID", leave=1),
        Column("PLATFORM", leave=2),
        "SIZE",
        Column("CREATED", wide=True),
        *((Column("DIGEST", cut=True),) if digests else ()),
    )
    show_table(heads, rows, form)
    return 0


def _lines(item: dict[str, Any], *, digests: bool) -> list[tuple[str, ...]]:
    """A line for each name and each platform; names by digest only where there is no tag."""
    from transship.store.sizes import human_bytes  # noqa: PLC0415

    names = item["repo_tags"] or [
        f"{name.partition('@')[0]}:<none>" for name in item["repo_digests"]
    ]
    return [
        (
            name,
            image["image_id"].partition(":")[2][:12],
            image["platform"] or "-",
            human_bytes(image["size"]),
            item["created"] or "-",
            *((item["digest"],) if digests else ()),
        )
        for name in names or ["<none>:<none>"]
        for image in item["images"]
    ]


@click.command()
@click.argument("reference", shell_complete=local_references)
@click.option("--platform", metavar="OS/ARCH[/VARIANT]", help="Of an index show this one.")
@click.option("--remote", is_flag=True, help="Ask its registry, and not the store.")
@form_option
def inspect(reference: str, platform: str | None, remote: bool, form: Form) -> int:
    """Show what is held of REFERENCE, or with --remote what its registry has, as JSON."""
    with connect() as connection:
        if remote:
            found = connection.client.inspect_remote(reference, credential=credential_of(reference))
        else:
            found = connection.client.inspect(reference, platform=platform)
    form.print(found)
    return 0


@click.command()
@click.argument("reference", shell_complete=local_references)
@click.option("--platform", metavar="OS/ARCH[/VARIANT]", help="Of an index show this one.")
@click.option("--no-trunc", is_flag=True, help="Show IDs and commands in full.")
@form_option
def history(reference: str, platform: str | None, no_trunc: bool, form: Form) -> int:
    """Show how REFERENCE came about, the newest step first."""
    from transship.api.cli.output.table import Column, show_table  # noqa: PLC0415
    from transship.store.sizes import human_bytes  # noqa: PLC0415

    with connect() as connection:
        page = connection.client.history(reference, platform=platform)
    if form.is_data:
        form.print(page)
        return 0
    rows = [
        (
            step["id"] if no_trunc else step["id"].removeprefix("sha256:")[:12],
            step["created"][:19],
            human_bytes(step["size"]),
            _one_line(step["created_by"], None if no_trunc or form is Form.WIDE else 60),
            step["comment"],
        )
        for step in page["items"]
    ]
    heads = (
        Column("IMAGE", leave=2),
        Column("CREATED", leave=3),
        "SIZE",
        Column("CREATED BY", cut=not no_trunc),
        Column("COMMENT", cut=True, leave=1),
    )
    show_table(heads, rows, form)
    return 0


def _one_line(text: str, most: int | None) -> str:
    line = " ".join(text.split())
    return line if most is None or len(line) <= most else f"{line[: most - 1]}…"


@click.command()
@click.argument("reference", shell_complete=local_references)
@form_option
def children(reference: str, form: Form) -> int:
    """List the IDs of the images that were made here from REFERENCE."""
    with connect() as connection:
        page = connection.client.children(reference)
    if form.is_data:
        form.print(page)
    else:
        for image_id in page["items"]:
            print(image_id)
    return 0


@click.command()
@click.argument("reference", shell_complete=local_references)
@click.argument("new")
@form_option
def tag(reference: str, new: str, form: Form) -> int:
    """Give REFERENCE the name NEW, whatever that stood for before."""
    with connect() as connection:
        named = connection.client.tag(reference, new)
    if form.is_data:
        form.print(named)
    else:
        print(named["reference"])
    return 0


@click.command()
@click.argument("references", nargs=-1, required=True, shell_complete=local_references)
@click.option(
    "--force",
    "-f",
    is_flag=True,
    help="Even if an idle workspace uses it; by ID, remove all its tags. What is missing is no "
    "failure.",
)
@click.option("--no-prune", is_flag=True, help="Keep parents that nothing else needs.")
@form_option
def rm(references: tuple[str, ...], force: bool, no_prune: bool, form: Form) -> int:
    """Take the names REFERENCES away, and images with their last name.

    Given an ID, the image goes with all its names.
    """
    removed: list[dict[str, str]] = []
    code = 0
    with connect() as connection:
        for name in references:
            try:
                gone = connection.client.remove(name, force=force, noprune=no_prune)
            except TransshipError as error:  # as with Docker, the others go on
                sys.stderr.write(explain(error))
                if not (force and is_missing(error)):
                    code = max(code, exit_code(error))
                continue
            removed += gone
            if not form.is_data:
                for one in gone:
                    for what, which in one.items():
                        print(f"{what}: {which}")
    if form.is_data:
        form.print(removed)
    return code
