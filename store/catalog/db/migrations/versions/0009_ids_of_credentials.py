"""Ids of named credentials, by which tokens are granted them: a name may be given again."""

import json
import secrets

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_USE = "use:"


def upgrade() -> None:
    op.add_column(
        "named_credentials", sa.Column("id", sa.String(), nullable=False, server_default="")
    )
    connection = op.get_bind()
    ids = {
        name: secrets.token_hex(16)
        for name in connection.execute(sa.text("SELECT name FROM named_credentials")).scalars()
    }
    for name, id_ in ids.items():
        connection.execute(
            sa.text("UPDATE named_credentials SET id = :id WHERE name = :name"),
            {"id": id_, "name": name},
        )
    for token, kept in connection.execute(sa.text("SELECT id, scopes FROM tokens")).all():
        scopes = json.loads(kept) if isinstance(kept, str) else kept
        granted = [_by_id(scope, ids) for scope in scopes]
        connection.execute(
            sa.text("UPDATE tokens SET scopes = :scopes WHERE id = :id"),
            {"scopes": json.dumps([one for one in granted if one]), "id": token},
        )


def _by_id(scope: str, ids: dict[str, str]) -> str | None:
    """The scope as it is kept from now on; None where the credential is not there any more."""
    if not scope.startswith(_USE):
        return scope
    id_ = ids.get(scope.removeprefix(_USE))
    return _USE + id_ if id_ else None
