"""Names, images and workspaces of tenants; jobs that are asked for by tokens' ids.

What is held belongs to the house, since an older program let everybody use it: what a token has
made, it has to make or to pull again.
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    _made_anew(
        "image_references",
        ["references_digest"],
        ["name", "digest", "media_type", "updated_at", "written_seq"],
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("media_type", sa.String(), nullable=False),
        sa.Column("updated_at", sa.Float(), nullable=False),
        sa.Column("written_seq", _ID, nullable=False),
        sa.PrimaryKeyConstraint("tenant", "name"),
    )
    op.create_index("references_name", "image_references", ["name"])
    op.create_index("references_digest", "image_references", ["digest"])
    _made_anew(
        "lineage",
        ["lineage_parent"],
        ["image_id", "parent", "tagged_at"],
        sa.Column("image_id", sa.String(), nullable=False),
        sa.Column("parent", sa.String()),
        sa.Column("tagged_at", sa.Float()),
        sa.PrimaryKeyConstraint("tenant", "image_id"),
    )
    op.create_index("lineage_image", "lineage", ["image_id"])
    op.create_index("lineage_parent", "lineage", ["parent"])
    _made_anew(
        "workspaces",
        ["workspaces_base"],
        ["name", "base", "reference", "busy", "created_at", "updated_at"],
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("base", sa.String()),
        sa.Column("reference", sa.String()),
        sa.Column("busy", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("updated_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "name"),
    )
    op.create_index("workspaces_name", "workspaces", ["name"])
    op.create_index("workspaces_base", "workspaces", ["base"])
    _made_anew(
        "workspace_layers",
        [],
        ["workspace", "position", "digest"],
        sa.Column("workspace", sa.String(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "workspace", "position"),
    )
    for table in ("jobs", "image_events"):
        op.add_column(table, sa.Column("tenant", sa.String(), nullable=False, server_default=""))
    op.add_column(
        "mirror_runs", sa.Column("policy", sa.String(), nullable=False, server_default="")
    )
    _holdings()
    _requesters()


def _made_anew(
    table: str, indexes: list[str], kept: list[str], *columns: sa.schema.SchemaItem
) -> None:
    """Give *table* a tenant, which is part of its key: SQLite changes no key in place."""
    for name in indexes:
        op.drop_index(name, table)
    before = f"{table}_before"
    op.rename_table(table, before)
    if op.get_bind().dialect.name == "postgresql":  # the name of its key stays behind
        op.execute(f"ALTER TABLE {before} DROP CONSTRAINT IF EXISTS {table}_pkey")
    op.create_table(table, sa.Column("tenant", sa.String(), nullable=False), *columns)
    names = ", ".join(kept)
    op.execute(f"INSERT INTO {table} (tenant, {names}) SELECT '', {names} FROM {before}")  # noqa: S608 -- of constants
    op.drop_table(before)


def _holdings() -> None:
    op.create_table(
        "holdings",
        sa.Column("tenant", sa.String(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "digest"),
    )
    op.create_index("holdings_digest", "holdings", ["digest"])
    op.execute(
        "INSERT INTO holdings (tenant, digest)"
        " SELECT '', digest FROM image_references"
        " UNION SELECT '', digest FROM images"
    )


def _requesters() -> None:
    for column in ("requested_by", "requester"):
        op.execute(
            f"UPDATE jobs SET {column} ="  # noqa: S608 -- of constants
            f" (SELECT 'token:' || t.id FROM tokens t WHERE 'token:' || t.name = jobs.{column})"
            f" WHERE EXISTS (SELECT 1 FROM tokens t WHERE 'token:' || t.name = jobs.{column})"
        )
    op.execute(
        "UPDATE transfers SET requester ="
        " (SELECT 'token:' || t.id FROM tokens t WHERE 'token:' || t.name = transfers.requester)"
        " WHERE EXISTS"
        " (SELECT 1 FROM tokens t WHERE 'token:' || t.name = transfers.requester)"
    )
    where = sa.text("parent IS NULL")
    op.create_index(
        "jobs_top_requester",
        "jobs",
        ["requester", "seq"],
        sqlite_where=where,
        postgresql_where=where,
    )
