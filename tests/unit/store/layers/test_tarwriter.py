"""The tar writer: plain headers where they do, the same bytes every time."""

from __future__ import annotations

import io
import tarfile

import pytest

from transship.store.layers.tar.reader import Entry, Kind
from transship.store.layers.tar.writer import TarWriter, header


def test_an_entry_that_ustar_can_hold_is_one_block() -> None:
    for entry in (
        Entry("a" * 100),
        Entry("d" * 155 + "/" + "n" * 100, size=8**11 - 1, uid=8**7 - 1, mtime=(8**11 - 1) * 10**9),
        Entry("l", Kind.SYMLINK, link="t" * 100),
        Entry("dev", Kind.CHARACTER, major=1, minor=2**20 - 1),
    ):
        assert len(header(entry)) == 512


@pytest.mark.parametrize(
    "entry",
    [
        Entry("a" * 101),
        Entry("d" * 156 + "/n"),
        Entry("ä"),
        Entry("l", Kind.SYMLINK, link="t" * 101),
        Entry("l", Kind.SYMLINK, link="ß"),
        Entry("a", mtime=1),
        Entry("a", mtime=-1),
        Entry("a", mtime=8**11 * 10**9),
        Entry("a", uid=8**7),
        Entry("a", size=8**11),
        Entry("a", xattrs={"user.x": b"1"}),
    ],
)
def test_one_that_it_cannot_hold_has_an_extended_header(entry: Entry) -> None:
    assert header(entry)[156:157] == b"x"


def test_headers_hold_no_more_than_the_entry() -> None:
    block = header(Entry("name", mode=0o4755, uid=1, gid=2, size=3, mtime=4 * 10**9))
    info = tarfile.TarInfo.frombuf(block, "utf-8", "strict")
    assert (info.name, info.mode, info.uid, info.gid) == ("name", 0o4755, 1, 2)
    assert (info.size, info.mtime, info.uname, info.gname) == (3, 4, "", "")


def test_directories_end_in_a_slash_and_only_files_have_a_size() -> None:
    assert header(Entry("dir", Kind.DIRECTORY)) == header(Entry("dir/", Kind.DIRECTORY))
    assert header(Entry("dir/", Kind.DIRECTORY)).startswith(b"dir/\0")
    assert header(Entry("l", Kind.HARDLINK, size=5, link="a"))[124:135] == b"0" * 11


def test_extended_records_are_sorted() -> None:
    data = header(Entry("ä", xattrs={"user.b": b"2", "user.a": b"1"}, extra={"MSWINDOWS.x": b"3"}))
    places = [
        data.index(key) for key in (b"MSWINDOWS.x", b"SCHILY.xattr.user.a", b"user.b", b" path=")
    ]
    assert places == sorted(places)
    assert data == header(
        Entry("ä", xattrs={"user.a": b"1", "user.b": b"2"}, extra={"MSWINDOWS.x": b"3"})
    )


def test_records_count_their_own_digits() -> None:
    for length in range(80, 110):
        data = header(Entry("a", xattrs={"u": b"v" * length}))
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            assert archive.getmembers()[0].pax_headers == {"SCHILY.xattr.u": "v" * length}


def test_the_end_is_two_blocks_without_padding() -> None:
    out = io.BytesIO()
    writer = TarWriter(out.write)
    writer.add(Entry("a", size=3))
    writer.content(b"ab")
    writer.content(b"c")
    writer.finish()
    assert out.getvalue()[512:] == b"abc" + bytes(509 + 1024)
    assert writer.size == 2048


def test_content_must_be_as_long_as_the_entry_says() -> None:
    writer = TarWriter(lambda _: None)
    writer.add(Entry("a", size=3))
    with pytest.raises(ValueError, match="more content"):
        writer.content(b"abcd")
    writer.content(b"ab")
    with pytest.raises(ValueError, match="less content"):
        writer.add(Entry("b"))
    with pytest.raises(ValueError, match="less content"):
        writer.finish()
