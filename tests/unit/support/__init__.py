"""Tests of what other tests stand on."""
