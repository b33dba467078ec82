"""What the children of a job come to, and whose progress a transfer is.

Until now these were counted from all children, waits and transfers, each time they were asked for,
and a job's own figures were written when it ended. The figures of jobs that have not ended are
written first, for the sums of their parents are made from them.
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_STATES = ("queued", "running", "succeeded", "failed", "cancelled")
_FIGURES = (
    *("bytes_total", "bytes_spared", "bytes_moved"),
    *("blobs_total", "blobs_spared", "blobs_moved"),
)
_JOB_ACTIVE = "state IN ('queued', 'running')"
_TRANSFER_ACTIVE = "state IN ('pending', 'delayed', 'admitted', 'running')"

# Of the waits of a job that have ended: what it moved itself, what it did not have to, and blobs.
_OVER_THE_WIRE = (
    "CASE WHEN w.joined THEN 0 WHEN t.bytes_moved < t.bytes_done THEN t.bytes_moved"
    " ELSE t.bytes_done END"
)
_CAME_TO = {
    "bytes_moved": f"sum({_OVER_THE_WIRE})",
    "bytes_spared": f"sum(t.bytes_done - {_OVER_THE_WIRE})",
    "blobs_moved": "sum(CASE WHEN t.state = 'done' THEN 1 ELSE 0 END)",
}


def upgrade() -> None:
    _figures_of_active_jobs()
    _children()
    _transfers()


def _figures_of_active_jobs() -> None:
    ended = (
        "FROM waits w JOIN transfers t ON t.id = w.transfer"
        " WHERE w.job = jobs.id AND w.ended AND w.counted"
    )
    values = ", ".join(
        f"{name} = {name} + coalesce((SELECT {what} {ended}), 0)"
        for name, what in _CAME_TO.items()
    )
    op.execute(f"UPDATE jobs SET {values} WHERE {_JOB_ACTIVE} AND EXISTS (SELECT 1 {ended})")


def _children() -> None:
    op.create_table(
        "job_children",
        sa.Column("job", sa.String(), primary_key=True),
        *(sa.Column(name, sa.Integer(), nullable=False) for name in _STATES),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in _FIGURES),
    )
    counts = [f"sum(CASE WHEN state = '{name}' THEN 1 ELSE 0 END)" for name in _STATES]
    sums = [f"sum({name})" for name in _FIGURES]
    op.execute(
        f"INSERT INTO job_children (job, {', '.join((*_STATES, *_FIGURES))})"
        f" SELECT parent, {', '.join((*counts, *sums))}"
        " FROM jobs WHERE parent IS NOT NULL GROUP BY parent"
    )


def _transfers() -> None:
    op.add_column(
        "transfers",
        sa.Column("counted", sa.Boolean(), nullable=False, server_default=sa.text("false")),
    )
    op.execute(
        f"UPDATE transfers SET counted = true WHERE {_TRANSFER_ACTIVE} AND EXISTS ("
        "SELECT 1 FROM waits w JOIN jobs j ON j.id = w.job WHERE w.transfer = transfers.id"
        " AND NOT w.ended AND w.counted AND j.root = transfers.root)"
    )
