"""tags, digest: what a registry has, asked of it and not of the store."""

from __future__ import annotations

import click

from transship.api.cli.connect.options import form_option
from transship.api.cli.connect.reach import connect
from transship.api.cli.form import Form
from transship.api.cli.logins import credential_of


@click.command()
@click.argument("repository")
@form_option
def tags(repository: str, form: Form) -> int:
    """List the tags of REPOSITORY in its registry, in the registry's order.

    They are printed as the registry's pages come. With `docker login` or `transship login` your
    login is used.
    """
    found: dict[str, None] = {}
    with connect() as connection:
        for page in connection.client.tags(repository, credential=credential_of(repository)):
            new = [tag for tag in page if tag not in found]
            found |= dict.fromkeys(new)
            if new and not form.is_data:
                print("\n".join(new), flush=True)
    if form.is_data:
        form.print({"items": list(found), "next": None})
    return 0


@click.command()
@click.argument("reference")
@click.option("--platform", metavar="OS/ARCH[/VARIANT]", help="Of an index, the image for this.")
@form_option
def digest(reference: str, platform: str | None, form: Form) -> int:
    """Print the digest that REFERENCE stands for in its registry now.

    Of a multi-platform image it is the digest of the index, unless --platform chooses an image.
    Nothing is pulled.
    """
    with connect() as connection:
        found = connection.client.digest_remote(
            reference, platform=platform, credential=credential_of(reference)
        )
    if form.is_data:
        form.print(found)
    elif form is Form.WIDE:
        print(f"{found['reference']}  {found['digest']}  {found['media_type']}  {found['size']}")
    else:
        print(found["digest"])
    return 0
