"""Workspaces: writable layers over images."""
