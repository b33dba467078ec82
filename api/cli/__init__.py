"""The command line. What a command does not need, it does not import."""

from __future__ import annotations

import gc
import os
import sys

_OBJECTS_BEFORE_A_COLLECTION = 100_000


def main() -> None:
    """Run `transship`."""
    if sys.argv[1:] == ["--version"]:  # sooner than a parser of options could be there
        from transship import __version__  # noqa: PLC0415

        print(f"transship, version {__version__}")
        return
    # Modules are not garbage: to walk them all while they are imported takes a tenth of a start.
    gc.set_threshold(_OBJECTS_BEFORE_A_COLLECTION)
    try:
        from transship.api.cli.root import cli  # noqa: PLC0415

        code = cli(standalone_mode=False, prog_name="transship") or 0
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read has had enough; nobody wants to hear of it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    except KeyboardInterrupt:  # before there was a command, or once more at its end
        code = 130
    gc.freeze()  # or the interpreter looks through everything, twice, before it goes
    sys.exit(code)
