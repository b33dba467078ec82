"""The database: engine, dialects, schema, migrations."""
