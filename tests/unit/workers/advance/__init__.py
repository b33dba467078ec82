"""Unit tests of `workers.advance`."""
