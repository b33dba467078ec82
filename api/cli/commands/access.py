"""tokens and credentials: who may use a server, and with what it signs in at registries."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from transship.api.cli.connect.options import json_option

if TYPE_CHECKING:
    from transship.api.access.local import LocalAccess
    from transship.api.client import Client

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


class Duration(click.ParamType[int]):
    """A number with a unit, as 90m, 12h, 30d."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return seconds."""
        match = re.fullmatch(r"(\d{1,9})([smhdw])", str(value))
        if match is None or int(match[1]) == 0:
            self.fail(f"{value!r} is not a valid duration; write it as 90m, 12h or 30d", param, ctx)
        return int(match[1]) * _SECONDS[match[2]]


@contextmanager
def _local() -> Iterator[Client | LocalAccess]:
    """The server of TRANSSHIP_URL, else the catalog of this home, whether or not a server runs."""
    from transship.api.cli.connect.connection import server_client  # noqa: PLC0415 -- --help needs none of it
    from transship.api.cli.connect.target import Target  # noqa: PLC0415
    from transship.store.settings import Settings  # noqa: PLC0415

    settings = Settings.load()
    if settings.url is not None:
        with server_client(Target.of(settings)) as client:
            yield client
        return
    from transship.api.access.local import LocalAccess  # noqa: PLC0415 -- a client needs none of it

    with LocalAccess(settings) as local:
        yield local


@click.group()
def tokens() -> None:
    """Make, list and remove the tokens that TRANSSHIP_TOKEN holds.

    Without TRANSSHIP_URL this acts on the home itself, whose owner needs no token.
    """


@tokens.command("create")
@click.option("--name", help="Name of the token.")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    required=True,
    metavar="SCOPE",
    help="read, read:all, submit, admin, priority or use:CREDENTIAL; may be repeated.",
)
@click.option("--expires", type=Duration(), metavar="30d", help="Refuse it after so long.")
@json_option
def create_token(
    name: str | None, scopes: tuple[str, ...], expires: int | None, as_json: bool
) -> int:
    """Create a token, and print it. It is shown only once."""
    with _local() as local:
        made = local.create_token(name, list(scopes), expires)
    if as_json:
        print(json.dumps(made, indent=2))
        return 0
    sys.stderr.write(f"{made['name']}, with {', '.join(made['scopes'])}; it is not shown again\n")
    print(made["token"])
    return 0


@tokens.command("ls")
@json_option
def list_tokens(as_json: bool) -> int:
    """List the tokens."""
    from transship.api.cli.output.table import table  # noqa: PLC0415

    with _local() as local:
        page = local.tokens()
    if as_json:
        print(json.dumps(page, indent=2))
        return 0
    rows = [
        (
            one["name"],
            ",".join(one["scopes"]),
            one["created_at"],
            one["expires_at"] or "never",
            one["used_at"] or "never",
        )
        for one in page["items"]
    ]
    print(table(("TOKEN", "SCOPES", "CREATED", "EXPIRES", "USED"), rows))
    return 0


@tokens.command("rm")
@click.argument("names", nargs=-1, required=True, metavar="TOKEN...")
def remove_tokens(names: tuple[str, ...]) -> int:
    """Revoke tokens. Their jobs continue."""
    with _local() as local:
        for name in names:
            local.remove_token(name)
    return 0


@click.group()
def credentials() -> None:
    """Add, list and remove the logins for registries that the server keeps, sealed.

    A job without credentials of its own uses those that its token's scopes name.
    """


@credentials.command("add")
@click.argument("registry", metavar="HOST[/NAMESPACE]")
@click.option("--name", help="Name, for the scope use:NAME. Default: the registry.")
@click.option("--username", "-u", help="Who signs in; without, the secret is an identity token.")
@click.option("--password-stdin", is_flag=True, help="Read the secret from standard input.")
@json_option
def add_credential(
    registry: str, name: str | None, username: str | None, password_stdin: bool, as_json: bool
) -> int:
    """Store a login for HOST on the server. Replaces one with the same name and host."""
    secret = _secret(password_stdin)
    login = {"username": username, "password": secret} if username else {"identity_token": secret}
    with _local() as local:
        kept = local.add_credential({"registry": registry, "name": name, **login})
    print(json.dumps(kept, indent=2) if as_json else kept["name"])
    return 0


@credentials.command("ls")
@json_option
def list_credentials(as_json: bool) -> int:
    """List the credentials, without their secrets."""
    from transship.api.cli.output.table import table  # noqa: PLC0415

    with _local() as local:
        page = local.credentials()
    if as_json:
        print(json.dumps(page, indent=2))
        return 0
    rows = [(one["name"], one["registry"], one["created_at"]) for one in page["items"]]
    print(table(("CREDENTIAL", "REGISTRY", "ADDED"), rows))
    return 0


@credentials.command("rm")
@click.argument("names", nargs=-1, required=True, metavar="CREDENTIAL...")
def remove_credentials(names: tuple[str, ...]) -> int:
    """Forget credentials. Jobs that were submitted before keep theirs until they have ended."""
    with _local() as local:
        for name in names:
            local.remove_credential(name)
    return 0


def _secret(from_stdin: bool) -> str:
    if from_stdin:
        secret = sys.stdin.read().removesuffix("\n").removesuffix("\r")
    elif sys.stdin.isatty():
        secret = click.prompt("Password", hide_input=True, err=True)
    else:
        raise click.UsageError("there is no terminal to ask for a password: use --password-stdin")
    if not secret:
        raise click.UsageError("the password is empty")
    return secret
