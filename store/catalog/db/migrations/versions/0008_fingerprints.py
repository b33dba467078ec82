"""Names of credentials that nobody can make from a guess at one.

They were hashes of the credentials themselves. Each is given a random name, so that what belonged
together still does; what is made from now on takes the secret key.
"""

import secrets

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

COLUMNS = (
    ("blob_sources", "fingerprint"),
    ("credentials", "fingerprint"),
    ("named_credentials", "fingerprint"),
    ("waits", "fingerprint"),
    ("jobs", "credential"),
    ("jobs", "other_credential"),
    ("transfers", "credential"),
    ("budgets", "credential"),
)


def upgrade() -> None:
    names = op.create_table(
        "former_fingerprints",
        sa.Column("old", sa.String(), primary_key=True),
        sa.Column("new", sa.String(), nullable=False),
    )
    old = " UNION ".join(f"SELECT {column} FROM {table}" for table, column in COLUMNS)  # noqa: S608 -- of constants
    found = [one for one in op.get_bind().execute(sa.text(old)).scalars() if one]
    if found:
        op.bulk_insert(
            names, [{"old": one, "new": f"former:{secrets.token_hex(12)}"} for one in found]
        )
    for table, column in COLUMNS:
        op.execute(
            f"UPDATE {table} SET {column} ="  # noqa: S608 -- of constants
            f" (SELECT new FROM former_fingerprints WHERE old = {table}.{column})"
            f" WHERE {column} <> ''"
        )
    op.drop_table("former_fingerprints")
