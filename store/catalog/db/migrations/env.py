"""Runs migrations on the connection that `Catalog.migrate` hands over."""

from alembic import context

from transship.store.catalog.db.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,  # SQLite cannot alter tables in place
)
context.run_migrations()
