"""Whole stories against real Redis, real registries and real processes."""
