"""Tests of single modules, without a network; they mirror the sources."""
