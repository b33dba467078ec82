"""Transship: container images from one place to another, as durable background jobs."""
