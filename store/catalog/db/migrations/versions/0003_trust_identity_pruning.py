"""Where bytes came from, which home and key a cluster has, rejected messages, and indexes.

What was seen before says where a blob may be fetched again, and proves nothing about its bytes: a
registry's word and its bytes were not told apart. With TRANSSHIP_TRUST=separate a blob that was
held before is therefore read once more from where a job wants it.
"""

import time
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_JOB_ACTIVE = "state IN ('queued', 'running')"
_TRANSFER_ACTIVE = "state IN ('pending', 'delayed', 'admitted', 'running')"


def upgrade() -> None:
    op.add_column("cluster", sa.Column("home", sa.String()))
    op.add_column("cluster", sa.Column("key_fingerprint", sa.String()))
    _origins()
    _waits()
    _transfers()
    _jobs()
    _events()
    _targets()
    _rejected()


def _origins() -> None:
    op.create_table(
        "blob_origins",
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("registry", sa.String(), nullable=False),
        sa.Column("repository", sa.String(), nullable=False),
        sa.Column("proven", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("digest", "registry", "repository"),
    )
    op.execute(
        "INSERT INTO blob_origins (digest, registry, repository, proven)"
        " SELECT DISTINCT s.digest, s.registry, s.repository, false"
        " FROM blob_sources s JOIN blobs b ON b.digest = s.digest"
    )
    op.create_index("blob_sources_confirmed", "blob_sources", ["confirmed_at"])


def _waits() -> None:
    op.add_column("waits", sa.Column("seq", _ID, nullable=False, server_default="0"))
    op.execute(
        "UPDATE waits SET seq = (SELECT jobs.seq FROM jobs WHERE jobs.id = waits.job)"
        " WHERE NOT ended"
    )
    columns = ["transfer", "registry", "repository", "fingerprint", "priority", "seq", "job"]
    _partial("waits", "waits_sources", columns, "NOT ended")


def _transfers() -> None:
    op.add_column(
        "transfers",
        sa.Column("elsewhere", sa.Boolean(), nullable=False, server_default=sa.text("false")),
    )
    op.add_column(
        "transfers",
        sa.Column("telling", sa.Boolean(), nullable=False, server_default=sa.text("false")),
    )
    op.execute(
        "UPDATE transfers SET elsewhere = true WHERE direction = 'download'"
        f" AND {_TRANSFER_ACTIVE} AND EXISTS (SELECT 1 FROM waits WHERE NOT waits.ended"
        " AND waits.transfer = transfers.id AND waits.registry <> transfers.registry)"
    )
    op.drop_index("transfers_digest", "transfers")
    for name, columns, condition in (
        ("transfers_digest", ["digest"], _TRANSFER_ACTIVE),
        ("transfers_fence", ["digest", "fence"], "direction = 'download'"),
        ("transfers_telling", ["id"], "telling"),
        ("transfers_elsewhere", ["registry"], "elsewhere AND state IN ('pending', 'delayed')"),
    ):
        _partial("transfers", name, columns, condition)
    op.execute(
        f"UPDATE transfers SET key = key || ' ' || CAST(size AS VARCHAR) WHERE {_TRANSFER_ACTIVE}"
    )


def _jobs() -> None:
    op.execute("UPDATE jobs SET not_before = 0 WHERE finished_at IS NOT NULL AND not_before > 0")
    # A job that is to run later is not due until then.
    op.execute(
        "UPDATE jobs SET due = false"
        f" WHERE {_JOB_ACTIVE} AND due AND owner IS NULL AND not_before > 0"
    )
    op.drop_index("jobs_due", "jobs")
    op.drop_index("jobs_root", "jobs")
    op.drop_index("jobs_deadline", "jobs")
    op.drop_index("jobs_parent", "jobs")
    op.drop_index("jobs_finished", "jobs")
    op.create_index("jobs_children", "jobs", ["parent", "seq"])
    due = f"{_JOB_ACTIVE} AND due AND owner IS NULL"
    for name, columns, condition in (
        ("jobs_top", ["seq"], "parent IS NULL"),
        (
            "jobs_top_finished",
            [sa.text("coalesce(finished_at, 0)")],
            "coalesce(parent, '') = ''",
        ),
        ("jobs_children_active", ["parent"], _JOB_ACTIVE),
        ("jobs_parent", ["parent", "state"], "parent IS NOT NULL"),
        ("jobs_finished", ["finished_at"], "finished_at IS NOT NULL"),
        ("jobs_due", ["queue", "registry", sa.text("priority DESC"), "turn", "seq"], due),
        ("jobs_stopping", ["queue", "seq"], f"{due} AND stop_requested IS NOT NULL"),
        ("jobs_delayed", ["not_before"], "not_before > 0 AND NOT due"),
        ("jobs_root", ["root", "registry", "priority", "turn"], _JOB_ACTIVE),
        (
            "jobs_deadline",
            ["deadline"],
            "coalesce(state, '') IN ('queued', 'running')"
            " AND deadline IS NOT NULL AND stop_requested IS NULL",
        ),
    ):
        _partial("jobs", name, columns, condition)


def _events() -> None:
    op.add_column("events", sa.Column("parent", sa.String()))
    op.execute("UPDATE events SET parent = (SELECT jobs.parent FROM jobs WHERE jobs.id = events.job)")
    _partial("events", "events_parent", ["parent", "id"], "parent IS NOT NULL")
    _partial("leases", "leases_exports", ["holder"], "substr(holder, 1, 7) = 'export:'")


def _rejected() -> None:
    op.create_table(
        "rejected_messages",
        sa.Column("id", _ID, primary_key=True),
        sa.Column("time", sa.Float(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("excerpt", sa.String(), nullable=False),
        sqlite_autoincrement=True,
    )


def _partial(table: str, name: str, columns: list[Any], condition: str) -> None:
    where = sa.text(condition)
    op.create_index(name, table, columns, sqlite_where=where, postgresql_where=where)


def _targets() -> None:
    for name, column, condition in (
        ("targets_holder", "holder", "holder IS NOT NULL"),
        ("targets_written", "written_seq", "holder IS NULL"),
    ):
        _partial("targets", name, [column], condition)
    op.add_column("derivations", sa.Column("used_at", sa.Float(), nullable=False, server_default="0"))
    op.execute(sa.text("UPDATE derivations SET used_at = :now").bindparams(now=time.time()))
    op.create_index("derivations_used", "derivations", ["used_at"])
