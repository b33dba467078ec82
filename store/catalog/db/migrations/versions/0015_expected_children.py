"""A job of jobs says how many children it will have, before it has made them."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "job_children",
        sa.Column("expected", sa.Integer(), nullable=False, server_default=sa.text("0")),
    )
