"""df, events, search: what is taken up, what has happened, what there is elsewhere."""

from __future__ import annotations

import sys
from typing import Any

import click

from transship.api.cli.connect.options import form_option
from transship.api.cli.connect.reach import connect
from transship.api.cli.form import Form


@click.command()
@click.option("--verbose", "-v", is_flag=True, help="Show each image.")
@form_option
def df(verbose: bool, form: Form) -> int:
    """Show disk usage, and what the store holds; sizes are as held."""
    from transship.api.cli.output.table import Column, show_table  # noqa: PLC0415
    from transship.store.sizes import human_bytes  # noqa: PLC0415

    with connect() as connection:
        used = connection.client.usage()
    if form.is_data:
        form.print(used)
        return 0
    images, store = used["images"], used["store"]
    rows = [
        (
            "images",
            str(images["total"]),
            str(images["active"]),
            human_bytes(images["layers_size"]),
            human_bytes(images["reclaimable"]),
        ),
    ]
    if store is not None:
        partials = str(store["partials"]), "-", human_bytes(store["partial_bytes"]), "-"
        rows += [
            ("blobs", str(store["blobs"]), "-", human_bytes(store["blob_bytes"]), "-"),
            ("partial blobs", *partials),
            ("trash", str(store["trash"]), "-", human_bytes(store["trash_bytes"]), "-"),
        ]
    show_table(
        ("WHAT", "TOTAL", Column("ACTIVE", leave=1), "SIZE", Column("RECLAIMABLE", leave=2)),
        rows,
        form,
    )
    if store is not None:
        print(f"\n{human_bytes(store['free_bytes'])} are free")
    if verbose:
        print()
        heads = (
            Column("IMAGE", cut=True),
            "IMAGE ID",
            "SIZE",
            Column("SHARED", leave=3),
            Column("UNIQUE", leave=2),
            Column("USED BY", leave=1),
        )
        show_table(heads, _of(used), form)
    return 0


def _of(used: dict[str, Any]) -> list[tuple[str, ...]]:
    from transship.store.sizes import human_bytes  # noqa: PLC0415

    return [
        (
            image["familiar"] or "<none>",
            image["id"].partition(":")[2][:12],
            human_bytes(image["size"]),
            human_bytes(image["shared_size"]),
            human_bytes(image["unique_size"]),
            f"{image['containers']} workspaces",
        )
        for image in used["items"]
    ]


@click.command()
@click.option("--since", metavar="TIME", help="From then on: a time, or how long ago (10m, 24h).")
@click.option("--until", metavar="TIME", help="Until then.")
@click.option(
    "--filter",
    "filters",
    multiple=True,
    metavar="KEY=VALUE",
    help="Of event, image, label, type; may be repeated.",
)
@click.option("--follow", "-f", is_flag=True, help="Go on with those that happen from now on.")
@form_option
def events(
    since: str | None, until: str | None, filters: tuple[str, ...], follow: bool, form: Form
) -> int:
    """Show image events."""
    with connect() as connection:
        asked = {"since": since, "until": until, "filters": filters}
        found = connection.client.image_events(**asked, follow=follow)
        for event in found:
            if form.is_data:
                form.print_one(event)
            else:
                print(_line(event))
            if follow:
                sys.stdout.flush()
    return 0


def _line(event: dict[str, Any]) -> str:
    from transship.api.cli.output.terminal import shown_time  # noqa: PLC0415

    attributes = ", ".join(f"{key}={value}" for key, value in sorted(event["attributes"].items()))
    what = " ".join(part for part in (event["type"], event["action"], event["actor"]) if part)
    return f"{shown_time(event['time'])} {what} ({attributes})"


@click.command()
@click.argument("term")
@click.option(
    "--filter",
    "filters",
    multiple=True,
    metavar="KEY=VALUE",
    help="Of is-official, is-automated, stars; may be repeated.",
)
@click.option("--limit", type=click.IntRange(1, 100), default=25, show_default=True)
@form_option
def search(term: str, filters: tuple[str, ...], limit: int, form: Form) -> int:
    """Search an index of images for TERM; HOST/TERM searches another registry."""
    from transship.api.cli.output.table import Column, show_table  # noqa: PLC0415

    with connect() as connection:
        page = connection.client.search(term, filters=filters, limit=limit)
    if form.is_data:
        form.print(page)
        return 0
    rows = [
        (
            found["name"],
            str(found["star_count"]),
            "official" if found["is_official"] else "-",
            " ".join(found["description"].split()),
        )
        for found in page["items"]
    ]
    heads = (
        "NAME",
        Column("STARS", leave=1),
        Column("OFFICIAL", leave=2),
        Column("DESCRIPTION", cut=True, leave=3),
    )
    show_table(heads, rows, form)
    return 0


@click.command()
@click.option("-n", "--limit", type=click.IntRange(1, 1000), default=100, show_default=True)
@click.option("--before", metavar="ID", help="Only entries older than that one.")
@form_option
def audit(limit: int, before: str | None, form: Form) -> int:
    """Show who was refused, and who changed tokens, credentials, limits, mirrors or images."""
    from transship.api.cli.output.table import Column, show_table  # noqa: PLC0415
    from transship.api.cli.output.terminal import shown_time  # noqa: PLC0415

    with connect() as connection:
        page = connection.client.audit(limit=limit, before=before)
    if form.is_data:
        form.print(page)
        return 0
    rows = [
        (
            shown_time(one["time"]),
            one["caller"] or "-",
            one["peer"] or "-",
            str(one["status"]),
            one["operation"],
            one["subject"],
        )
        for one in page["items"]
    ]
    heads = (
        "TIME",
        Column("WHO", cut=True),
        Column("FROM", leave=2),
        Column("STATUS", leave=1),
        "WHAT",
        Column("OF", cut=True),
    )
    show_table(heads, rows, form)
    return 0
