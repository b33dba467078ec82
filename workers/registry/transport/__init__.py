"""Connections to registries: which addresses, which proxies, which errors."""
