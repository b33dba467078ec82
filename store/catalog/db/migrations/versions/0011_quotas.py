"""How long the specs of jobs are, and what is looked up for the quotas of tokens."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_ACTIVE = sa.text("parent IS NULL AND state IN ('queued', 'running')")
_LONG_SPEC = sa.text("parent IS NULL AND spec_bytes > 4096")


def upgrade() -> None:
    op.add_column(
        "jobs", sa.Column("spec_bytes", sa.Integer(), nullable=False, server_default=sa.text("0"))
    )
    op.execute("UPDATE jobs SET spec_bytes = length(CAST(spec AS TEXT)) WHERE parent IS NULL")
    op.create_index(
        "jobs_tenant_active", "jobs", ["tenant"], sqlite_where=_ACTIVE, postgresql_where=_ACTIVE
    )
    op.create_index(
        "jobs_tenant_specs",
        "jobs",
        ["tenant", "spec_bytes"],
        sqlite_where=_LONG_SPEC,
        postgresql_where=_LONG_SPEC,
    )
