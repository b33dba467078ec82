"""The first schema, with the rows that are always there.

There is no way down: restore the backup that was taken before the upgrade.
"""

import sqlalchemy as sa
from alembic import op

revision = '0001'
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table('blob_sources',
    sa.Column('digest', sa.String(), nullable=False),
    sa.Column('registry', sa.String(), nullable=False),
    sa.Column('repository', sa.String(), nullable=False),
    sa.Column('fingerprint', sa.String(), nullable=False),
    sa.Column('confirmed_at', sa.Float(), nullable=False),
    sa.PrimaryKeyConstraint('digest', 'registry', 'repository', 'fingerprint')
    )
    op.create_table('blobs',
    sa.Column('digest', sa.String(), nullable=False),
    sa.Column('size', sa.BigInteger(), nullable=False),
    sa.Column('created_at', sa.Float(), nullable=False),
    sa.Column('used_at', sa.Float(), nullable=False),
    sa.PrimaryKeyConstraint('digest')
    )
    op.create_table('cluster',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('lease_seconds', sa.Float(), nullable=False),
    sa.PrimaryKeyConstraint('id')
    )
    op.create_table('credentials',
    sa.Column('root', sa.String(), nullable=False),
    sa.Column('registry', sa.String(), nullable=False),
    sa.Column('sealed', sa.String(), nullable=False),
    sa.Column('fingerprint', sa.String(), nullable=False),
    sa.PrimaryKeyConstraint('root', 'registry')
    )
    op.create_table('derivations',
    sa.Column('source_digest', sa.String(), nullable=False),
    sa.Column('transform', sa.String(), nullable=False),
    sa.Column('target_digest', sa.String(), nullable=False),
    sa.PrimaryKeyConstraint('source_digest', 'transform')
    )
    op.create_table('edges',
    sa.Column('parent', sa.String(), nullable=False),
    sa.Column('child', sa.String(), nullable=False),
    sa.PrimaryKeyConstraint('parent', 'child')
    )
    with op.batch_alter_table('edges', schema=None) as batch_op:
        batch_op.create_index('edges_child', ['child'], unique=False)

    op.create_table('events',
    sa.Column('id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('job', sa.String(), nullable=False),
    sa.Column('time', sa.Float(), nullable=False),
    sa.Column('type', sa.String(), nullable=False),
    sa.Column('data', sa.JSON(none_as_null=True), nullable=False),
    sa.PrimaryKeyConstraint('id'),
    sqlite_autoincrement=True
    )
    with op.batch_alter_table('events', schema=None) as batch_op:
        batch_op.create_index('events_job', ['job', 'id'], unique=False)

    op.create_table('image_references',
    sa.Column('name', sa.String(), nullable=False),
    sa.Column('digest', sa.String(), nullable=False),
    sa.Column('media_type', sa.String(), nullable=False),
    sa.Column('updated_at', sa.Float(), nullable=False),
    sa.Column('written_seq', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.PrimaryKeyConstraint('name')
    )
    with op.batch_alter_table('image_references', schema=None) as batch_op:
        batch_op.create_index('references_digest', ['digest'], unique=False)

    op.create_table('images',
    sa.Column('digest', sa.String(), nullable=False),
    sa.Column('image_id', sa.String(), nullable=False),
    sa.Column('media_type', sa.String(), nullable=False),
    sa.Column('os', sa.String(), nullable=False),
    sa.Column('architecture', sa.String(), nullable=False),
    sa.Column('variant', sa.String(), nullable=False),
    sa.Column('created', sa.String(), nullable=False),
    sa.Column('size', sa.BigInteger(), nullable=False),
    sa.Column('layers', sa.Integer(), nullable=False),
    sa.PrimaryKeyConstraint('digest')
    )
    with op.batch_alter_table('images', schema=None) as batch_op:
        batch_op.create_index('images_image_id', ['image_id'], unique=False)

    op.create_table('jobs',
    sa.Column('seq', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('id', sa.String(), nullable=False),
    sa.Column('kind', sa.String(), nullable=False),
    sa.Column('state', sa.String(), nullable=False),
    sa.Column('priority', sa.Integer(), nullable=False),
    sa.Column('parent', sa.String(), nullable=True),
    sa.Column('child_key', sa.String(), nullable=True),
    sa.Column('root', sa.String(), nullable=False),
    sa.Column('retry_of', sa.String(), nullable=True),
    sa.Column('registry', sa.String(), nullable=False),
    sa.Column('turn', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('label', sa.String(), nullable=False),
    sa.Column('spec', sa.JSON(none_as_null=True), nullable=False),
    sa.Column('requested_by', sa.String(), nullable=False),
    sa.Column('idempotency_key', sa.String(), nullable=True),
    sa.Column('fingerprint', sa.String(), nullable=False),
    sa.Column('created_at', sa.Float(), nullable=False),
    sa.Column('started_at', sa.Float(), nullable=True),
    sa.Column('finished_at', sa.Float(), nullable=True),
    sa.Column('deadline', sa.Float(), nullable=True),
    sa.Column('plan', sa.JSON(none_as_null=True), nullable=True),
    sa.Column('result', sa.JSON(none_as_null=True), nullable=True),
    sa.Column('error', sa.JSON(none_as_null=True), nullable=True),
    sa.Column('superseded_by', sa.String(), nullable=True),
    sa.Column('stop_requested', sa.String(), nullable=True),
    sa.Column('due', sa.Boolean(), nullable=False),
    sa.Column('not_before', sa.Float(), nullable=False),
    sa.Column('not_before_delay', sa.Float(), nullable=False),
    sa.Column('rung_until', sa.Float(), nullable=False),
    sa.Column('attempts', sa.Integer(), nullable=False),
    sa.Column('owner', sa.String(), nullable=True),
    sa.Column('fence', sa.Integer(), nullable=False),
    sa.Column('beat', sa.Integer(), nullable=False),
    sa.Column('deaths', sa.Integer(), nullable=False),
    sa.Column('bytes_total', sa.BigInteger(), nullable=False),
    sa.Column('bytes_spared', sa.BigInteger(), nullable=False),
    sa.Column('bytes_moved', sa.BigInteger(), nullable=False),
    sa.Column('blobs_total', sa.Integer(), nullable=False),
    sa.Column('blobs_spared', sa.Integer(), nullable=False),
    sa.Column('blobs_moved', sa.Integer(), nullable=False),
    sa.PrimaryKeyConstraint('seq'),
    sa.UniqueConstraint('id'),
    sa.UniqueConstraint('parent', 'child_key'),
    sa.UniqueConstraint('requested_by', 'idempotency_key')
    )
    with op.batch_alter_table('jobs', schema=None) as batch_op:
        batch_op.create_index('jobs_deadline', ['deadline'], unique=False, sqlite_where=sa.text("state IN ('queued', 'running') AND deadline IS NOT NULL"), postgresql_where=sa.text("state IN ('queued', 'running') AND deadline IS NOT NULL"))
        batch_op.create_index('jobs_lane', ['registry', 'priority', 'turn'], unique=False, sqlite_where=sa.text("state IN ('queued', 'running')"), postgresql_where=sa.text("state IN ('queued', 'running')"))
        batch_op.create_index('jobs_out', ['registry'], unique=False, sqlite_where=sa.text("state IN ('queued', 'running') AND (owner IS NOT NULL OR rung_until > 0)"), postgresql_where=sa.text("state IN ('queued', 'running') AND (owner IS NOT NULL OR rung_until > 0)"))
        batch_op.create_index('jobs_owned', ['owner'], unique=False, sqlite_where=sa.text('owner IS NOT NULL'), postgresql_where=sa.text('owner IS NOT NULL'))
        batch_op.create_index('jobs_parent', ['parent', 'state'], unique=False)
        batch_op.create_index('jobs_root', ['root', 'state'], unique=False)
        batch_op.create_index('jobs_state', ['state', 'seq'], unique=False)

    op.create_table('lanes',
    sa.Column('direction', sa.String(), nullable=False),
    sa.Column('registry', sa.String(), nullable=False),
    sa.Column('parked_until', sa.Float(), nullable=False),
    sa.Column('parked_delay', sa.Float(), nullable=False),
    sa.Column('served', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.PrimaryKeyConstraint('direction', 'registry')
    )
    op.create_table('leases',
    sa.Column('holder', sa.String(), nullable=False),
    sa.Column('digest', sa.String(), nullable=False),
    sa.PrimaryKeyConstraint('holder', 'digest')
    )
    with op.batch_alter_table('leases', schema=None) as batch_op:
        batch_op.create_index('leases_digest', ['digest'], unique=False)

    op.create_table('limits',
    sa.Column('name', sa.String(), nullable=False),
    sa.Column('default_value', sa.Integer(), nullable=False),
    sa.Column('default_source', sa.String(), nullable=False),
    sa.Column('override', sa.Integer(), nullable=True),
    sa.PrimaryKeyConstraint('name')
    )
    op.create_table('targets',
    sa.Column('name', sa.String(), nullable=False),
    sa.Column('holder', sa.String(), nullable=True),
    sa.Column('written_seq', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('written_by', sa.String(), nullable=True),
    sa.PrimaryKeyConstraint('name')
    )
    op.create_table('transfers',
    sa.Column('id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('key', sa.String(), nullable=False),
    sa.Column('direction', sa.String(), nullable=False),
    sa.Column('digest', sa.String(), nullable=False),
    sa.Column('size', sa.BigInteger(), nullable=False),
    sa.Column('media_type', sa.String(), nullable=False),
    sa.Column('registry', sa.String(), nullable=False),
    sa.Column('repository', sa.String(), nullable=False),
    sa.Column('root', sa.String(), nullable=False),
    sa.Column('priority', sa.Integer(), nullable=False),
    sa.Column('turn', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('state', sa.String(), nullable=False),
    sa.Column('error', sa.JSON(none_as_null=True), nullable=True),
    sa.Column('stop_requested', sa.Boolean(), nullable=False),
    sa.Column('not_before', sa.Float(), nullable=False),
    sa.Column('not_before_delay', sa.Float(), nullable=False),
    sa.Column('rung_until', sa.Float(), nullable=False),
    sa.Column('attempts', sa.Integer(), nullable=False),
    sa.Column('tries', sa.Integer(), nullable=False),
    sa.Column('furthest', sa.BigInteger(), nullable=False),
    sa.Column('owner', sa.String(), nullable=True),
    sa.Column('served_by', sa.String(), nullable=True),
    sa.Column('fence', sa.Integer(), nullable=False),
    sa.Column('beat', sa.Integer(), nullable=False),
    sa.Column('deaths', sa.Integer(), nullable=False),
    sa.Column('furthest_at_death', sa.BigInteger(), nullable=False),
    sa.Column('bytes_done', sa.BigInteger(), nullable=False),
    sa.Column('bytes_moved', sa.BigInteger(), nullable=False),
    sa.Column('created_at', sa.Float(), nullable=False),
    sa.Column('started_at', sa.Float(), nullable=True),
    sa.Column('finished_at', sa.Float(), nullable=True),
    sa.PrimaryKeyConstraint('id')
    )
    with op.batch_alter_table('transfers', schema=None) as batch_op:
        batch_op.create_index('transfers_busy', ['direction', 'registry'], unique=False, sqlite_where=sa.text("state IN ('admitted', 'running')"), postgresql_where=sa.text("state IN ('admitted', 'running')"))
        batch_op.create_index('transfers_delayed', ['not_before'], unique=False, sqlite_where=sa.text("state = 'delayed'"), postgresql_where=sa.text("state = 'delayed'"))
        batch_op.create_index('transfers_key', ['key'], unique=True, sqlite_where=sa.text("state IN ('pending', 'delayed', 'admitted', 'running')"), postgresql_where=sa.text("state IN ('pending', 'delayed', 'admitted', 'running')"))
        batch_op.create_index('transfers_root', ['direction', 'registry', 'root', 'priority', 'turn'], unique=False, sqlite_where=sa.text("state = 'pending'"), postgresql_where=sa.text("state = 'pending'"))

    op.create_table('workers',
    sa.Column('id', sa.String(), nullable=False),
    sa.Column('host', sa.String(), nullable=False),
    sa.Column('pid', sa.Integer(), nullable=False),
    sa.Column('control', sa.Integer(), nullable=False),
    sa.Column('downloads', sa.Integer(), nullable=False),
    sa.Column('uploads', sa.Integer(), nullable=False),
    sa.Column('beat', sa.Integer(), nullable=False),
    sa.Column('started_at', sa.Float(), nullable=False),
    sa.PrimaryKeyConstraint('id')
    )
    op.create_table('waits',
    sa.Column('job', sa.String(), nullable=False),
    sa.Column('transfer', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('registry', sa.String(), nullable=False),
    sa.Column('repository', sa.String(), nullable=False),
    sa.Column('fingerprint', sa.String(), nullable=False),
    sa.Column('priority', sa.Integer(), nullable=False),
    sa.Column('joined', sa.Boolean(), nullable=False),
    sa.Column('counted', sa.Boolean(), nullable=False),
    sa.Column('eager', sa.Boolean(), nullable=False),
    sa.Column('ended', sa.Boolean(), nullable=False),
    sa.Column('error', sa.JSON(none_as_null=True), nullable=True),
    sa.ForeignKeyConstraint(['job'], ['jobs.id'], ),
    sa.ForeignKeyConstraint(['transfer'], ['transfers.id'], ),
    sa.PrimaryKeyConstraint('job', 'transfer')
    )
    with op.batch_alter_table('waits', schema=None) as batch_op:
        batch_op.create_index('waits_open', ['job'], unique=False, sqlite_where=sa.text('NOT ended'), postgresql_where=sa.text('NOT ended'))
        batch_op.create_index('waits_transfer', ['transfer', 'job'], unique=False)

    # Alembic cannot reflect indexes on expressions, so these are not found by comparison.
    op.create_index(
        "jobs_due",
        "jobs",
        [sa.text("priority DESC"), "turn", "seq"],
        sqlite_where=sa.text("state IN ('queued', 'running') AND due AND owner IS NULL"),
        postgresql_where=sa.text("state IN ('queued', 'running') AND due AND owner IS NULL"),
    )
    op.create_index(
        "transfers_queue",
        "transfers",
        ["direction", "registry", sa.text("priority DESC"), "turn", "id"],
        sqlite_where=sa.text("state = 'pending'"),
        postgresql_where=sa.text("state = 'pending'"),
    )
    op.bulk_insert(
        sa.table("cluster", sa.column("id", sa.Integer), sa.column("lease_seconds", sa.Float)),
        [{"id": 1, "lease_seconds": 20.0}],
    )
    op.bulk_insert(
        sa.table(
            "limits",
            sa.column("name", sa.String),
            sa.column("default_value", sa.Integer),
            sa.column("default_source", sa.String),
        ),
        [
            {"name": name, "default_value": value, "default_source": "default"}
            for name, value in (
                ("max_concurrent_downloads", 3),
                ("max_concurrent_uploads", 5),
                ("max_download_attempts", 5),
                ("max_upload_attempts", 5),
            )
        ],
    )


def downgrade() -> None:
    raise NotImplementedError("restore a backup instead")
