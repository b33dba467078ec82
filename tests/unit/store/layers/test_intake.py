"""A tar that comes as a stream becomes a layer in one pass."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import lzma
from collections.abc import Callable

import pytest
import zstandard

from tests.support.layers import layer_files
from tests.support.memory_store import MemoryStore
from tests.support.tars import Member, file, folder, tar_of
from transship.store.errors import CancelledError, DecompressionError, InvalidLayerError
from transship.store.layers.codecs.formats import Compression
from transship.store.layers.intake import Taken, take_in
from transship.store.oci.digest import Digest

TAR = tar_of(folder("etc"), file("etc/a", b"a\n"), file("bin/b", bytes(range(256)) * 5000))
LARGE = tar_of(*(Member(info, b"".join(content)) for info, content in layer_files("x", 0, 4 << 20)))


def taken(stream: bytes) -> tuple[Taken, bytes]:
    """What comes of *stream*, and what was written."""
    content = MemoryStore()
    with content.draft("a-job") as draft:
        found = take_in(io.BytesIO(stream), draft)
        digest = draft.commit()
    return found, content.read(digest, max_bytes=1 << 26)


@pytest.mark.parametrize("plain", [TAR, LARGE], ids=["small", "large"])
@pytest.mark.parametrize(
    "compress",
    [bytes, bz2.compress, lzma.compress, zstandard.compress],
    ids=["none", "bzip2", "xz", "zstd"],
)
def test_what_is_not_gzip_becomes_gzip(plain: bytes, compress: Callable[[bytes], bytes]) -> None:
    found, stored = taken(compress(plain))
    assert found == Taken(Digest.of(plain), len(plain), Compression.GZIP)
    assert gzip.decompress(stored) == plain


def test_gzip_stays_as_it_is_to_the_last_byte() -> None:
    packed = gzip.compress(LARGE, 1) + gzip.compress(b"") + bytes(100)
    found, stored = taken(packed)
    assert (found.diff_id, found.diff_size) == (Digest.of(LARGE), len(LARGE))
    assert stored == packed


def test_the_same_tar_gives_the_same_layer() -> None:
    assert taken(LARGE)[1] == taken(bz2.compress(LARGE))[1]


@pytest.mark.parametrize(
    "plain",
    [bytes(1024), TAR[:-1024], TAR + bytes(1 << 20), TAR + b"something else"],
    ids=["no entry", "no end", "zeros after the end", "more after the end"],
)
def test_what_docker_takes_for_a_tar_is_one_and_every_byte_counts(plain: bytes) -> None:
    found, stored = taken(plain)
    assert str(found.diff_id) == f"sha256:{hashlib.sha256(plain).hexdigest()}"
    assert gzip.decompress(stored) == plain


def test_nothing_becomes_an_empty_tar() -> None:
    found, stored = taken(b"")
    assert gzip.decompress(stored) == bytes(1024)
    assert (found.diff_id, found.diff_size) == (Digest.of(bytes(1024)), 1024)


@pytest.mark.parametrize(
    ("stream", "error"),
    [
        (b"no tar at all, but longer than a block " * 20, InvalidLayerError),
        (TAR[: 3 * 512 + 1], InvalidLayerError),
        (TAR[:700], InvalidLayerError),
        (gzip.compress(TAR)[:-20], DecompressionError),
        (gzip.compress(TAR) + b"and more", DecompressionError),
        (gzip.compress(b"no tar" * 200), InvalidLayerError),
        (zstandard.compress(TAR)[:-5], DecompressionError),
    ],
    ids=[
        "no tar",
        "cut in a file",
        "cut in a header",
        "a gzip cut short",
        "gzip and more",
        "no tar in a gzip",
        "a zstd cut short",
    ],
)
def test_what_is_no_tar_is_refused(stream: bytes, error: type[Exception]) -> None:
    with pytest.raises(error):
        taken(stream)


def test_it_stops_when_it_is_asked_to() -> None:
    def stop() -> None:
        raise CancelledError("a stop was requested")

    with MemoryStore().draft("a-job") as draft, pytest.raises(CancelledError):
        take_in(io.BytesIO(TAR), draft, check=stop)
