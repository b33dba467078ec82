"""login, logout: the user's own logins, kept where Docker keeps them."""

from __future__ import annotations

import os
import sys

import click

_HUB = "docker.io"


@click.command()
@click.argument("host", default=_HUB)
@click.option("--username", "-u", help="Who signs in.")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
def login(host: str, username: str | None, password_stdin: bool) -> int:
    """Sign in at the registry HOST, Docker Hub where none is named, and keep the login.

    It is checked at the registry first. Docker's config.json keeps it, or the credential helper
    that is configured there. Docker and other tools find it, too.
    """
    from transship.api.cli.logins import keep_login, registry_of, remembered_name  # noqa: PLC0415 -- --help needs none of it
    from transship.api.cli.passwords import secret  # noqa: PLC0415

    registry = registry_of(host)
    if username is None:
        known = remembered_name(registry)
        if password_stdin or not sys.stdin.isatty():
            raise click.UsageError("there is no terminal to ask for a name: use --username")
        username = click.prompt("Username", default=known or None, err=True)
    if not username or ":" in username:
        raise click.UsageError("the name is empty, or has a colon in it")
    kept = keep_login(registry, username, secret(password_stdin))
    if not kept.checked:
        sys.stderr.write(f"transship: warning: {registry} asks nobody to sign in: not checked\n")
    if not kept.helper:
        sys.stderr.write(
            f"transship: warning: the password is not encrypted in {kept.path}; configure a "
            "credential helper to change that\n"
        )
    print(f"signed in at {registry} as {username}")
    return 0


@click.command()
@click.argument("host", default=_HUB)
def logout(host: str) -> int:
    """Forget the login for the registry HOST, Docker Hub where none is named."""
    from transship.api.cli.logins import drop_login, own_config, registry_of  # noqa: PLC0415 -- --help needs none of it

    registry = registry_of(host)
    known = drop_login(registry)
    print(f"signed out from {registry}" if known else f"not signed in at {registry}")
    if own_config().for_host(registry) is not None:
        source = os.environ.get("DOCKER_AUTH_CONFIG") and "DOCKER_AUTH_CONFIG"
        where = source or "a file of another tool, such as auth.json"
        sys.stderr.write(f"transship: warning: {where} has a login for it still\n")
    return 0
