"""Transship: container images from one place to another, as durable background jobs."""

__version__ = "0.1.0"
