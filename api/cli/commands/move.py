"""pull, push, copy, mirror: make a job, follow it, end as it ends."""

from __future__ import annotations

import sys
from typing import Any

import click

from transship.api.cli.connect.completion import references
from transship.api.cli.connect.options import (
    job_options,
    platform_options,
    referrer_options,
    referrers_in,
)
from transship.api.cli.connect.policies import read_policy, warn
from transship.api.cli.submit import ask


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
@click.argument("reference", shell_complete=references)
@click.argument("destination", required=False)
@click.option("--all-tags", "-a", is_flag=True, help="Send every tag that the repository has here.")
@click.option(
    "--compress",
    type=click.Choice(["gzip", "zstd"]),
    default="gzip",
    help="Of layers that were loaded uncompressed; all others stay as they are.",
)
@platform_options
@job_options
def push(
    reference: str, destination: str | None, all_tags: bool, compress: str, **options: Any
) -> int:
    """Send REFERENCE from the store to a registry, as DESTINATION where one is given."""
    spec = {"kind": "push", "reference": reference, "destination": destination}
    return ask({**spec, "all_tags": all_tags, "compress": compress}, options)


@click.command()
@click.argument("source")
@click.argument("destination")
@click.option("--force", is_flag=True, help="Look for all of it, although the tag is equal.")
@click.option(
    "--no-overwrite", is_flag=True, help="Keep what DESTINATION stands for, if that is another."
)
@platform_options
@referrer_options
@job_options
def copy(source: str, destination: str, force: bool, no_overwrite: bool, **options: Any) -> int:
    """Copy SOURCE, an image in a registry, to DESTINATION in another.

    Every platform is copied unless some are named. Signatures and what else is about the image
    come along with --referrers.
    """
    spec = {"kind": "copy", "source": source, "destination": destination, **referrers_in(options)}
    if force:
        spec["force"] = True
    if no_overwrite:
        spec["overwrite"] = "never"
    if options["all_platforms"] and not options["quiet"]:
        sys.stderr.write("copy takes all platforms anyway\n")
    return ask(spec, options)


@click.command()
@click.argument("source", required=False)
@click.argument("destination", required=False)
@click.option("--tag", "-t", "tags", multiple=True, help="Copy this tag only; may be repeated.")
@click.option("--file", "-f", metavar="FILE", help="Copy what this policy says; - is the input.")
@click.option("--scoped", is_flag=True, help="Keep host and path of each source below DST.")
@click.option(
    "--dry-run", is_flag=True, help="Compare only; ends with 3 if there is anything to do."
)
@platform_options
@referrer_options
@job_options
def mirror(
    source: str | None,
    destination: str | None,
    tags: tuple[str, ...],
    file: str | None,
    scoped: bool,
    dry_run: bool,
    **options: Any,
) -> int:
    """Copy every tag of the repository SOURCE to the repository DESTINATION.

    With -f FILE what a policy says: `transship mirror -f FILE [DST]`. Entries that name no
    destination go below DST. Transship's own format is read, and those of skopeo sync and regsync.
    Signatures, SBOMs and attestations come along, unless --no-referrers or the policy says not.
    """
    spec: dict[str, Any] = {"kind": "mirror", "dry_run": dry_run, **referrers_in(options)}
    if file is not None:
        if destination is not None:
            raise click.UsageError("with -f there is one argument at most, DST")
        if tags:
            raise click.UsageError("with -f the file says which tags; leave --tag away")
        policy = read_policy(file)
        if not options["quiet"]:
            warn(policy)
        spec |= {**policy.of_runs, "entries": policy.entries_for(source, scoped=scoped)}
    else:
        if source is None or destination is None:
            raise click.UsageError("give SOURCE and DESTINATION, or a policy with -f FILE")
        if scoped:
            raise click.UsageError("--scoped goes with -f FILE")
        spec |= {"source": source, "destination": destination, "tags": list(tags)}
    return ask(spec, options)
