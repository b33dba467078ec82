"""Unit tests of `workers.transfers`."""
