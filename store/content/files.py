"""What the stages of a file share: names that last, and errors in our terms."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from transship.store.errors import DiskFullError, StoreError


def sync_directory(directory: Path) -> None:
    """Make the names in *directory* durable."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def translated(what: str, subject: str) -> Iterator[None]:
    """Say in our terms what the file system says in its own."""
    try:
        yield
    except OSError as error:
        raise failure(what, subject, error) from error


def failure(what: str, subject: str, error: OSError) -> StoreError:
    """Our error for what the file system refused."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFullError("no space is left in the store", subject=subject)
    return StoreError(f"{what}: {error.strerror}", subject=subject)
