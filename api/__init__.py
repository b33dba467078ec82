"""The ways in: HTTP, the command line, and the engine that serves both."""
