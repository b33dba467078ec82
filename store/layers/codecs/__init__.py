"""Compression, read and written."""
