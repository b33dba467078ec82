"""What is held: image values, the content store, and the catalog. No network, no queue."""
