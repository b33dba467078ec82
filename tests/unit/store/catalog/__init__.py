"""Unit tests of `transship.store.catalog`: what needs no second engine."""
