"""The processes: the server, the command that runs all of them, the embedded engine."""
