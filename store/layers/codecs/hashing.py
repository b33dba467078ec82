"""Hashing what is read, as it is read."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from transship.store.layers.codecs.formats import Readable
from transship.store.oci.digest import Digest


class HashingReader:
    """Passes a source on; *digest* and *size* are of what has been read.

    Args:
        source: Stays open.
        also: Called with each piece before the reader of this one gets it; what it raises is
            passed on.
    """

    def __init__(self, source: Readable, *, also: Callable[[bytes], object] | None = None) -> None:
        self._source, self._also = source, also
        self._hasher = hashlib.sha256()
        self.size = 0

    @property
    def digest(self) -> Digest:
        """That of what has been read so far, by sha256."""
        return Digest.from_hash(self._hasher)

    def read(self, size: int, /) -> bytes:
        """Read from the source, at most *size* bytes."""
        data = self._source.read(size)
        self.take(data)
        return data

    def take(self, data: bytes) -> None:
        """Let *data* be what comes next."""
        self._hasher.update(data)
        self.size += len(data)
        if self._also is not None:
            self._also(data)
