"""The command line. What a command does not need, it does not import."""

from __future__ import annotations

import sys


def main() -> None:
    """Run `transship`."""
    from api.cli.root import cli  # noqa: PLC0415

    sys.exit(cli(standalone_mode=False) or 0)
