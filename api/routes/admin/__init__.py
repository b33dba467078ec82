"""Routes about the server: health, limits, tokens, credentials."""
