"""Unit tests of `transship.workers.transfers`."""
