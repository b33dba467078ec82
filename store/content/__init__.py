"""Blobs by digest: what is visible is whole, checked and on disk."""
