"""Flows of the registry client with real servers."""
