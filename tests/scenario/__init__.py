"""Whole flows with real servers and processes."""
