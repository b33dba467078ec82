"""Compression, read and written: what formats allow, what they forbid, bombs."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import lzma
import random
import threading
import tracemalloc
from collections.abc import Callable

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from transship.store.errors import DecompressionError, ExpansionError, UnsupportedCompressionError
from transship.store.layers.codecs import formats
from transship.store.layers.codecs.formats import Compression, detect, open_reader, open_writer

CONTENT = random.Random(1).randbytes(50_000) + bytes(200_000) + b"layer" * 1000
SKIPPABLE = b"\x5a\x2a\x4d\x18" + (5).to_bytes(4, "little") + b"hello"

COMPRESS: dict[Compression, Callable[[bytes], bytes]] = {
    Compression.GZIP: lambda data: gzip.compress(data, mtime=0),
    Compression.ZSTD: zstandard.ZstdCompressor(write_checksum=True).compress,
    Compression.BZIP2: bz2.compress,
    Compression.XZ: lzma.compress,
}
EACH = pytest.mark.parametrize("compression", COMPRESS)


class Dripping:
    """A source that gives a few bytes at a time, as sockets may."""

    def __init__(self, data: bytes, most: int) -> None:
        self._data, self._random, self._most = io.BytesIO(data), random.Random(2), most

    def read(self, size: int, /) -> bytes:
        return self._data.read(min(size, self._random.randint(1, self._most)))


def decompress(data: bytes, max_bytes: int | None = None) -> bytes:
    with open_reader(io.BytesIO(data), max_bytes=max_bytes) as reader:
        return b"".join(iter(lambda: reader.read(10_000), b""))


def compress(compression: Compression, data: bytes, step: int, threads: int) -> bytes:
    pieces: list[bytes] = []
    writer = open_writer(compression, pieces.append, threads=threads)
    for begin in range(0, len(data), step):
        writer.write(data[begin : begin + step])
    writer.finish()
    return b"".join(pieces)


@EACH
def test_a_compression_is_told_by_its_magic_number(compression: Compression) -> None:
    assert detect(COMPRESS[compression](b"x")[: formats.HEAD_BYTES]) is compression


@pytest.mark.parametrize("head", [b"", b"\x1f", b"usr/lib", b"\x1f\x8b\x07", b"*M\x18"])
def test_what_has_no_magic_number_is_not_compressed(head: bytes) -> None:
    assert detect(head) is Compression.NONE
    assert decompress(head) == head


def test_zstd_is_told_by_a_skippable_frame_too() -> None:
    assert detect(SKIPPABLE) is Compression.ZSTD


@EACH
@pytest.mark.parametrize("most", [1, 7, 100_000])
def test_members_that_follow_each_other_are_one_stream(compression: Compression, most: int) -> None:
    stream = COMPRESS[compression](CONTENT) + COMPRESS[compression](b"") * 3
    stream += COMPRESS[compression](b"more")
    with open_reader(Dripping(stream, most)) as reader:
        assert reader.compression is compression
        assert b"".join(iter(lambda: reader.read(4096), b"")) == CONTENT + b"more"
        assert reader.produced == len(CONTENT) + 4
        assert reader.consumed == len(stream)


@EACH
@pytest.mark.parametrize("padding", [1, 2, 3, 4, 512, 300_000])
def test_nuls_after_the_end_are_padding(compression: Compression, padding: int) -> None:
    stream = COMPRESS[compression](CONTENT) + bytes(padding)
    assert decompress(stream) == CONTENT
    with open_reader(Dripping(stream, 3 if padding < 10 else 5000)) as reader:
        assert b"".join(iter(lambda: reader.read(4096), b"")) == CONTENT


@EACH
@pytest.mark.parametrize("rest", [b"x", b"\0x", b"garbage after the end", bytes(600) + b"x"])
def test_anything_else_after_the_end_is_refused(compression: Compression, rest: bytes) -> None:
    with pytest.raises(DecompressionError):
        decompress(COMPRESS[compression](CONTENT) + rest)


@EACH
def test_a_stream_cut_anywhere_is_refused(compression: Compression) -> None:
    stream = COMPRESS[compression](b"some content")
    for length in range(formats.HEAD_BYTES, len(stream)):
        with pytest.raises(DecompressionError, match="damaged or cut"):
            decompress(stream[:length])


@EACH
def test_a_second_member_cut_anywhere_is_refused(compression: Compression) -> None:
    stream = COMPRESS[compression](b"some content")
    for length in range(1, len(stream)):
        with pytest.raises(DecompressionError):
            decompress(stream + stream[:length])


@EACH
def test_a_changed_byte_is_noticed(compression: Compression) -> None:
    stream = bytearray(COMPRESS[compression](CONTENT))
    stream[len(stream) // 2] ^= 0x55
    with pytest.raises(DecompressionError):
        decompress(bytes(stream))


@EACH
def test_neither_damage_nor_closing_passes_for_the_end(compression: Compression) -> None:
    with open_reader(io.BytesIO(COMPRESS[compression](b"some content")[:-1])) as reader:
        with pytest.raises(DecompressionError):
            b"".join(iter(lambda: reader.read(5), b""))
        with pytest.raises(ValueError, match="closed"):
            reader.read(5)


def test_an_error_names_the_stream() -> None:
    with pytest.raises(DecompressionError) as caught:
        open_reader(io.BytesIO(b"\x1f\x8b\x08 and no more"), subject="sha256:ab").read(1)
    assert caught.value.subject == "sha256:ab"


@pytest.mark.parametrize("size", [0, 5, 200_000])
def test_skippable_frames_of_zstd_are_skipped(size: int) -> None:
    skippable = SKIPPABLE[:4] + size.to_bytes(4, "little") + bytes([7]) * size
    frame = COMPRESS[Compression.ZSTD](b"one")
    assert decompress(skippable + frame + skippable * 2 + frame + skippable) == b"oneone"
    with pytest.raises(DecompressionError):
        decompress(frame + skippable[:-1])


def test_a_window_that_takes_too_much_memory_is_refused() -> None:
    parameters = zstandard.ZstdCompressionParameters.from_level(1, window_log=28)
    compressor = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    with pytest.raises(DecompressionError, match="too much memory"):
        decompress(compressor.compress(bytes(1000)) + compressor.flush())


def test_a_gzip_header_without_end_is_refused_early() -> None:
    name = b"\x1f\x8b\x08\x08" + bytes(6) + b"n" * 10_000_000
    with open_reader(io.BytesIO(name)) as reader:
        with pytest.raises(DecompressionError):
            reader.read(1)
        assert reader.consumed < 1_000_000


@EACH
def test_a_stream_may_be_bounded_in_bytes(compression: Compression) -> None:
    stream = COMPRESS[compression](CONTENT)
    assert decompress(stream, max_bytes=len(CONTENT)) == CONTENT
    with pytest.raises(ExpansionError, match="more than 256 kB"):
        decompress(COMPRESS[compression](CONTENT + bytes(100_000)), max_bytes=256_000)


def test_plain_bytes_are_bounded_too() -> None:
    with pytest.raises(ExpansionError):
        decompress(bytes(1001), max_bytes=1000)


@pytest.mark.parametrize(
    "compression", [Compression.GZIP, Compression.ZSTD, Compression.XZ, Compression.BZIP2]
)
def test_a_bomb_is_stopped_by_its_ratio_without_taking_memory(
    compression: Compression, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(formats, "RATIO_FREE_BYTES", 1_000_000)
    bomb = COMPRESS[compression](bytes(60_000_000))
    tracemalloc.start()
    try:
        with open_reader(io.BytesIO(bomb)) as reader:
            pieces = iter(lambda: reader.read(65536), b"")
            with pytest.raises(ExpansionError, match="grow beyond"):
                sum(map(len, pieces))
        assert reader.produced < 60_000_000
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("compression", [Compression.GZIP, Compression.ZSTD])
def test_zeros_are_no_bomb_below_the_free_bytes(compression: Compression) -> None:
    assert len(decompress(COMPRESS[compression](bytes(20_000_000)))) == 20_000_000


def test_many_empty_members_end() -> None:
    assert decompress(COMPRESS[Compression.GZIP](b"") * 50_000) == b""
    assert decompress(COMPRESS[Compression.ZSTD](b"") * 50_000) == b""


@given(st.binary(max_size=3000), st.sampled_from(list(COMPRESS)), st.data())
def test_whatever_is_read_is_data_or_a_clean_error(
    noise: bytes, compression: Compression, data: st.DataObject
) -> None:
    stream = bytearray(COMPRESS[compression](noise) + noise[:20])
    for _ in range(data.draw(st.integers(0, 4))):
        stream[data.draw(st.integers(0, len(stream) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(DecompressionError, ExpansionError):
        decompress(bytes(stream), max_bytes=1_000_000)


# --- writing -----------------------------------------------------------------------------------


@pytest.mark.parametrize("compression", [Compression.NONE, Compression.GZIP, Compression.ZSTD])
@settings(max_examples=20)
@given(size=st.integers(0, 3_500_000), step=st.integers(1000, 2_000_000))
def test_what_is_written_is_the_same_for_any_writes_and_threads(
    compression: Compression, size: int, step: int
) -> None:
    data = (CONTENT * (size // len(CONTENT) + 1))[:size]
    written = compress(compression, data, step, threads=1)
    assert decompress(written) == data
    assert compress(compression, data, 65536, threads=3) == written


def test_gzip_is_one_member_that_says_nothing_of_its_origin() -> None:
    written = compress(Compression.GZIP, CONTENT * 20, 100_000, threads=2)
    assert written[:10] == bytes((31, 139, 8, 0, 0, 0, 0, 0, 0, 255))
    assert gzip.decompress(written) == CONTENT * 20
    assert written.count(b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff") == 1


def test_levels_are_passed_on() -> None:
    data = b"".join(b"%d\n" % number for number in range(200_000))

    def length(compression: Compression, level: int) -> int:
        pieces: list[bytes] = []
        writer = open_writer(compression, pieces.append, level=level)
        writer.write(data)
        writer.finish()
        return sum(map(len, pieces))

    assert length(Compression.ZSTD, 1) != length(Compression.ZSTD, 12)
    assert length(Compression.GZIP, 0) != length(Compression.GZIP, 3)


@pytest.mark.parametrize("compression", [Compression.BZIP2, Compression.XZ])
def test_what_layers_may_not_be_is_never_written(compression: Compression) -> None:
    with pytest.raises(UnsupportedCompressionError):
        open_writer(compression, lambda _: None)
    with pytest.raises(UnsupportedCompressionError):
        _ = compression.media_type_suffix


def test_media_types_get_a_suffix() -> None:
    suffixes = [
        kind.media_type_suffix for kind in (Compression.NONE, Compression.GZIP, Compression.ZSTD)
    ]
    assert suffixes == ["", "+gzip", "+zstd"]


def test_written_pieces_come_in_the_thread_that_writes() -> None:
    seen: set[int] = set()
    writer = open_writer(Compression.GZIP, lambda _: seen.add(threading.get_ident()), threads=3)
    for _ in range(12):
        writer.write(bytes(1_000_000))
    writer.finish()
    assert seen == {threading.get_ident()}


def test_memory_stays_flat_while_writing() -> None:
    tracemalloc.start()
    try:
        writer = open_writer(Compression.GZIP, lambda _: None, threads=2)
        for _ in range(60):
            writer.write(CONTENT * 4)
        writer.finish()
        assert tracemalloc.get_traced_memory()[1] < 25_000_000
    finally:
        tracemalloc.stop()
