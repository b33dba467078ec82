"""tokens and credentials: who may use a server, and with what it signs in at registries."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from transship.api.cli.connect.options import Duration, form_option
from transship.api.cli.form import Form
from transship.api.cli.groups import Group
from transship.api.cli.passwords import secret

if TYPE_CHECKING:
    from transship.api.access.local import LocalAccess
    from transship.api.client import Client


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


@click.group(cls=Group)
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
@form_option
def create_token(
    name: str | None, scopes: tuple[str, ...], expires: float | None, form: Form
) -> int:
    """Create a token, and print it. It is shown only once."""
    with _local() as local:
        made = local.create_token(name, list(scopes), None if expires is None else round(expires))
    if form.is_data:
        form.print(made)
        return 0
    sys.stderr.write(f"{made['name']}, with {', '.join(made['scopes'])}; it is not shown again\n")
    print(made["token"])
    return 0


@tokens.command("ls")
@form_option
def list_tokens(form: Form) -> int:
    """List the tokens."""
    from transship.api.cli.output.table import Column, show_table  # noqa: PLC0415
    from transship.api.cli.output.terminal import shown_time  # noqa: PLC0415

    with _local() as local:
        page = local.tokens()
    if form.is_data:
        form.print(page)
        return 0
    rows = [
        (
            one["name"],
            ",".join(one["scopes"]),
            shown_time(one["created_at"]),
            shown_time(one["expires_at"], "never"),
            shown_time(one["used_at"], "never"),
        )
        for one in page["items"]
    ]
    heads = (
        "TOKEN",
        Column("SCOPES", cut=True),
        Column("CREATED", leave=3),
        Column("EXPIRES", leave=1),
        Column("USED", leave=2),
    )
    show_table(heads, rows, form)
    return 0


@tokens.command("rm")
@click.argument("names", nargs=-1, required=True, metavar="TOKEN...")
def remove_tokens(names: tuple[str, ...]) -> int:
    """Revoke tokens. Their jobs continue."""
    with _local() as local:
        for name in names:
            local.remove_token(name)
    return 0


@click.group(cls=Group)
def credentials() -> None:
    """Add, list and remove the logins for registries that the server keeps, sealed.

    A job without credentials of its own uses those that its token's scopes name.
    """


@credentials.command("add")
@click.argument("registry", metavar="HOST[/NAMESPACE]")
@click.option("--name", help="Name, for the scope use:NAME. Default: the registry.")
@click.option("--username", "-u", help="Who signs in; without, the secret is an identity token.")
@click.option("--password-stdin", is_flag=True, help="Read the secret from standard input.")
@form_option
def add_credential(
    registry: str, name: str | None, username: str | None, password_stdin: bool, form: Form
) -> int:
    """Store a login for HOST on the server. Replaces one with the same name and host."""
    typed = secret(password_stdin)
    login = {"username": username, "password": typed} if username else {"identity_token": typed}
    with _local() as local:
        kept = local.add_credential({"registry": registry, "name": name, **login})
    if form.is_data:
        form.print(kept)
    else:
        print(kept["name"])
    return 0


@credentials.command("ls")
@form_option
def list_credentials(form: Form) -> int:
    """List the credentials, without their secrets."""
    from transship.api.cli.output.table import Column, show_table  # noqa: PLC0415
    from transship.api.cli.output.terminal import shown_time  # noqa: PLC0415

    with _local() as local:
        page = local.credentials()
    if form.is_data:
        form.print(page)
        return 0
    rows = [(one["name"], one["registry"], shown_time(one["created_at"])) for one in page["items"]]
    show_table(("CREDENTIAL", "REGISTRY", Column("ADDED", leave=1)), rows, form)
    return 0


@credentials.command("rm")
@click.argument("names", nargs=-1, required=True, metavar="CREDENTIAL...")
def remove_credentials(names: tuple[str, ...]) -> int:
    """Forget credentials. Jobs that were submitted before keep theirs until they have ended."""
    with _local() as local:
        for name in names:
            local.remove_credential(name)
    return 0
