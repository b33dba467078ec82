"""Unit tests of `transship.workers.registry`."""
