"""Jobs in the lanes of both registries, turns by requester, and budgets of credentials.

A job of before belongs to the lane of its first registry alone, and asks the second one whatever
its state; it is known by no credential, so that no budget holds it back.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_JOB_ACTIVE = "state IN ('queued', 'running')"


def upgrade() -> None:
    _jobs()
    _transfers()
    for name in ("silent_until", "silent_delay"):
        op.add_column("lanes", sa.Column(name, sa.Float(), nullable=False, server_default="0"))
    op.create_table(
        "budgets",
        sa.Column("registry", sa.String(), nullable=False),
        sa.Column("credential", sa.String(), nullable=False),
        sa.Column("parked_until", sa.Float(), nullable=False),
        sa.Column("parked_delay", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("registry", "credential"),
    )
    op.create_table(
        "rounds",
        sa.Column("queue", sa.String(), nullable=False),
        sa.Column("registry", sa.String(), nullable=False),
        sa.Column("requester", sa.String(), nullable=False),
        sa.Column("served", _ID, nullable=False),
        sa.PrimaryKeyConstraint("queue", "registry", "requester"),
    )


def _jobs() -> None:
    for name in ("lane", "requester", "credential", "other_credential"):
        _text("jobs", name)
    op.execute("UPDATE jobs SET lane = registry, requester = requested_by")
    op.execute(
        "UPDATE jobs SET requester = (SELECT r.requested_by FROM jobs r WHERE r.id = jobs.root)"
        " WHERE root <> id AND EXISTS (SELECT 1 FROM jobs r WHERE r.id = jobs.root)"
    )
    op.drop_index("jobs_due", "jobs")
    op.drop_index("jobs_lane", "jobs")
    due = f"{_JOB_ACTIVE} AND due AND owner IS NULL"
    columns = ["queue", "lane", sa.text("priority DESC"), "requester", "turn", "seq"]
    _partial("jobs", "jobs_due", columns, due)
    op.drop_index("jobs_parent", "jobs")
    _partial("jobs", "jobs_parent", ["parent", "state", "seq"], "parent IS NOT NULL")
    _partial("jobs", "jobs_top_state", ["state", "seq"], "parent IS NULL")
    _partial("jobs", "jobs_lane", ["registry", "priority", "requester", "turn"], _JOB_ACTIVE)


def _transfers() -> None:
    for name in ("credential", "requester"):
        _text("transfers", name)
    op.execute(
        "UPDATE transfers SET requester ="
        " coalesce((SELECT r.requested_by FROM jobs r WHERE r.id = transfers.root), '')"
    )
    op.drop_index("transfers_queue", "transfers")
    columns = ["direction", "registry", sa.text("priority DESC"), "requester", "turn", "id"]
    _partial("transfers", "transfers_queue", columns, "state = 'pending'")


def _text(table: str, name: str) -> None:
    op.add_column(table, sa.Column(name, sa.String(), nullable=False, server_default=""))


def _partial(table: str, name: str, columns: list[Any], condition: str) -> None:
    where = sa.text(condition)
    op.create_index(name, table, columns, sqlite_where=where, postgresql_where=where)
