"""mirrors: policies of what is to be mirrored."""

from __future__ import annotations

import sys

import click

from api.cli.policies import read_policy, warn


@click.group()
def mirrors() -> None:
    """Work with policies of what is to be mirrored."""


@mirrors.command()
@click.argument("file")
@click.argument("destination", metavar="[DST]", required=False)
@click.option("--scoped", is_flag=True, help="Keep host and path of each source below DST.")
def convert(file: str, destination: str | None, scoped: bool) -> int:
    """Print FILE, a policy of skopeo sync or regsync, in Transship's own format.

    DST and --scoped become its defaults. What the file says and nobody heeds is told on stderr.
    """
    policy = read_policy(file)
    warn(policy)
    if destination is not None or scoped:
        policy.entries_for(destination, scoped=scoped)  # whether it can be
    sys.stdout.write(policy.to_yaml(destination, scoped=scoped))
    return 0
