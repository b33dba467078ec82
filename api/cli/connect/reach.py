"""How commands reach the server that they ask."""

from __future__ import annotations

from typing import Any


def connect() -> Any:
    """A connection to the server that the settings lead to, as a context manager."""
    from transship.api.cli.connect.connection import Connection  # noqa: PLC0415 -- --help needs none of it
    from transship.api.cli.connect.target import Target  # noqa: PLC0415

    return Connection(Target.load())
