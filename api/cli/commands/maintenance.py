"""prune, gc, fsck: look after the store."""

from __future__ import annotations

from typing import Any

import click

from transship.api.cli.connect.options import job_options
from transship.api.cli.submit import ask


@click.command()
@click.option("--all", "-a", "all_", is_flag=True, help="Also tagged ones that nothing uses.")
@click.option(
    "--filter",
    "filters",
    multiple=True,
    metavar="KEY=VALUE",
    help="Of dangling, label, label!, until; may be repeated.",
)
@job_options
def prune(all_: bool, filters: tuple[str, ...], **options: Any) -> int:
    """Remove the images that have no tag, or with --all those that nothing uses.

    Their bytes go when they are collected: see `transship gc`.
    """
    return ask({"kind": "prune", "all": all_, "filters": list(filters)}, options)


@click.command()
@job_options
def gc(**options: Any) -> int:
    """Collect every blob that no image, job or workspace needs.

    Removed blobs stay in the trash for an hour.
    """
    return ask({"kind": "gc"}, options)


@click.command()
@click.option("--repair", is_flag=True, help="Fetch again what is wrong, from where it came.")
@job_options
def fsck(repair: bool, **options: Any) -> int:
    """Hash every blob of the store again, and put aside what is wrong."""
    return ask({"kind": "fsck", "repair": repair}, options)
