"""What the operators' page reads: retries, what moved of late, versions of workers."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "workers", sa.Column("version", sa.String(), nullable=False, server_default="")
    )
    for name, table, column, rows in (
        ("jobs_retry_of", "jobs", "retry_of", "retry_of IS NOT NULL"),
        ("transfers_finished", "transfers", "finished_at", "finished_at IS NOT NULL"),
    ):
        op.create_index(
            name,
            table,
            [column],
            sqlite_where=sa.text(rows),
            postgresql_where=sa.text(rows),
        )
