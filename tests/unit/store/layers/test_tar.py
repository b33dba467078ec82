"""The tar reader, against Python's writer, against itself, and against hostile bytes."""

from __future__ import annotations

import contextlib
import io
import struct
import tarfile
import tracemalloc
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.tars import (
    MTIME,
    Format,
    Member,
    described,
    entries_of,
    extended,
    file,
    folder,
    hardlink,
    special,
    symlink,
    tar_of,
    with_xattrs,
)
from transship.store.errors import ExpansionError, InvalidLayerError
from transship.store.layers.tar.pax import format_records
from transship.store.layers.tar.reader import (
    MAX_EXTENDED_BYTES,
    MAX_NAME_LENGTH,
    Entry,
    Kind,
    TarReader,
)
from transship.store.layers.tar.writer import TarWriter

END = bytes(1024)
FORMATS = pytest.mark.parametrize(
    "format_", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]
)


def one(data: bytes) -> Entry:
    (entry,) = (entry for entry, _ in entries_of(data).values())
    return entry


def patched(member: Member, start: int, field: bytes, *, checksum: bool = True) -> bytes:
    """*member* with *field* written over its header."""
    data = bytearray(tar_of(member, format_=tarfile.GNU_FORMAT))
    data[start : start + len(field)] = field
    if checksum:
        data[148:156] = b" " * 8
        data[148:156] = b"%06o\0 " % sum(data[:512])
    return bytes(data)


@FORMATS
def test_every_kind_of_entry_is_read(format_: Format) -> None:
    found = entries_of(
        tar_of(
            folder("etc", mode=0o1777, uid=3, gid=4),
            file("etc/passwd", b"root:x:0:0\n", mode=0o4755),
            hardlink("etc/shadow", "etc/passwd"),
            symlink("etc/link", "../target"),
            special("dev/null", tarfile.CHRTYPE, devmajor=1, devminor=3),
            special("dev/sda", tarfile.BLKTYPE, devmajor=8, devminor=0),
            special("fifo", tarfile.FIFOTYPE),
            file("contiguous", b"7", type=tarfile.CONTTYPE),
            format_=format_,
        )
    )
    time = MTIME * 10**9
    assert list(found.values()) == [
        (Entry("etc/", Kind.DIRECTORY, 0o1777, 3, 4, 0, time), b""),
        (Entry("etc/passwd", Kind.FILE, 0o4755, 0, 0, 11, time), b"root:x:0:0\n"),
        (Entry("etc/shadow", Kind.HARDLINK, mtime=time, link="etc/passwd"), b""),
        (Entry("etc/link", Kind.SYMLINK, 0o777, mtime=time, link="../target"), b""),
        (Entry("dev/null", Kind.CHARACTER, mtime=time, major=1, minor=3), b""),
        (Entry("dev/sda", Kind.BLOCK, mtime=time, major=8, minor=0), b""),
        (Entry("fifo", Kind.FIFO, mtime=time), b""),
        (Entry("contiguous", Kind.FILE, size=1, mtime=time), b"7"),
    ]


@FORMATS
@pytest.mark.parametrize("name", ["n" * 100, "d" * 150 + "/" + "n" * 99])
def test_long_names_are_read(name: str, format_: Format) -> None:
    assert one(tar_of(file(name), format_=format_)).name == name


@pytest.mark.parametrize("format_", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_longer_names_links_and_numbers_are_read(format_: Format) -> None:
    name, link = "ä" * 300 + "/b", "c/" * 200 + "d"
    entry = one(tar_of(symlink(name, link, uid=2**31, gid=2**40, mtime=2**34), format_=format_))
    assert (entry.name, entry.link) == (name, link)
    assert (entry.uid, entry.gid, entry.mtime) == (2**31, 2**40, 2**34 * 10**9)


def test_names_that_are_no_utf8_are_kept() -> None:
    data = tar_of(file("na\udcefve"), format_=tarfile.GNU_FORMAT)
    assert one(data).name.encode("utf-8", "surrogateescape") == b"na\xefve"


def test_a_prefix_counts_only_in_ustar() -> None:
    member = file("name")
    assert one(patched(member, 345, b"not a prefix")).name == "name"
    assert one(patched(member, 257, b"ustar\x0000".ljust(88) + b"prefix\0")).name == "prefix/name"


def test_old_tars_mark_directories_by_a_slash() -> None:
    assert one(patched(file("dir/"), 156, b"\0")).kind is Kind.DIRECTORY
    assert one(patched(file("file"), 156, b"\0")).kind is Kind.FILE


def test_extended_attributes_are_bytes() -> None:
    member = with_xattrs(file("ping"), security__capability=b"\x01\x00\x00\x02\xff=\n\x00")
    assert one(tar_of(member)).xattrs == {"security.capability": b"\x01\x00\x00\x02\xff=\n\x00"}


def test_what_windows_needs_is_kept_and_other_records_are_not() -> None:
    entry = one(described(file("a"), MSWINDOWS__rawsd=b"AQ==", comment=b"c", atime=b"1"))
    assert entry.extra == {"MSWINDOWS.rawsd": b"AQ=="}
    assert entry.xattrs == {}


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        (b"1700000000.123456789", 1700000000123456789),
        (b"1700000000.1", 1700000000100000000),
        (b"1.9999999999", 1999999999),
        (b"5.", 5_000_000_000),
        (b"-1.5", -1_500_000_000),
    ],
)
def test_times_are_exact(text: bytes, nanoseconds: int) -> None:
    assert one(described(file("a"), mtime=text)).mtime == nanoseconds


def test_a_negative_time_in_base_256_is_read() -> None:
    entry = one(patched(file("a"), 136, (-5).to_bytes(12, "big", signed=True)))
    assert entry.mtime == -5 * 10**9


def test_an_empty_record_leaves_the_header_as_it_is() -> None:
    entry = one(described(file("a", b"x", uid=7), path=b"", uid=b"", size=b""))
    assert (entry.name, entry.uid, entry.size) == ("a", 7, 1)


def test_a_later_record_counts_and_a_long_name_counts_more() -> None:
    records = format_records({"path": b"first"}) + format_records({"path": b"second"})
    assert one(extended(records) + tar_of(file("a"))).name == "second"
    gnu = extended(b"third\0", b"L")
    assert one(extended(records) + gnu + tar_of(file("a"))).name == "third"
    links = extended(b"long\0", b"K") + extended(b"16 linkpath=pax\n")
    assert one(links + tar_of(symlink("a", "short"))).link == "long"


def test_an_extended_size_counts_for_files_and_for_nothing_else() -> None:
    blocks = extended(format_records({"size": b"600"})) + tar_of(file("a"))[:512]
    found = entries_of(blocks + bytes(1024) + tar_of(file("b")))
    assert found["a"][1] == bytes(600)
    assert list(found) == ["a", "b"]
    assert list(entries_of(described(symlink("l", "t"), size=b"600"))) == ["l"]


def test_entries_other_than_files_have_no_content_whatever_size_they_state() -> None:
    found = entries_of(patched(hardlink("a", "b"), 124, b"00000001000\0"))
    assert found["a"][0].size == 0


def test_a_global_header_is_a_comment() -> None:
    comment = extended(format_records({"comment": b"1234", "mtime": b"9"}), b"g")
    assert one(comment + tar_of(file("a"))).mtime == MTIME * 10**9


@pytest.mark.parametrize("keyword", ["path", "linkpath", "size", "GNU.sparse.size"])
def test_a_global_header_that_readers_take_differently_is_refused(keyword: str) -> None:
    header = extended(format_records({keyword: b"1"}), b"g")
    with pytest.raises(InvalidLayerError, match="global header"):
        entries_of(header + tar_of(file("a")))


# --- the end -----------------------------------------------------------------------------------


@pytest.mark.parametrize("end", [b"", bytes(512), END, bytes(10240), END + b"anything" * 99])
def test_the_end_is_two_blocks_of_zeros_or_the_end_of_the_stream(end: bytes) -> None:
    assert list(entries_of(tar_of(file("a", b"x"))[:-1024] + end)) == ["a"]


def test_what_follows_the_end_is_read_to_its_end() -> None:
    source = io.BytesIO(tar_of() + bytes(3_000_000))
    reader = TarReader(source)
    assert list(reader) == []
    assert source.read() == b""
    assert reader.offset == 3_001_024


def test_an_empty_stream_is_an_empty_archive() -> None:
    assert entries_of(b"") == {}


def test_a_block_of_zeros_before_more_entries_is_refused() -> None:
    with pytest.raises(InvalidLayerError, match="not the end"):
        entries_of(tar_of(file("a"))[:-1024] + bytes(512) + tar_of(file("b")))


def test_the_padding_of_the_last_entry_may_be_missing() -> None:
    assert entries_of(tar_of(file("a", b"abc"))[:515])["a"][1] == b"abc"


def test_an_archive_cut_inside_an_entry_is_refused_by_its_name() -> None:
    data = tar_of(folder("d"), file("d/big", b"x" * 5000))
    for length in (512 + 512 + 10, 512 + 512 + 4999):
        with pytest.raises(InvalidLayerError, match="cut") as caught:
            entries_of(data[:length])
        assert caught.value.subject == "d/big"
    for length in (1, 511, 513, 1023):
        with pytest.raises(InvalidLayerError, match="cut"):
            entries_of(data[:length])


@pytest.mark.parametrize("length", [512, 600, 1024, 1536])
def test_an_extended_header_without_its_entry_is_refused(length: int) -> None:
    data = described(file("a"), comment=b"c" * 600)
    with pytest.raises(InvalidLayerError):
        entries_of(data[:length])
    with pytest.raises(InvalidLayerError):
        entries_of(data[: 512 + 1024] + END)


# --- hostile headers ---------------------------------------------------------------------------


def test_a_wrong_checksum_is_refused() -> None:
    with pytest.raises(InvalidLayerError, match="checksum"):
        entries_of(patched(file("a"), 0, b"b", checksum=False))


def test_a_checksum_of_signed_bytes_is_accepted() -> None:
    data = bytearray(patched(file("a"), 0, b"\xc3\xa4"))
    signed = sum(struct.unpack("512b", bytes(data[:148]) + b" " * 8 + bytes(data[156:512])))
    data[148:156] = b"%06o\0 " % signed
    assert one(bytes(data)).name == "ä"


NEGATIVE = (-1).to_bytes(12, "big", signed=True)
HUGE = (2**80).to_bytes(12, "big")
HUGE_FIELD = bytes([HUGE[0] | 0x80]) + HUGE[1:]


@pytest.mark.parametrize("size", [NEGATIVE, HUGE_FIELD, b"0000000008\0 ", b"-01\0", b"0x1\0"])
@pytest.mark.parametrize("kind", [b"0", b"x", b"L", b"g"])
def test_sizes_that_are_none_are_refused(size: bytes, kind: bytes) -> None:
    with pytest.raises(InvalidLayerError, match="size"):
        entries_of(patched(file("a", type=kind), 124, size))


def test_a_size_beyond_the_archive_ends_as_a_cut() -> None:
    with pytest.raises(InvalidLayerError, match="cut"):
        entries_of(patched(file("a"), 124, bytes([0x80]) + (2**63 - 1).to_bytes(11, "big")))


@pytest.mark.parametrize(
    "records",
    [
        format_records({"uid": b"-5"}),
        format_records({"size": b"9" * 23}),
        format_records({"size": b"18446744073709551615"}),
        format_records({"size": b"1_0"}),
        format_records({"mtime": b"1e5"}),
        format_records({"path": b"a\0b"}),
        b"8 path=a\n",
        b"11 path=a\n",
        b"10 path=a\n9 ",
        b"99 path=a\n",
        b"0 path=a\n",
        b"-9 path=a\n",
        b"x path=a\n",
        b"path=a\n",
        b"9 path=a\npath=a\n",
        b"9 path=a\n\0\0\0",
        b"3 \n",
        b"5 =a\n",
        b"7 path\n",
        b"10 pa\0h=a\n",
    ],
)
def test_malformed_records_are_refused(records: bytes) -> None:
    with pytest.raises(InvalidLayerError):
        entries_of(extended(records) + tar_of(file("a")))


def test_a_long_extended_header_is_refused_before_it_is_read() -> None:
    info = tarfile.TarInfo("x")
    info.type, info.size = b"x", MAX_EXTENDED_BYTES + 1
    with pytest.raises(InvalidLayerError, match="extended header of"):
        entries_of(info.tobuf())


@pytest.mark.parametrize("make", [file, lambda name: symlink("a", name)])
def test_a_name_longer_than_paths_may_be_is_refused(make: Callable[[str], Member]) -> None:
    entries_of(tar_of(make("n" * MAX_NAME_LENGTH)))
    with pytest.raises(InvalidLayerError, match="4096 characters"):
        entries_of(tar_of(make("n" * (MAX_NAME_LENGTH + 1))))


@pytest.mark.parametrize("kind", [b"x", b"L", b"K"])
def test_two_headers_of_one_kind_for_one_entry_are_refused(kind: bytes) -> None:
    header = extended(b"9 path=a\n" if kind == b"x" else b"name\0", kind)
    with pytest.raises(InvalidLayerError):
        entries_of(header + header + tar_of(file("a")))


@pytest.mark.parametrize("kind", [b"D", b"M", b"V", b"N", b"A", b"\xff"])
def test_entries_of_unknown_types_are_refused(kind: bytes) -> None:
    with pytest.raises(InvalidLayerError, match="unknown type"):
        entries_of(patched(file("a"), 156, kind))


def test_memory_stays_flat_over_a_large_archive() -> None:
    class Endless:
        """Ten thousand files of zeros."""

        def __init__(self) -> None:
            block = tar_of(file("zeros", bytes(50_000)))[:-1024]
            self._pieces = iter([block] * 10_000)

        def read(self, size: int, /) -> bytes:
            return next(self._pieces, b"")[:size]

    tracemalloc.start()
    try:
        assert sum(1 for _ in TarReader(Endless())) == 10_000
        assert tracemalloc.get_traced_memory()[1] < 3_000_000
    finally:
        tracemalloc.stop()


NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=200)
NUMBERS = st.one_of(st.integers(0, 8**7), st.integers(0, 2**60))


@settings(max_examples=200)
@given(
    name=NAMES,
    link=NAMES,
    content=st.binary(max_size=1500),
    uid=NUMBERS,
    mtime=st.integers(-(2**40), 2**40),
    xattr=st.binary(max_size=100),
)
def test_what_our_writer_and_pythons_write_both_readers_read_alike(
    name: str, link: str, content: bytes, uid: int, mtime: int, xattr: bytes
) -> None:
    wanted = [
        Entry(name, uid=uid, size=len(content), mtime=mtime, xattrs={"user.x": xattr}),
        Entry(name, Kind.SYMLINK, link=link, mtime=mtime),
    ]
    out = io.BytesIO()
    writer = TarWriter(out.write)
    writer.add(wanted[0])
    writer.content(content)
    writer.add(wanted[1])
    writer.finish()
    reader = TarReader(io.BytesIO(out.getvalue()))
    assert [(entry, b"".join(iter(reader.read, b""))) for entry in reader] == [
        (wanted[0], content),
        (wanted[1], b""),
    ]
    with tarfile.open(fileobj=io.BytesIO(out.getvalue())) as theirs:
        found = theirs.getmembers()
        # Where a name is in a pax header, Python leaves out the slashes that it ends with.
        assert [info.name.rstrip("/") for info in found] == [name.rstrip("/")] * 2
        assert found[1].linkname == link
        read = theirs.extractfile(found[0])
        assert read is not None
        assert read.read() == content


@settings(max_examples=300)
@given(data=st.data())
def test_whatever_is_read_is_entries_or_a_clean_error(data: st.DataObject) -> None:
    archive = bytearray(
        data.draw(st.sampled_from(SEEDS)) if data.draw(st.booleans()) else data.draw(st.binary())
    )
    for _ in range(data.draw(st.integers(0, 6))):
        if archive:
            at = data.draw(st.integers(0, len(archive) - 1))
            archive[at] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        for begin in range(0, len(archive) - 511, 512):  # past the checksums, too
            block = archive[begin : begin + 148] + b" " * 8 + archive[begin + 156 : begin + 512]
            archive[begin + 148 : begin + 156] = b"%06o\0 " % sum(block)
    with contextlib.suppress(InvalidLayerError, ExpansionError):
        reader = TarReader(io.BytesIO(bytes(archive)), max_hole_bytes=100_000)
        for entry in reader:
            assert sum(map(len, iter(reader.read, b""))) == entry.size


SEEDS = [
    tar_of(folder("d"), file("d/f", b"content"), symlink("l", "d/f"), hardlink("h", "d/f")),
    tar_of(with_xattrs(file("ä" * 120, b"x" * 600), user__a=b"1"), hardlink("h" * 150, "d/f")),
    tar_of(file("n" * 150, b"x", uid=2**40), format_=tarfile.GNU_FORMAT),
    described(
        file("s", b"2\n0\n3\n512\n3\n".ljust(512, b"\0") + b"abcdef"),
        GNU__sparse__major=b"1",
        GNU__sparse__minor=b"0",
        GNU__sparse__name=b"sparse",
        GNU__sparse__realsize=b"2000",
    ),
    described(file("s", b"abcdef"), GNU__sparse__size=b"2000", GNU__sparse__map=b"0,3,512,3"),
]
