"""Unit tests of `workers.registry`."""
