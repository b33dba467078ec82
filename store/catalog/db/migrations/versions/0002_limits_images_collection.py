"""Limits of registries, collection, the image service's records, workspaces, tokens, mirrors.

What has existed before gets the value that it would have had. There is no way down: restore the
backup that was taken before the upgrade.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_JSON = sa.JSON(none_as_null=True)
_ACTIVE = "state IN ('queued', 'running')"


def upgrade() -> None:
    _collection()
    _images()
    _jobs_and_workers()
    _limits_of_registries()
    _access()
    _mirrors()


def _added(table: str, name: str, type_: sa.types.TypeEngine, default: str) -> None:
    op.add_column(table, sa.Column(name, type_, nullable=False, server_default=sa.text(default)))


def _collection() -> None:
    _added("cluster", "collection", _ID, "0")
    _added("cluster", "short_of_space", sa.Boolean(), "false")
    _added("blobs", "collection", _ID, "0")
    op.create_index("blobs_used", "blobs", ["used_at"])


def _images() -> None:
    op.create_table(
        "layers",
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("diff_id", sa.String(), nullable=False),
        sa.Column("diff_size", sa.BigInteger()),
        sa.Column("verified", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("digest", "diff_id"),
    )
    op.create_index("layers_diff_id", "layers", ["diff_id"])
    _added("images", "labels", _JSON, "'{}'")
    op.create_table(
        "lineage",
        sa.Column("image_id", sa.String(), primary_key=True),
        sa.Column("parent", sa.String()),
        sa.Column("tagged_at", sa.Float()),
    )
    op.create_index("lineage_parent", "lineage", ["parent"])
    op.create_table(
        "workspaces",
        sa.Column("name", sa.String(), primary_key=True),
        sa.Column("base", sa.String()),
        sa.Column("reference", sa.String()),
        sa.Column("busy", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("updated_at", sa.Float(), nullable=False),
    )
    op.create_index("workspaces_base", "workspaces", ["base"])
    op.create_table(
        "workspace_layers",
        sa.Column("workspace", sa.String(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("workspace", "position"),
    )
    op.create_table(
        "image_events",
        sa.Column("id", _ID, primary_key=True),
        sa.Column("time", sa.Float(), nullable=False),
        sa.Column("action", sa.String(), nullable=False),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("attributes", _JSON, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("image_events_time", "image_events", ["time"])


def _jobs_and_workers() -> None:
    _added("jobs", "queue", sa.String(), "'control'")
    _added("workers", "local", sa.Integer(), "0")
    op.add_column("transfers", sa.Column("upload_session", sa.String()))
    _added("transfers", "upload_offset", sa.BigInteger(), "0")
    op.create_index("transfers_digest", "transfers", ["digest"])
    op.create_index("jobs_finished", "jobs", ["finished_at"])
    op.create_index("jobs_kind", "jobs", ["kind", "state"])
    op.drop_index("jobs_due", "jobs")
    op.drop_index("jobs_out", "jobs")
    due = sa.text(f"{_ACTIVE} AND due AND owner IS NULL")
    out = sa.text(f"{_ACTIVE} AND (owner IS NOT NULL OR rung_until > 0)")
    op.create_index(
        "jobs_due",
        "jobs",
        ["queue", sa.text("priority DESC"), "turn", "seq"],
        sqlite_where=due,
        postgresql_where=due,
    )
    op.create_index("jobs_out", "jobs", ["queue"], sqlite_where=out, postgresql_where=out)


def _limits_of_registries() -> None:
    op.create_table(
        "registries",
        sa.Column("registry", sa.String(), primary_key=True),
        sa.Column("concurrency", sa.Integer()),
        sa.Column("requests_per_second", sa.Float()),
        sa.Column("bytes_per_second", sa.BigInteger()),
        sa.Column("paused", sa.Boolean(), nullable=False),
    )


def _access() -> None:
    op.create_table(
        "tokens",
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("name", sa.String(), nullable=False, unique=True),
        sa.Column("hashed", sa.String(), nullable=False, unique=True),
        sa.Column("scopes", _JSON, nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("expires_at", sa.Float()),
        sa.Column("used_at", sa.Float()),
    )
    op.create_table(
        "named_credentials",
        sa.Column("name", sa.String(), primary_key=True),
        sa.Column("registry", sa.String(), nullable=False),
        sa.Column("sealed", sa.String(), nullable=False),
        sa.Column("fingerprint", sa.String(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
    )
    op.create_index("named_credentials_registry", "named_credentials", ["registry"])


def _mirrors() -> None:
    op.create_table(
        "mirrors",
        sa.Column("name", sa.String(), primary_key=True),
        sa.Column("spec", _JSON, nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("interval", sa.Float()),
        sa.Column("next_run", sa.Float(), nullable=False),
        sa.Column("next_run_delay", sa.Float(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("updated_at", sa.Float(), nullable=False),
    )
    op.create_table(
        "mirror_runs",
        sa.Column("job", sa.String(), primary_key=True),
        sa.Column("mirror", sa.String(), nullable=False),
        sa.Column("started_at", sa.Float(), nullable=False),
    )
    op.create_index("mirror_runs_mirror", "mirror_runs", ["mirror", "started_at"])


def downgrade() -> None:
    raise NotImplementedError("restore a backup instead")
