"""Writing an archive: planned in whole before the first byte, then sent as it is read.

The same images give the same bytes: files are sorted by name, owners and times are zero. Only
compression depends on more, the versions of isal and libzstd.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from transship.store.archives.plan import (
    ArchiveFormat,
    Blob,
    Plan,
    PlannedFile,
    SavedImage,
    lay_out,
)
from transship.store.content.ports import ContentStore
from transship.store.errors import DigestMismatchError, Side, SizeMismatchError
from transship.store.layers.codecs.formats import Compression, open_reader, open_writer
from transship.store.layers.tar.reader import Entry, Kind
from transship.store.layers.tar.writer import TarWriter
from transship.store.oci.digest import Digest
from transship.store.oci.platform import Platform

_READ_BYTES: Final = 1024 * 1024
_BLOB_MODE: Final = 0o444
_DOCUMENT_MODE: Final = 0o644
_DIRECTORY_MODE: Final = 0o755


def write_archive(
    images: Sequence[SavedImage],
    content: ContentStore,
    write: Callable[[bytes], object],
    *,
    format: ArchiveFormat = ArchiveFormat.DOCKER,  # noqa: A002 -- the name users know
    compression: Compression = Compression.NONE,
    platform: Platform | None = None,
    held: Callable[[Digest], bool] | None = None,
    check: Callable[[], None] = lambda: None,
) -> Plan:
    """Plan an archive of *images* and send it: `lay_out`, then `send`."""
    plan = lay_out(images, content, format=format, platform=platform, held=held, check=check)
    send(plan, content, write, compression=compression, check=check)
    return plan


def send(
    plan: Plan,
    content: ContentStore,
    write: Callable[[bytes], object],
    *,
    compression: Compression = Compression.NONE,
    check: Callable[[], None] = lambda: None,
) -> None:
    """Make the archive's bytes and hand them to *write*, piece by piece.

    Blobs are hashed again on the way: an archive outlives the disk that it came from.

    Args:
        plan: What `lay_out` gave.
        content: Where the blobs are.
        write: Takes the next bytes. What it raises is passed on, and so is what *check* raises.
        compression: Of the archive as a whole; its layers stay as they are.
        check: Called before each piece.

    Raises:
        BlobMissingError: a blob has gone since the plan was made.
        SizeMismatchError, DigestMismatchError: the store gave back something else.
    """
    compressor = open_writer(compression, write)
    tar = TarWriter(compressor.write)
    for directory in plan.directories:
        tar.add(Entry(directory, Kind.DIRECTORY, mode=_DIRECTORY_MODE))
    for file in plan.files:
        mode = _BLOB_MODE if file.path.startswith("blobs/") else _DOCUMENT_MODE
        tar.add(Entry(file.path, mode=mode, size=file.size))
        for piece in _pieces(file, content):
            check()
            tar.content(piece)
    tar.finish()
    compressor.finish()


def _pieces(file: PlannedFile, content: ContentStore) -> Iterator[bytes]:
    """The bytes of *file*, not one too many; it ends only if all of them were right."""
    if isinstance(file.source, bytes):
        yield file.source
        return
    blob: Blob = file.source
    hasher = blob.digest.hasher()
    length = 0
    with content.open(blob.stored) as source:
        stream = open_reader(source) if blob.decompress else source
        while piece := stream.read(_READ_BYTES):
            hasher.update(piece)
            length += len(piece)
            if length > file.size:
                break
            yield piece
    if length != file.size:
        raise SizeMismatchError(subject=str(blob.stored), expected=file.size, actual=length).at(
            Side.STORE
        )
    if hasher.hexdigest() != blob.digest.hex:
        raise DigestMismatchError(
            expected=str(blob.digest), actual=f"{blob.digest.algorithm}:{hasher.hexdigest()}"
        ).at(Side.STORE)
