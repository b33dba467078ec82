"""Images as they are listed, found and shown."""
