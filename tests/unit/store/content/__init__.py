"""Tests of what is particular to the content store on disk."""
