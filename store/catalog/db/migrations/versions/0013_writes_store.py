"""Which jobs put something into the store."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "jobs",
        sa.Column("writes_store", sa.Boolean(), nullable=False, server_default=sa.text("false")),
    )
    op.execute(
        "UPDATE jobs SET writes_store = true"
        " WHERE kind IN ('pull', 'load', 'import', 'squash', 'commit')"
    )
