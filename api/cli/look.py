"""images, inspect, rm: look at what is there."""

from __future__ import annotations

import json
from typing import Any

import click

from api.cli.options import json_option


def _connect() -> Any:
    from api.connect import Connection  # noqa: PLC0415 -- --help needs none of it
    from store.settings import Settings  # noqa: PLC0415

    return Connection(Settings.load())


@click.command()
@click.argument("pattern", required=False)
@click.option("--digests", is_flag=True, help="Show digests.")
@json_option
def images(pattern: str | None, digests: bool, as_json: bool) -> int:
    """List the images in the store, those that match PATTERN where one is given."""
    from api.cli.table import table  # noqa: PLC0415
    from store.sizes import human_bytes  # noqa: PLC0415

    with _connect() as connection:
        page = connection.client.images(pattern)
    if as_json:
        print(json.dumps(page, indent=2))
        return 0
    rows = [
        (
            reference["familiar"],
            image["image_id"].partition(":")[2][:12],
            image["platform"] or "-",
            human_bytes(image["size"]),
            *((reference["digest"],) if digests else ()),
        )
        for reference in page["items"]
        for image in reference["images"]
    ]
    print(table(("REFERENCE", "IMAGE ID", "PLATFORM", "SIZE", *(("DIGEST",) * digests)), rows))
    return 0


@click.command()
@click.argument("reference")
@json_option
def inspect(reference: str, as_json: bool) -> int:  # noqa: ARG001 -- it prints nothing else
    """Show what is held of REFERENCE: manifests and configs, as JSON."""
    with _connect() as connection:
        print(json.dumps(connection.client.inspect(reference), indent=2))
    return 0


@click.command()
@click.argument("references", nargs=-1, required=True)
@click.option("--force", "-f", is_flag=True, help="Given an ID, take all names of its image away.")
@click.option("--no-prune", is_flag=True, help="Keep the content; it stays for a while anyway.")
@json_option
def rm(references: tuple[str, ...], force: bool, no_prune: bool, as_json: bool) -> int:  # noqa: ARG001
    """Take the names REFERENCES away; content goes when nothing needs it."""
    removed: list[dict[str, str]] = []
    with _connect() as connection:
        for name in references:
            gone = connection.client.remove(name, force=force)
            removed += gone
            if not as_json:
                for one in gone:
                    print(f"untagged: {one['untagged']}")
    if as_json:
        print(json.dumps(removed, indent=2))
    return 0
