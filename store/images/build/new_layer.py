"""A layer that is written here: hashed as it is and as it is stored, in one pass."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from transship.store.catalog.content.layers import Pair
from transship.store.content.ports import ContentStore
from transship.store.layers.codecs.formats import Compression, open_writer
from transship.store.oci.digest import Digest


@dataclass(frozen=True, slots=True)
class MadeLayer:
    """A layer in the store: its blob, and the stream that this holds."""

    digest: Digest
    size: int
    diff_id: Digest
    diff_size: int

    @property
    def pair(self) -> Pair:
        """What was computed of it."""
        return Pair(str(self.digest), str(self.diff_id), self.diff_size)


class NewLayer:
    """A layer on its way into the store; a context manager.

    Leaving it without a commit drops what was written.
    """

    def __init__(
        self, content: ContentStore, holder: str, compression: Compression = Compression.GZIP
    ) -> None:
        """Write a draft of *holder*."""
        self._draft = content.draft(holder)
        self._compressor = open_writer(compression, self._draft.write)
        self._hash = hashlib.sha256()
        self._size = 0

    def write(self, data: bytes) -> None:
        """Go on with the tar.

        Raises:
            DiskFullError: no space is left.
        """
        self._hash.update(data)
        self._size += len(data)
        self._compressor.write(data)

    def commit(self) -> MadeLayer:
        """Store it. The caller leases it, and writes its row."""
        self._compressor.finish()
        size = self._draft.size
        digest = self._draft.commit()
        return MadeLayer(digest, size, Digest.from_hash(self._hash), self._size)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._draft.__exit__(kind, error, trace)
