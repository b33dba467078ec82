"""Small transfers share a slot, in a bundle; an upload is blocked while its blob is to come."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_BUSY = "state IN ('admitted', 'running')"
_ACTIVE = "state IN ('blocked', 'pending', 'delayed', 'admitted', 'running')"
_SMALL = "state = 'pending' AND size <= 4194304 AND NOT alone"


def upgrade() -> None:
    op.add_column(
        "transfers",
        sa.Column("bundle", _ID, nullable=False, server_default=sa.text("0")),
    )
    for name in ("shared", "alone"):
        op.add_column(
            "transfers",
            sa.Column(name, sa.Boolean(), nullable=False, server_default=sa.text("false")),
        )
    # What moves now has a slot of its own, under a number that no bundle will have.
    op.execute(f"UPDATE transfers SET bundle = -id WHERE {_BUSY}")  # noqa: S608 -- constants
    for name in ("transfers_busy", "transfers_digest", "transfers_key"):
        op.drop_index(name, "transfers")
    small = ("direction", "registry", "root", "priority", "turn", "id")
    for name, columns, rows in (
        ("transfers_busy", ("direction", "registry", "bundle"), _BUSY),
        ("transfers_small", small, _SMALL),
        ("transfers_digest", ("digest",), _ACTIVE),
        ("transfers_blocked", ("digest",), "state = 'blocked'"),
        ("transfers_key", ("key",), _ACTIVE),
    ):
        op.create_index(
            name,
            "transfers",
            columns,
            unique=name == "transfers_key",
            sqlite_where=sa.text(rows),
            postgresql_where=sa.text(rows),
        )
    # Its uploads are recorded with its downloads: no job is woken between the two.
    op.drop_column("waits", "eager")
