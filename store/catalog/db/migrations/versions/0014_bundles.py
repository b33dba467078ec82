"""Small blobs move in bundles, jobs are advanced in batches, uploads wait blocked for blobs."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_DUE = "state IN ('queued', 'running') AND due AND owner IS NULL"
_OUT = "state IN ('queued', 'running') AND (owner IS NOT NULL OR dispatched_until > 0)"
_BATCHED = f"{_DUE} AND batch_key <> '' AND NOT alone"
_BUSY = "state IN ('admitted', 'running')"
_ACTIVE = "state IN ('blocked', 'pending', 'delayed', 'admitted', 'running')"
_SMALL = "state = 'pending' AND size <= 4194304 AND NOT alone"


def upgrade() -> None:
    op.add_column(
        "transfers",
        sa.Column("bundle", _ID, nullable=False, server_default=sa.text("0")),
    )
    for table in ("transfers", "jobs"):
        for name in ("shared", "alone"):
            op.add_column(
                table,
                sa.Column(name, sa.Boolean(), nullable=False, server_default=sa.text("false")),
            )
    for name in ("batch_key", "batch"):
        op.add_column("jobs", sa.Column(name, sa.String(), nullable=False, server_default=""))
    op.execute(
        "UPDATE jobs SET batch_key = kind || ' ' || parent"
        " WHERE parent IS NOT NULL AND kind IN ('copy', 'pull', 'push')"
    )
    # What is out now goes by itself.
    op.execute(f"UPDATE jobs SET batch = id WHERE {_OUT}")  # noqa: S608 -- constants
    # What moves now has a slot of its own, under a number that no bundle will have.
    op.execute(f"UPDATE transfers SET bundle = -id WHERE {_BUSY}")  # noqa: S608 -- constants
    for name in ("transfers_busy", "transfers_digest", "transfers_key", "jobs_out"):
        op.drop_index(name, name.partition("_")[0])
    small = ("direction", "registry", "root", "priority", "turn", "id")
    by_key = ("queue", "lane", "priority", "batch_key", "turn", "seq")
    for name, columns, rows in (
        ("jobs_batch_key", by_key, _BATCHED),
        ("jobs_out", ("queue", "batch"), _OUT),
        ("transfers_busy", ("direction", "registry", "bundle"), _BUSY),
        ("transfers_small", small, _SMALL),
        ("transfers_digest", ("digest",), _ACTIVE),
        ("transfers_blocked", ("digest",), "state = 'blocked'"),
        ("transfers_key", ("key",), _ACTIVE),
    ):
        op.create_index(
            name,
            name.partition("_")[0],
            columns,
            unique=name == "transfers_key",
            sqlite_where=sa.text(rows),
            postgresql_where=sa.text(rows),
        )
    # Its uploads are recorded with its downloads: no job is woken between the two.
    op.drop_column("waits", "eager")
