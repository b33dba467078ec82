"""Unit tests of `transship.workers.handlers`."""
