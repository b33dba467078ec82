"""Tokens and credentials: who may do what, and the owner of the data directory."""
