"""Receiving archives: cut, lying, endless and merely odd streams."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.images import build_image
from tests.support.odd_layers import REFUSED, UNPACKED, odd_layer
from tests.unit.store.archives.archives import (
    Files,
    MemorySink,
    docker_files,
    layout_files,
    read,
    tar,
)
from transship.store.archives.limits import ArchiveLimits
from transship.store.archives.members import Member, Members
from transship.store.archives.read import interpret, read_archive
from transship.store.archives.receive import receive_archive
from transship.store.errors import (
    CancelledError,
    ContentError,
    DecompressionError,
    ExpansionError,
    InvalidArchiveError,
)
from transship.store.layers.codecs.formats import Compression
from transship.store.oci.digest import Digest

IMAGE = build_image("stream", layers=2, layer_bytes=3000)
FILES = docker_files(IMAGE)
PACKED = tar(FILES)


def receive(packed: bytes, sink: Any = None, **limits: Any) -> Members:
    return receive_archive(io.BytesIO(packed), sink or MemorySink(), limits=ArchiveLimits(**limits))


class Trickle:
    """A stream that gives a few bytes at a time, as sockets do, and knows how many it gave."""

    def __init__(self, raw: bytes, most: int) -> None:
        self._raw, self._most = io.BytesIO(raw), most

    def read(self, size: int, /) -> bytes:
        return self._raw.read(min(size, self._most))

    @property
    def given(self) -> int:
        return self._raw.tell()


# --- what is received --------------------------------------------------------------------------


def test_each_file_becomes_a_blob() -> None:
    sink = MemorySink()
    members = receive(PACKED, sink)
    assert members.files.keys() == FILES.keys()
    for name, raw in FILES.items():
        assert members.files[name].digest == Digest.of(raw)
        assert sink.read(Digest.of(raw), max_bytes=10**6) == raw


@pytest.mark.parametrize(
    ("compress", "compression"),
    [
        (bytes, Compression.NONE),
        (gzip.compress, Compression.GZIP),
        (zstandard.compress, Compression.ZSTD),
    ],
)
def test_what_a_file_decompresses_to_is_hashed(compress: Any, compression: Compression) -> None:
    plain = b"a layer " * 100_000
    (member,) = receive(tar({"layer.tar": compress(plain)})).files.values()
    assert (member.diff_id, member.compression) == (Digest.of(plain), compression)


def test_a_file_that_does_not_decompress_is_received_with_a_reason() -> None:
    raw = gzip.compress(b"a layer " * 10_000)[:-5]
    (member,) = receive(tar({"layer.tar": raw})).files.values()
    assert (member.digest, member.size, member.diff_id) == (Digest.of(raw), len(raw), None)
    assert "damaged or cut" in member.fault


def test_a_file_that_decompresses_to_nothing_for_long_is_received_with_a_reason() -> None:
    silent = (
        b"\x50\x2a\x4d\x18" + (80 * 1024 * 1024).to_bytes(4, "little") + bytes(80 * 1024 * 1024)
    )
    (member,) = receive(tar({"layer.tar": silent})).files.values()
    assert member.digest == Digest.of(silent)
    assert member.fault == "too much of it decompresses to nothing"


@pytest.mark.parametrize("most", [1, 511, 513])
def test_the_stream_may_come_in_any_pieces(most: int) -> None:
    stream = Trickle(PACKED, most)
    assert receive_archive(stream, MemorySink(), limits=ArchiveLimits()) == receive(PACKED)


def test_the_stream_is_read_to_its_end() -> None:
    stream = Trickle(PACKED + bytes(100_000), 4096)
    receive_archive(stream, MemorySink(), limits=ArchiveLimits())
    assert stream.given == len(PACKED) + 100_000


def test_names_are_told_apart_and_not_their_spelling() -> None:
    members = receive(tar({"./a/../b": b"x", "c//d": b"y"}))
    assert members.files.keys() == {"b", "c/d"}


def test_a_blob_that_is_there_already_is_compared_all_the_same() -> None:
    sink = MemorySink()
    files = layout_files(IMAGE)
    receive(tar(files), sink)
    name = next(name for name in files if name.startswith("blobs/"))
    with pytest.raises(InvalidArchiveError, match=name):
        receive(tar({name: b"something else"}), sink)


def test_the_second_half_may_run_elsewhere() -> None:
    sink = MemorySink()
    members = receive(tar(FILES, links={"a": "b"}), sink)
    sent = Members.from_json(json.loads(json.dumps(members.to_json())))
    assert sent == members
    assert interpret(sent, sink) == read(FILES)


# --- streams that are wrong --------------------------------------------------------------------


@pytest.mark.parametrize("size", range(0, len(PACKED) - 2 * 512, 512))
def test_an_archive_that_is_cut_is_refused_unless_all_of_the_image_has_come(size: int) -> None:
    end = PACKED.rstrip(b"\0")
    cut = PACKED[: min(size, len(end))]
    try:
        found = read(cut)
    except InvalidArchiveError:
        return
    assert found == read(PACKED)
    assert size > len(PACKED) // 2


@pytest.mark.parametrize("end", [0, 512, 1024, 10_240])
def test_an_archive_may_lack_the_blocks_at_its_end(end: int) -> None:
    whole = doubled(("a", b"one"), ("b", b"two"))
    assert receive(whole + bytes(end)).files.keys() == {"a", "b"}


def test_a_cut_inside_a_file_names_the_file() -> None:
    with pytest.raises(InvalidArchiveError, match="big: the archive is cut"):
        receive(tar({"big": bytes(5000)})[:3000])


@pytest.mark.parametrize("compress", [gzip.compress, zstandard.compress], ids=["gzip", "zstd"])
def test_a_compressed_archive_that_is_cut_is_refused(compress: Any) -> None:
    packed = compress(PACKED)
    for size in (len(packed) // 2, len(packed) - 1):
        with pytest.raises(DecompressionError, match="the archive"):
            receive(packed[:size])


@pytest.mark.parametrize("packed", [b"", b"x", b"not a tar " * 1000, bytes(100), b"\0" * 511])
def test_what_is_no_tar_is_refused(packed: bytes) -> None:
    with pytest.raises(InvalidArchiveError):
        receive(packed)


@pytest.mark.parametrize("size", [-1, 2**63, 2**80])
def test_an_impossible_size_is_refused(size: int) -> None:
    header = bytearray(tar({"a": b"x"})[:512])
    header[124:136] = (size % 2**95 | 1 << 95).to_bytes(12, "big")
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    with pytest.raises(InvalidArchiveError):
        receive(bytes(header) + bytes(2048))


@pytest.mark.parametrize("name", ["../a", "/etc/passwd", "a/../../b", ".."])
@pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE])
def test_a_name_that_leads_out_is_refused(name: str, kind: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, "x"
    with pytest.raises(InvalidArchiveError, match="leads out of the archive"):
        receive(info.tobuf() + bytes(1024))


def test_a_name_is_not_longer_than_any_that_is_used() -> None:
    assert receive(tar({"a" * 1024: b""})).files.keys() == {"a" * 1024}
    with pytest.raises(InvalidArchiveError, match="more than 1024 characters"):
        receive(tar({"a" * 1025: b""}))


def doubled(*pairs: tuple[str, bytes]) -> bytes:
    return b"".join(tar({name: raw})[: 512 + len(raw) + -len(raw) % 512] for name, raw in pairs)


def test_a_file_that_is_there_twice_is_refused() -> None:
    with pytest.raises(InvalidArchiveError, match="a: is there twice"):
        receive(doubled(("a", b"one"), ("a", b"two")) + bytes(1024))


def test_a_file_that_is_there_twice_and_the_same_is_one() -> None:
    assert len(receive(doubled(("a", b"one"), ("./a", b"one")) + bytes(1024)).files) == 1


def test_a_link_in_the_place_of_a_file_is_refused() -> None:
    with pytest.raises(InvalidArchiveError, match="a: is there twice"):
        receive(tar({"a": b"x"}, links={"a": "b"}))


def test_there_are_not_more_files_than_may_be() -> None:
    files: Files = {f"file-{n}": b"" for n in range(11)}
    assert len(receive(tar(files), max_members=11).files) == 11
    with pytest.raises(InvalidArchiveError, match="more than 10 files"):
        receive(tar(files), max_members=10)


@pytest.mark.parametrize("compress", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_an_archive_is_not_longer_than_it_may_be(compress: Any) -> None:
    with pytest.raises(ExpansionError, match="the archive"):
        receive(compress(tar({"zeros": bytes(10**6)})), max_bytes=10**5)


def test_what_check_raises_ends_the_reading() -> None:
    calls = 0

    def check() -> None:
        nonlocal calls
        calls += 1
        if calls > 20:
            raise CancelledError("a stop was requested")

    stream = Trickle(tar({"big": gzip.compress(bytes(10**7), 0)}), 64 * 1024)
    with pytest.raises(CancelledError):
        receive_archive(stream, MemorySink(), limits=ArchiveLimits(), check=check)
    assert stream.given < 5 * 10**6


# --- bounds ------------------------------------------------------------------------------------


class Forgetful:
    """A sink that keeps nothing."""

    def receive(self, pieces: Iterator[bytes], *, size: int, expected: Digest | None) -> Digest:
        hasher = hashlib.sha256()
        for piece in pieces:
            hasher.update(piece)
        return Digest.from_hash(hasher)


class Endless:
    """A tar of one file, made as it is read."""

    def __init__(self, size: int, piece: bytes) -> None:
        info = tarfile.TarInfo("layer.tar")
        info.size = size
        self._head, self._left, self._piece = info.tobuf(), size, piece

    def read(self, size: int, /) -> bytes:
        if self._head:
            head, self._head = self._head[:size], self._head[size:]
            return head
        if self._left <= -2048:
            return b""
        data = self._piece[: min(size, self._left)] if self._left > 0 else bytes(512)
        self._left -= len(data)
        return data


@pytest.mark.parametrize(
    "piece", [bytes(2**20), gzip.compress(bytes(2**20))], ids=["zeros", "gzip"]
)
def test_memory_stays_flat_however_long_a_file_is(piece: bytes) -> None:
    size = (200 * 2**20 if piece[0] == 0 else 300 * 2**10) // len(piece) * len(piece)
    stream = Endless(size, piece)
    tracemalloc.start()
    try:
        members = receive_archive(stream, Forgetful(), limits=ArchiveLimits())
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    (member,) = members.files.values()
    assert (member.size, member.fault) == (size, "")
    assert peak < 16 * 2**20


@settings(max_examples=200)
@given(
    packed=st.sampled_from([PACKED, tar(layout_files(IMAGE)), gzip.compress(PACKED)]),
    edits=st.lists(
        st.tuples(st.integers(0, 2**20), st.binary(max_size=24)), min_size=1, max_size=6
    ),
    cut=st.none() | st.integers(0, 2**20),
)
def test_a_mangled_archive_gives_a_clean_error_or_is_read(
    packed: bytes, edits: list[tuple[int, bytes]], cut: int | None
) -> None:
    raw = bytearray(packed)
    for position, data in edits:
        at = position % len(raw)
        raw[at : at + len(data)] = data
    with suppress(ContentError):
        read_archive(io.BytesIO(bytes(raw[:cut])), MemorySink())


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(
            ["Config", "Layers", "RepoTags", "Parent", "schemaVersion", "manifests", "mediaType",
             "digest", "size", "annotations", "imageLayoutVersion", "x"]
        ),
        inner,
        max_size=5,
    ),
    max_leaves=12,
)  # fmt: skip


@settings(max_examples=60)
@given(
    st.dictionaries(
        st.sampled_from(["manifest.json", "index.json", "oci-layout", "repositories"]), json_values
    )
)
def test_documents_of_any_shape_give_a_clean_error_or_are_read(documents: dict[str, Any]) -> None:
    files = FILES | layout_files(IMAGE)
    files |= {name: json.dumps(value).encode() for name, value in documents.items()}
    with suppress(ContentError):
        read(files)


def test_a_member_is_a_value() -> None:
    layer = odd_layer(UNPACKED["no directory is described"])
    (member,) = receive(tar({"a": layer})).files.values()
    assert member == Member(Digest.of(layer), len(layer), Compression.NONE, Digest.of(layer))


@pytest.mark.parametrize(
    "compress", [bytes, gzip.compress, zstandard.compress], ids=["plain", "gzip", "zstd"]
)
@pytest.mark.parametrize("what", [*REFUSED, "no tar"])
def test_what_cannot_be_unpacked_is_kept_and_has_a_fault(
    what: str, compress: Callable[[bytes], bytes]
) -> None:
    layer = odd_layer(REFUSED[what]) if what in REFUSED else b"no tar at all" * 100
    body = compress(layer)
    (member,) = receive(tar({"a": body})).files.values()
    assert (member.digest, member.diff_id) == (Digest.of(body), Digest.of(layer))
    assert member.fault.startswith("cannot be unpacked: ")


def test_what_follows_the_end_of_a_layer_counts_however_long_it_is() -> None:
    layer = odd_layer(UNPACKED["a whiteout"]) + bytes(70 * 1024 * 1024)
    (member,) = receive(tar({"a": layer})).files.values()
    assert (member.diff_id, member.fault) == (Digest.of(layer), "")
