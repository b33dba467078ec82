"""Tests of the store, one part at a time."""
