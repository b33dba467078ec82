"""How Python runs in a process that serves for long."""

from __future__ import annotations

import gc
import sys
from typing import Final

# Threads that read the database, hash or copy give the interpreter up all the time. One that
# decides what comes next, or a loop that serves all, must not wait Python's 5 ms for each of them.
SWITCH_SECONDS: Final = 0.0005

_DEFAULT_THRESHOLD: Final = (700, 10, 10)  # CPython's own


def settle() -> None:
    """Call once, when all is imported and open: keep the pauses of all threads short.

    Modules live for as long as the process. Unless they are left out, each full collection of
    garbage walks all of them, some 150,000 objects, and stops every thread for 0.1 to 0.2 s.
    """
    sys.setswitchinterval(SWITCH_SECONDS)
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_DEFAULT_THRESHOLD)  # a command starts with less of it
