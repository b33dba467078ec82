"""pull, push, copy, mirror: make a job, follow it, end as it ends."""

from __future__ import annotations

import sys
from typing import Any

import click

from api.cli.ask import ask
from api.cli.options import job_options, platform_options


@click.command()
@click.argument("reference")
@click.option("--all-tags", "-a", is_flag=True, help="Take every tag of the repository.")
@platform_options
@job_options
def pull(reference: str, all_tags: bool, **options: Any) -> int:
    """Bring REFERENCE from its registry into the store.

    Without --platform the one of the machine that runs the API is taken.
    """
    return ask({"kind": "pull", "reference": reference, "all_tags": all_tags}, options)


@click.command()
@click.argument("reference")
@click.argument("destination", required=False)
@click.option("--all-tags", "-a", is_flag=True, help="Send every tag that the repository has here.")
@platform_options
@job_options
def push(reference: str, destination: str | None, all_tags: bool, **options: Any) -> int:
    """Send REFERENCE from the store to a registry, as DESTINATION where one is given."""
    spec = {"kind": "push", "reference": reference, "destination": destination}
    return ask({**spec, "all_tags": all_tags}, options)


@click.command()
@click.argument("source")
@click.argument("destination")
@platform_options
@job_options
def copy(source: str, destination: str, **options: Any) -> int:
    """Copy SOURCE, an image in a registry, to DESTINATION in another.

    Every platform is copied unless some are named.
    """
    if options["all_platforms"] and not options["quiet"]:
        sys.stderr.write("copy takes all platforms anyway\n")
    return ask({"kind": "copy", "source": source, "destination": destination}, options)


@click.command()
@click.argument("source")
@click.argument("destination")
@click.option("--tag", "-t", "tags", multiple=True, help="Copy this tag only; may be repeated.")
@platform_options
@job_options
def mirror(source: str, destination: str, tags: tuple[str, ...], **options: Any) -> int:
    """Copy every tag of the repository SOURCE to the repository DESTINATION."""
    return ask(
        {"kind": "mirror", "source": source, "destination": destination, "tags": list(tags)},
        options,
    )
