"""The field's words for columns: dispatch, crash, skip, checkpoint."""

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

_FIGURES = {"bytes_spared": "bytes_skipped", "blobs_spared": "blobs_skipped"}
_WORK = {"rung_until": "dispatched_until", "deaths": "crashes"}
RENAMED = {
    "jobs": {**_WORK, **_FIGURES, "plan": "checkpoint"},
    "transfers": _WORK,
    "job_children": _FIGURES,
}


def upgrade() -> None:
    for table, columns in RENAMED.items():
        for old, new in columns.items():
            op.execute(f"ALTER TABLE {table} RENAME COLUMN {old} TO {new}")
