"""Layers to test with: real files in a tar of our own, compressed in every way that there is."""

from __future__ import annotations

import functools
import hashlib
import os
import random
import sysconfig
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Literal, Protocol

import zstandard
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from isal import isal_zlib

from transship.store.oci import mediatypes
from transship.store.oci.descriptor import Descriptor
from transship.store.oci.digest import Digest

if TYPE_CHECKING:
    from hashlib import _Hash as Hash

Compression = Literal["gzip", "zstd", "none"]
Media = Literal["oci", "docker"]
Blob = bytes | Path
Entry = tuple[tarfile.TarInfo, Iterable[bytes]]

_MTIME = 1714564800
_DRAFT = "layer.part"
_PIECE = 4 * 1024 * 1024  # of pseudo-random data

_LAYER_TYPES: dict[tuple[Media, Compression], str] = {
    ("oci", "gzip"): mediatypes.OCI_LAYER_GZIP,
    ("oci", "zstd"): mediatypes.OCI_LAYER_ZSTD,
    ("oci", "none"): mediatypes.OCI_LAYER,
    ("docker", "gzip"): mediatypes.DOCKER_LAYER_GZIP,
    ("docker", "none"): mediatypes.DOCKER_LAYER,
}


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer made; *blob* is a file where a directory was given."""

    descriptor: Descriptor
    diff_id: Digest
    blob: Blob


class _Compressor(Protocol):
    def compress(self, data: bytes, /) -> bytes: ...
    def flush(self) -> bytes: ...


class _Stored:
    """The compressor that does not."""

    def compress(self, data: bytes, /) -> bytes:
        return data

    def flush(self) -> bytes:
        return b""


def _compressor(compression: Compression) -> _Compressor:
    if compression == "gzip":
        compressor: _Compressor = isal_zlib.compressobj(2, isal_zlib.DEFLATED, 31)
        return compressor
    if compression == "zstd":
        return zstandard.ZstdCompressor(level=3).compressobj()
    return _Stored()


def pack_layer(
    entries: Iterable[Entry], compression: Compression, media: Media, directory: Path | None
) -> Layer:
    """Make a layer of *entries*, in memory or as a file in *directory* named by its hex.

    Raises:
        ValueError: these media types have no such compression.
    """
    media_type = _LAYER_TYPES.get((media, compression))
    if media_type is None:
        raise ValueError(f"{media} images have no layers compressed by {compression}")
    uncompressed, compressed = hashlib.sha256(), hashlib.sha256()
    with BytesIO() if directory is None else (directory / _DRAFT).open("wb") as file:
        for chunk in _compressed(_tar(entries), compression, uncompressed):
            compressed.update(chunk)
            file.write(chunk)
        size = file.tell()
        held = file.getvalue() if isinstance(file, BytesIO) else b""
    digest = Digest.from_hash(compressed)
    blob: Blob = held
    if directory is not None:
        blob = (directory / _DRAFT).replace(directory / digest.hex)
    descriptor = Descriptor(media_type=media_type, digest=digest, size=size)
    return Layer(descriptor, Digest.from_hash(uncompressed), blob)


def _compressed(
    chunks: Iterable[bytes], compression: Compression, uncompressed: Hash
) -> Iterator[bytes]:
    """Yield *chunks* compressed, hashing what goes in."""
    compressor = _compressor(compression)
    for chunk in chunks:
        uncompressed.update(chunk)
        yield compressor.compress(chunk)
    yield compressor.flush()


def _tar(entries: Iterable[Entry]) -> Iterator[bytes]:
    """Write a tar: no record padding, so that one without entries is two blocks of zeros."""
    for info, content in entries:
        yield info.tobuf(tarfile.PAX_FORMAT)
        yield from content
        if info.size % 512:
            yield bytes(-info.size % 512)
    yield bytes(1024)


def layer_files(unique: str, number: int, size: int, *, apart: bool = False) -> Iterator[Entry]:
    """Yield what one layer holds: real files for a quarter or all, then what does not compress.

    Besides, it holds a file that says whose layer it is, links to that, and a whiteout of the
    same file of the layer below. Where layers are *apart* nothing else is in the place of a file
    of another one.
    """
    own = str(number) if apart else ""
    library = _library()
    begin = random.Random(f"{unique}/{number}").randrange(len(library))
    real: list[tuple[str, Path]] = []
    held = 0
    # Small layers are real throughout; there is not enough to fill large ones.
    wanted = size if size <= 4 * 1024 * 1024 else size // 4
    for path in library[begin:] + library[:begin]:
        if held >= wanted:
            break
        real.append((f"usr/lib/python{own}/{path.relative_to(_library_root()).as_posix()}", path))
        held += path.stat().st_size
    marker = f"etc/layers/{number}"
    label = f"{unique} layer {number}\n".encode()
    parents = {
        parent.as_posix()
        for name in (marker, *(name for name, _ in real), f"var/filler{own}")
        for parent in PurePosixPath(name).parents
        if parent.name
    }
    for name in sorted(parents):
        yield _entry(name, type_=tarfile.DIRTYPE, mode=0o755), ()
    if number:
        yield _entry(f"etc/layers/.wh.{number - 1}"), ()
    yield _entry(marker, size=len(label)), (label,)
    yield _entry(f"{marker}.hard", type_=tarfile.LNKTYPE, link=marker), ()
    yield _entry(f"{marker}.link", type_=tarfile.SYMTYPE, link=str(number), mode=0o777), ()
    for name, path in sorted(real):
        content = path.read_bytes()
        yield _entry(name, size=len(content)), (content,)
    filler = max(0, size - held)
    if filler:
        yield _entry(f"var/filler{own}", size=filler), _noise(f"{unique}/{number}", filler)


def _noise(seed: str, size: int) -> Iterator[bytes]:
    """Yield *size* bytes that do not compress; twenty times as fast as `random` makes them."""
    key = hashlib.sha256(seed.encode()).digest()
    cipher = Cipher(algorithms.AES(key), modes.CTR(bytes(16))).encryptor()
    zeros = bytes(_PIECE)
    for begin in range(0, size, _PIECE):
        yield cipher.update(zeros[: size - begin])


def _entry(
    name: str, *, size: int = 0, type_: bytes = tarfile.REGTYPE, link: str = "", mode: int = 0o644
) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size, info.type, info.linkname, info.mode, info.mtime = size, type_, link, mode, _MTIME
    return info


def _library_root() -> Path:
    return Path(sysconfig.get_path("stdlib"))


@functools.cache
def _library() -> tuple[Path, ...]:
    """The standard library's sources, without what is installed into it."""
    found: list[Path] = []
    for directory, below, names in os.walk(_library_root()):
        below[:] = sorted(set(below) - {"site-packages", "dist-packages", "test", "__pycache__"})
        found += [Path(directory, name) for name in names if name.endswith(".py")]
    return tuple(sorted(found))
