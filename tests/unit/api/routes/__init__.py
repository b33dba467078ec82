"""HTTP, by a real client against a real server."""
