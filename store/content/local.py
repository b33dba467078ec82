"""The content store on a POSIX file system, laid out as an OCI image layout.

    oci-layout
    blobs/<algorithm>/<hex>              whole and checked; never written again
    ingests/<algorithm>-<hex>.<fence>.<origin>
                                         on their way in; the origin is the beginning of a hash
    ingests/.draft.<holder>.<random>     on their way in, their digest unknown
    trash/<algorithm>-<hex>              swept; gone after a while
    quarantine/<algorithm>-<hex>         found to be something else than their digest says

Paths are made from digests only, and files are opened without following links.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import stat
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from transship.store.content.draft import LocalDraft
from transship.store.content.files import failure, sync_directory, translated
from transship.store.content.ingest import LocalIngest, publish
from transship.store.content.ports import Ingest, Partial, Trashed
from transship.store.errors import (
    BlobMissingError,
    ContentError,
    DigestMismatchError,
    HomeUnusableError,
    InvalidDigestError,
    SizeMismatchError,
)
from transship.store.oci.digest import Digest

_INGEST = re.compile(r"(sha256|sha512)-([0-9a-f]+)\.(\d+)(?:\.([0-9a-f]+))?")
_ORIGIN_DIGITS = 16
_FLAT = re.compile(r"(sha256|sha512)-([0-9a-f]+)")
_HOLDER = re.compile(r"[A-Za-z0-9-]{1,64}")
_READ_BYTES = 1024 * 1024
# Without O_NONBLOCK, opening a pipe that someone put there would never return.
_READ_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class LocalStore:
    """Blobs in the directory *root*, which several processes, and hosts, may share."""

    def __init__(self, root: Path) -> None:
        """Open the store, and make it where it is new.

        Raises:
            HomeUnusableError: the directory cannot be made or written.
        """
        self._root = root
        self._ingests = root / "ingests"
        self._trash = root / "trash"
        try:
            blobs = root / "blobs"
            for directory in (root, self._ingests, self._trash, blobs, blobs / "sha256"):
                # Its parents would get the mode of the umask.
                directory.mkdir(mode=0o700, parents=directory == root, exist_ok=True)
                if not os.access(directory, os.W_OK | os.X_OK):
                    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), directory)
            marker = root / "oci-layout"
            if not marker.exists():
                draft = self._ingests / f".oci-layout.{os.getpid()}.{os.urandom(4).hex()}"
                draft.write_text(json.dumps({"imageLayoutVersion": "1.0.0"}))
                draft.replace(marker)
        except OSError as error:
            raise HomeUnusableError(
                f"the store cannot be used: {error.strerror}",
                subject=str(root),
                hint="set TRANSSHIP_HOME to a directory that can be written",
            ) from error

    def size(self, digest: Digest) -> int | None:
        """How long the blob is; None where it is absent."""
        try:
            found = os.lstat(self._blob(digest))
        except FileNotFoundError:
            return None
        return found.st_size if stat.S_ISREG(found.st_mode) else None

    def open(self, digest: Digest) -> BinaryIO:
        """Open a blob for reading; the caller closes."""
        return self._open(self._blob(digest), digest)

    def read(self, digest: Digest, *, max_bytes: int) -> bytes:
        """A small blob in whole, hashed again."""
        with self.open(digest) as file:
            raw = file.read(max_bytes + 1) or b""
            while len(raw) <= max_bytes and (more := file.read(max_bytes + 1 - len(raw))):
                raw += more
        if len(raw) > max_bytes:
            length = self.size(digest) or len(raw)
            raise SizeMismatchError(subject=str(digest), expected=max_bytes, actual=length)
        actual = Digest.of(raw, digest.algorithm)
        if actual != digest:
            raise DigestMismatchError(expected=str(digest), actual=str(actual))
        return raw

    def put(self, raw: bytes) -> Digest:
        """Store small content under its sha256."""
        digest = Digest.of(raw)
        if self._holds(digest, raw):
            return digest
        # No fence is needed: whoever puts this content writes the same bytes.
        draft = self._ingests / f".put-{digest.hex}.{os.getpid()}.{os.urandom(4).hex()}"
        with translated("cannot be written", str(digest)):
            try:
                with draft.open("xb") as file:
                    file.write(raw)
                    file.flush()
                    os.fsync(file.fileno())
                draft.chmod(0o444)
                draft.replace(self._blob(digest))
            except BaseException:
                draft.unlink(missing_ok=True)
                raise
            sync_directory(self._blob(digest).parent)
        return digest

    def draft(self, holder: str) -> LocalDraft:
        """Begin to bring in a blob whose digest will be known at its end."""
        if _HOLDER.fullmatch(holder) is None:
            raise ValueError(f"no holder of a draft: {holder!r}")
        name = f".draft.{holder}.{os.urandom(8).hex()}"
        return LocalDraft(self._ingests / name, self._root / "blobs" / "sha256")

    def discard_drafts(self, holder: str) -> int:
        """Drop the drafts that *holder* left behind."""
        return self._discard_drafts(f".draft.{holder}.", before=None)

    def discard_old_drafts(self, before: float) -> int:
        """Drop the drafts that nobody has written to since *before*."""
        return self._discard_drafts(".", before=before)

    def ingest(self, digest: Digest, *, fence: int, origin: str = "") -> LocalIngest:
        """Begin, or go on with, bringing a blob in."""
        origin = _hashed(origin)
        earlier = [
            partial
            for partial in self._partials_of(digest)
            if partial.fence < fence and partial.origin == origin
        ]
        longest = max(earlier, key=lambda partial: partial.size, default=None)
        staged = self._ingests / _ingest_name(digest, fence, origin)
        ingest = LocalIngest(digest, staged, self._blob(digest))
        with translated("cannot be written", str(digest)):
            if longest is not None and longest.size > 0:
                try:
                    ingest.take_over(self._ingests / _ingest_name(digest, longest.fence, origin))
                except BaseException:  # the copy fills the disk, say; the original stays
                    ingest.discard()
                    raise
            for partial in earlier:
                self._unlink(partial)
        return ingest

    def publish(self, sealed: Collection[Ingest]) -> None:
        """Make sealed blobs visible."""
        publish(sealed)

    def remove(self, digest: Digest) -> bool:
        """Move a blob to the trash."""
        with translated("cannot be moved to the trash", str(digest)):
            try:
                self._blob(digest).replace(self._trash / _flat(digest))
            except FileNotFoundError:
                return False
        return True

    def restore(self, digest: Digest) -> bool:
        """Take a blob back from the trash, if its bytes are still right."""
        trashed = self._trash / _flat(digest)
        hasher = digest.hasher()
        with translated("cannot be taken back from the trash", str(digest)):
            try:
                with self._open(trashed, digest) as file:
                    while chunk := file.read(_READ_BYTES):
                        hasher.update(chunk)
                if Digest.from_hash(hasher) != digest:
                    return False
                self._blob(digest).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                trashed.replace(self._blob(digest))
            except (BlobMissingError, FileNotFoundError):
                return False
            sync_directory(self._blob(digest).parent)
        return True

    def trashed(self) -> Iterator[Trashed]:
        """Every blob in the trash."""
        with os.scandir(self._trash) as entries:
            for entry in entries:
                if (match := _FLAT.fullmatch(entry.name)) is None:
                    continue
                with suppress(FileNotFoundError, InvalidDigestError):
                    found = entry.stat(follow_symlinks=False)
                    digest = Digest.parse(f"{match[1]}:{match[2]}")
                    yield Trashed(digest, found.st_size, found.st_ctime)

    def erase(self, digest: Digest) -> None:
        """Drop a blob that is in the trash."""
        with translated("cannot be erased", str(digest)):
            (self._trash / _flat(digest)).unlink(missing_ok=True)

    def quarantine(self, digest: Digest) -> bool:
        """Put a blob aside whose bytes are not what its digest says."""
        aside = self._root / "quarantine"
        with translated("cannot be put aside", str(digest)):
            aside.mkdir(mode=0o700, exist_ok=True)
            try:
                self._blob(digest).replace(aside / _flat(digest))
            except FileNotFoundError:
                return False
        return True

    def discard_quarantined(self, before: float) -> int:
        """Drop for good what was put aside *before*."""
        count = 0
        with suppress(FileNotFoundError), os.scandir(self._root / "quarantine") as entries:
            for entry in entries:
                with suppress(FileNotFoundError):
                    if entry.stat(follow_symlinks=False).st_ctime < before:
                        Path(entry.path).unlink()
                        count += 1
        return count

    def discard_partials(self, digest: Digest) -> None:
        """Drop every partial of a blob."""
        for partial in self._partials_of(digest):
            self._unlink(partial)

    def partials(self) -> Iterator[Partial]:
        """Every partial there is."""
        with os.scandir(self._ingests) as entries:
            for entry in entries:
                if (match := _INGEST.fullmatch(entry.name)) is None:
                    continue
                with suppress(FileNotFoundError, InvalidDigestError):
                    found = entry.stat(follow_symlinks=False)
                    digest = Digest.parse(f"{match[1]}:{match[2]}")
                    origin = match[4] or ""
                    yield Partial(digest, int(match[3]), found.st_size, found.st_mtime, origin)

    def digests(self) -> Iterator[Digest]:
        """Every blob there is."""
        for directory in (self._root / "blobs").iterdir():
            for path in directory.iterdir() if directory.is_dir() else ():
                with suppress(InvalidDigestError):
                    yield Digest.parse(f"{directory.name}:{path.name}")

    def modified_at(self, digest: Digest) -> float | None:
        """When the blob's file was written, in seconds since the epoch; None where it is absent."""
        try:
            return os.lstat(self._blob(digest)).st_mtime
        except FileNotFoundError:
            return None

    def free_bytes(self) -> int:
        """How much more the disk would take."""
        return shutil.disk_usage(self._root).free

    def _open(self, path: Path, digest: Digest) -> BinaryIO:
        try:
            descriptor = os.open(path, _READ_FLAGS)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ELOOP):
                raise BlobMissingError("the store does not hold it", subject=str(digest)) from None
            raise failure("cannot be read", str(digest), error) from error
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise BlobMissingError("the store does not hold it", subject=str(digest))
        return os.fdopen(descriptor, "rb", buffering=0)

    def _holds(self, digest: Digest, raw: bytes) -> bool:
        """Whether the blob is there and whole; a spoiled one is worth writing again."""
        try:
            return self.read(digest, max_bytes=len(raw)) == raw
        except (BlobMissingError, ContentError):
            return False

    def _blob(self, digest: Digest) -> Path:
        return self._root / "blobs" / digest.algorithm / digest.hex

    def _discard_drafts(self, prefix: str, *, before: float | None) -> int:
        count = 0
        with os.scandir(self._ingests) as entries:
            for entry in entries:
                if not entry.name.startswith(prefix):
                    continue
                with suppress(FileNotFoundError):
                    if before is None or entry.stat(follow_symlinks=False).st_mtime < before:
                        Path(entry.path).unlink()
                        count += 1
        return count

    def _partials_of(self, digest: Digest) -> list[Partial]:
        prefix = f"{_flat(digest)}."
        found = []
        with os.scandir(self._ingests) as entries:
            for entry in entries:
                if not entry.name.startswith(prefix) or not (
                    match := _INGEST.fullmatch(entry.name)
                ):
                    continue
                with suppress(FileNotFoundError):
                    status = entry.stat(follow_symlinks=False)
                    fence, origin = int(match[3]), match[4] or ""
                    found.append(Partial(digest, fence, status.st_size, status.st_mtime, origin))
        return found

    def _unlink(self, partial: Partial) -> None:
        name = _ingest_name(partial.digest, partial.fence, partial.origin)
        (self._ingests / name).unlink(missing_ok=True)


def _flat(digest: Digest) -> str:
    return f"{digest.algorithm}-{digest.hex}"


def _ingest_name(digest: Digest, fence: int, origin: str) -> str:
    return f"{_flat(digest)}.{fence}" + (f".{origin}" if origin else "")


def _hashed(origin: str) -> str:
    """An origin as it stands in the name of a file, where it tells nothing about itself."""
    return hashlib.sha256(origin.encode()).hexdigest()[:_ORIGIN_DIGITS] if origin else ""
