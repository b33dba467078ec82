"""Unit tests of `store.catalog`: what needs no second engine."""
