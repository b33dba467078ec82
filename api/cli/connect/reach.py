"""What commands that ask a server have in common: how it is reached, and its objects printed."""

from __future__ import annotations

import json
from typing import Any


def connect() -> Any:
    """A connection to the server that the settings lead to, as a context manager."""
    from transship.api.cli.connect.connection import Connection  # noqa: PLC0415 -- --help needs none of it
    from transship.api.cli.connect.target import Target  # noqa: PLC0415

    return Connection(Target.load())


def print_json(value: Any) -> None:
    """Print JSON, as the API returns it."""
    print(json.dumps(value, indent=2))
