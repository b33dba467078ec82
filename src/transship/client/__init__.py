"""The client of a Transship server, for other programs."""

from __future__ import annotations

from transship.api.client import Client

__all__ = ["Client"]
