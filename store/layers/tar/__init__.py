"""Tar archives, read and written."""
