"""A blob on its way into a directory: stage, sync, check, rename, sync the directory."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from transship.store.content.files import failure, sync_directory, translated
from transship.store.content.ports import Ingest
from transship.store.errors import DigestMismatchError, SizeMismatchError
from transship.store.oci.digest import Digest

_COPY_BYTES = 1024 * 1024
_FICLONE = 0x40049409  # linux/fs.h; elsewhere an unknown request, which is refused


class LocalIngest:
    """See `transship.store.content.ports.Ingest`. A byte is hashed once and written once."""

    def __init__(self, digest: Digest, staged: Path, final: Path) -> None:
        """Stage in the file *staged*, which no one else writes, for the name *final*."""
        self.digest = digest
        self.offset = 0
        self.resumed = 0
        self._staged = staged
        self._final = final
        self._hasher = digest.hasher()
        try:
            # The same fence may have left a file, read-only by now: begin with one of our own.
            staged.unlink(missing_ok=True)
            self._fd = os.open(staged, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise failure("cannot be written", str(digest), error) from error
        self._open = True

    def take_over(self, earlier: Path) -> None:
        """Copy what *earlier* holds, hashing it: its owner may be asleep and write on."""
        try:
            source = os.open(earlier, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            return
        try:
            if self._clone(source):
                while chunk := os.read(self._fd, _COPY_BYTES):
                    self._hasher.update(chunk)
                    self.offset += len(chunk)
            else:
                while chunk := os.read(source, _COPY_BYTES):
                    self.write(chunk)
        finally:
            os.close(source)
        self.resumed = self.offset

    def _clone(self, source: int) -> bool:
        """Share the bytes of *source* until either file is written to, where the disk can."""
        with suppress(OSError):
            fcntl.ioctl(self._fd, _FICLONE, source)
            return True
        return False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append *data*, hashing it on the way."""
        self._hasher.update(data)
        view = memoryview(data)
        try:
            while view:
                written = os.write(self._fd, view)
                self.offset += written
                view = view[written:]
        except OSError as error:
            raise failure("cannot be written", str(self.digest), error) from error

    def rewind(self) -> None:
        """Drop what is held and begin at the start."""
        os.ftruncate(self._fd, 0)
        os.lseek(self._fd, 0, os.SEEK_SET)
        self._hasher = self.digest.hasher()
        self.offset = self.resumed = 0

    def seal(self, size: int) -> None:
        """End the blob, and make its bytes durable."""
        if self.offset != size:
            actual = self.offset
            self.discard()
            raise SizeMismatchError(subject=str(self.digest), expected=size, actual=actual)
        actual_digest = Digest.from_hash(self._hasher)
        if actual_digest != self.digest:
            self.discard()
            raise DigestMismatchError(expected=str(self.digest), actual=str(actual_digest))
        try:
            os.fchmod(self._fd, 0o444)
            os.fsync(self._fd)
        except OSError as error:
            raise failure("cannot be written", str(self.digest), error) from error
        self._close()

    def commit(self, *, size: int, guard: Callable[[], None]) -> None:
        """Seal the blob and make it visible under its digest, durably."""
        self.seal(size)
        guard()
        publish([self])

    def name(self) -> Path:
        """Let the sealed blob be seen; returns the directory that is to be synced."""
        try:
            self._final.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            try:
                self._staged.replace(self._final)
            except FileNotFoundError:
                # Whoever took the partial over has removed it, and may have brought the blob in.
                if self._final.is_symlink() or not self._final.is_file():
                    raise
        except OSError as error:
            raise failure("cannot be written", str(self.digest), error) from error
        return self._final.parent

    def discard(self) -> None:
        """Drop the partial."""
        self._close()
        self._staged.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._open:
            empty = self.offset == 0
            self._close()
            if empty:
                self._staged.unlink(missing_ok=True)

    def _close(self) -> None:
        if self._open:
            self._open = False
            os.close(self._fd)
            self._fd = -1  # the number may name another file by now


def publish(sealed: Iterable[Ingest]) -> None:
    """Let sealed blobs be seen under their digests, durably: each directory is synced once."""
    named = [(ingest.name(), str(ingest.digest)) for ingest in sealed]
    for directory, digest in dict(named).items():
        with translated("cannot be written", digest):
            sync_directory(directory)
