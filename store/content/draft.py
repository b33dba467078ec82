"""A blob on its way into a directory whose digest is not known yet: hashed as it is written."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from types import TracebackType
from typing import Self

from transship.store.content.files import sync_directory, translated
from transship.store.oci.digest import Digest


class LocalDraft:
    """See `transship.store.content.ports.Draft`. A byte is hashed once and written once."""

    def __init__(self, staged: Path, blobs: Path) -> None:
        """Stage in the new file *staged*, for a name in the directory *blobs*."""
        self.size = 0
        self._staged = staged
        self._blobs = blobs
        self._hasher = hashlib.sha256()
        with translated("cannot be written", staged.name):
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            self._fd = os.open(staged, flags, 0o600)
        self._open = True

    @property
    def digest(self) -> Digest:
        """The sha256 of what was written so far."""
        return Digest.from_hash(self._hasher)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append *data*, hashing it on the way."""
        self._hasher.update(data)
        view = memoryview(data)
        with translated("cannot be written", self._staged.name):
            while view:
                written = os.write(self._fd, view)
                self.size += written
                view = view[written:]

    def commit(self) -> Digest:
        """Make the blob visible under the digest of what was written, durably."""
        digest = self.digest
        final = self._blobs / digest.hex
        with translated("cannot be written", str(digest)):
            os.fchmod(self._fd, 0o444)
            os.fsync(self._fd)
            self._staged.replace(final)
            sync_directory(final.parent)
        self._close()
        return digest

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._open:
            self._close()
            self._staged.unlink(missing_ok=True)

    def _close(self) -> None:
        self._open = False
        os.close(self._fd)
