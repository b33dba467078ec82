"""How the demo says that something does not hold."""

from __future__ import annotations


class DemoError(Exception):
    """Something that the demo promises does not hold; its text is one sentence."""
