"""Squashing, against the file systems that umoci makes of images before and after."""

from __future__ import annotations

import io
import tarfile
import tracemalloc
from collections.abc import Sequence
from contextlib import AbstractContextManager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.layers import layer_files
from tests.support.tars import (
    MTIME,
    Facts,
    Member,
    described,
    entries_of,
    facts_of,
    file,
    folder,
    hardlink,
    needs_umoci,
    source_of,
    special,
    symlink,
    tar_of,
    unpack,
    with_xattrs,
)
from transship.store.errors import CancelledError, DecompressionError, InvalidLayerError, StoreError
from transship.store.layers.codecs.formats import Compression, Readable, open_writer
from transship.store.layers.compose.assemble import Assembled
from transship.store.layers.compose.difference import ChangeKind
from transship.store.layers.compose.squash import changes_of, squash
from transship.store.layers.sources import blob_source
from transship.store.layers.tar.reader import Entry, Kind
from transship.store.oci.digest import Digest

BASE = tar_of(
    folder("./", mode=0o755),
    folder("etc", mode=0o750, uid=10, gid=20),
    file("etc/setuid", b"first name", mode=0o4755, mtime=MTIME + 0.25),
    file("etc/other", b"other"),
    hardlink("etc/second", "etc/setuid"),
    folder("dir-to-file"),
    file("dir-to-file/in", b"q"),
    file("file-to-dir", b"file"),
    symlink("link", "etc/setuid"),
    symlink("lib", "usr/lib"),
    folder("usr"),
    folder("usr/lib"),
    file("usr/lib/one", b"1"),
    folder("opaque"),
    file("opaque/old", b"o"),
    folder("opaque/sub"),
    file("opaque/sub/z", b"z"),
    special("dev/tty", tarfile.CHRTYPE, devmajor=5, devminor=0),
    special("dev/loop0", tarfile.BLKTYPE, devmajor=7, devminor=0),
    special("fifo", tarfile.FIFOTYPE),
    with_xattrs(
        file("ping", b"c"),
        user__binary=b"\x00\xff\x01",
        security__capability=(
            b"\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
        ),
    ),
    with_xattrs(folder("labelled"), user__a=b"1", user__b=b"2"),
    file("empty"),
    file("ä" * 60, b"long names"),
)
CHANGED = tar_of(
    file("etc/.wh.setuid"),
    folder("etc", mode=0o700, uid=5, mtime=1_600_000_000),
    file("dir-to-file", b"now a file"),
    folder("file-to-dir"),
    file("file-to-dir/new", b"new"),
    file("lib/two", b"through a link"),
    hardlink("to-lower", "etc/other"),
    hardlink("to-symlink", "link"),
    file("opaque/new", b"new"),
    file("opaque/.wh..wh..opq"),
    hardlink("to-empty", "empty"),
    with_xattrs(folder("labelled"), user__b=b"3"),
)
REMOVED = tar_of(
    file(".wh.link"),
    file("etc/other", b"replaced, while a link to what it was stays"),
    file(".wh.fifo"),
    file("temporary", b"gone soon"),
    folder("temporary.d"),
    file("temporary.d/f", b"gone soon"),
    file("usr/.wh.lib"),
)
LAST = tar_of(
    file(".wh.temporary"),
    file(".wh.temporary.d"),
    file("repeated", b"1"),
    file("repeated", b"the last counts"),
    folder("usr/lib"),
    file("usr/lib/new", b"again"),
)
IMAGE = [BASE, CHANGED, REMOVED, LAST]


def squashed(
    layers: Sequence[bytes], onto: Sequence[bytes] = (), **options: Any
) -> tuple[bytes, Assembled]:
    out = io.BytesIO()
    report = squash(
        [source_of(layer) for layer in layers],
        out.write,
        onto=[source_of(layer) for layer in onto],
        **options,
    )
    return out.getvalue(), report


def compared(directory: Path, before: list[bytes], after: list[bytes]) -> None:
    """Unpack two images, and expect the same of both."""
    expected = facts_of(unpack(before, directory / "before"))
    found = facts_of(unpack(after, directory / "after"))
    for name in _undated(expected):
        expected[name] = expected[name]._replace(mtime=0)
        found[name] = found[name]._replace(mtime=0)
    assert found.keys() == expected.keys()
    assert {name: found[name] for name in expected if found[name] != expected[name]} == {}


def _undated(facts: dict[str, Facts]) -> list[str]:
    """Directories whose times are of today: no entry has them, or umoci made some in them."""
    return [name for name, fact in facts.items() if fact.mtime > 1_750_000_000 * 10**9]


# --- the same file system ----------------------------------------------------------------------


@needs_umoci
def test_forty_layers_make_the_same_file_system_as_one(tmp_path: Path) -> None:
    layers = [
        tar_of(*(Member(info, b"".join(data)) for info, data in layer_files("forty", n, 150_000)))
        for n in range(40)
    ]
    one, report = squashed(layers)
    assert report.size == len(one) < sum(map(len, layers))
    assert report.whiteouts == 0
    compared(tmp_path, layers, [one])


@needs_umoci
@pytest.mark.parametrize("below", range(4))
def test_deletions_replacements_and_links_make_the_same_file_system(
    below: int, tmp_path: Path
) -> None:
    kept, upper = IMAGE[:below], IMAGE[below:]
    one, _ = squashed(upper, kept)
    compared(tmp_path, IMAGE, [*kept, one])


NAMES = st.sampled_from(["a", "b", "a/a", "a/b", "b/a", "a/b/a", "b/a/b"])
MEMBERS = st.one_of(
    st.builds(file, NAMES, st.sampled_from([b"", b"x", b"yy"])),
    st.builds(folder, NAMES, mode=st.sampled_from([0o700, 0o755])),
    st.builds(lambda name, to: symlink(name, f"/{to}"), NAMES, NAMES),
    st.builds(hardlink, NAMES, NAMES),
    st.builds(lambda name: file("/.wh.".join(("./" + name).rsplit("/", 1))), NAMES),
    st.builds(lambda name: file(f"{name}/.wh..wh..opq"), NAMES),
)


def _meaning(layers: Sequence[bytes]) -> dict[str, tuple[Any, ...]]:
    """The file system of *layers* by path, with the names that share an inode."""
    found = entries_of(squashed(layers)[0])
    first: dict[str, str] = {
        name: entry.link if entry.kind is Kind.HARDLINK else name
        for name, (entry, _) in found.items()
    }
    return {
        name: (
            found[first[name]][0]._replace(name=""),
            found[first[name]][1],
            sorted(other for other in first if first[other] == first[name]),
        )
        for name in found
    }


@settings(max_examples=300)
@given(st.lists(st.lists(MEMBERS, max_size=6), min_size=1, max_size=4), st.integers(0, 3))
def test_any_split_of_any_layers_means_the_same(layers: list[list[Member]], below: int) -> None:
    image = [tar_of(*members) for members in layers]
    try:
        expected = _meaning(image)
    except InvalidLayerError:
        return
    kept = image[:below]
    one, _ = squashed(image[below:], kept)
    assert _meaning([*kept, one]) == expected


# --- the tar -----------------------------------------------------------------------------------


def test_the_report_names_the_tar() -> None:
    one, report = squashed(IMAGE)
    assert report.diff_id == Digest.of(one)
    assert report.size == len(one)
    assert report.entries == len(entries_of(one))


def test_parents_come_before_what_is_in_them_and_targets_before_links() -> None:
    for below in range(4):
        seen: set[str] = {"."}
        for name, (entry, _) in entries_of(squashed(IMAGE[below:], IMAGE[:below])[0]).items():
            path = name.rstrip("/")
            assert (path.rpartition("/")[0] or ".") in seen, name
            assert path == "." or path not in seen
            assert entry.kind is not Kind.HARDLINK or entry.link in seen
            seen.add(path)


def test_what_has_no_content_comes_first_and_sorted() -> None:
    entries = [entry for entry, _ in entries_of(squashed([CHANGED], [BASE])[0]).values()]
    content = [bool(entry.size) or entry.kind is Kind.HARDLINK for entry in entries]
    assert content.index(True) > 5
    names = [entry.name.rstrip("/").split("/") for entry in entries[: content.index(True)]]
    assert names[1:] == sorted(names[1:])


def test_the_first_name_carries_the_content_and_the_others_follow() -> None:
    layer = tar_of(file("z", b"content", mode=0o640), hardlink("a", "z"), hardlink("m", "z"))
    assert list(entries_of(squashed([layer])[0]).values()) == [
        (Entry("a", mode=0o640, size=7, mtime=MTIME * 10**9), b"content"),
        (Entry("m", Kind.HARDLINK, 0o640, mtime=MTIME * 10**9, link="a"), b""),
        (Entry("z", Kind.HARDLINK, 0o640, mtime=MTIME * 10**9, link="a"), b""),
    ]


def test_content_stays_when_the_name_that_brought_it_goes() -> None:
    layers = [tar_of(file("a", b"kept")), tar_of(hardlink("b", "a")), tar_of(file(".wh.a"))]
    assert entries_of(squashed(layers)[0])["b"][1] == b"kept"


def test_a_link_to_the_layers_below_brings_every_name_of_its_inode_along() -> None:
    below = tar_of(file("a", b"1"), file("b", b"2"), hardlink("c", "b"))
    found = entries_of(squashed([tar_of(hardlink("d", "c"))], [below])[0])
    assert {name: (entry.link, content) for name, (entry, content) in found.items()} == {
        "b": ("", b"2"),
        "c": ("b", b""),
        "d": ("b", b""),
    }


def test_deletions_are_explicit_and_name_the_top_of_what_is_gone() -> None:
    below = tar_of(folder("d"), file("d/a"), file("d/s/b"), folder("o"), file("o/a"), file("o/b"))
    upper = tar_of(file(".wh.d"), file("o/.wh..wh..opq"), file("o/a", b"new"))
    one, report = squashed([upper], [below])
    assert list(entries_of(one)) == [".wh.d", "o/", "o/.wh.b", "o/a"]
    assert report.whiteouts == 2


def test_a_directory_made_anew_hides_what_was_in_the_old_one() -> None:
    below = tar_of(folder("d", mode=0o700), file("d/a"), file("d/b"))
    layers = [tar_of(file(".wh.d")), tar_of(folder("d"), file("d/b"))]
    assert list(entries_of(squashed(layers, [below])[0])) == ["d/", "d/.wh.a", "d/b"]


def test_a_file_in_the_place_of_a_directory_needs_no_whiteouts() -> None:
    below = tar_of(folder("d"), file("d/a"), folder("d/s"))
    assert list(entries_of(squashed([tar_of(file("d"))], [below])[0])) == ["d"]


def test_what_was_created_and_removed_in_between_is_not_there() -> None:
    layers = [tar_of(file("a"), folder("d"), file("d/f")), tar_of(file(".wh.a"), file(".wh.d"))]
    assert entries_of(squashed(layers, [tar_of(file("x"))])[0]) == {}


def test_what_was_written_again_counts_as_changed() -> None:
    layer = tar_of(file("a", b"same"))
    assert list(entries_of(squashed([layer], [layer])[0])) == ["a"]


def test_a_change_brings_the_directories_on_the_way_along() -> None:
    below = tar_of(folder("a", mode=0o700), folder("a/b", mode=0o711, uid=3), folder("c"))
    found = entries_of(squashed([tar_of(file("a/b/f"))], [below])[0])
    assert [(entry.name, entry.mode, entry.uid) for entry, _ in found.values()] == [
        ("a/", 0o700, 0),
        ("a/b/", 0o711, 3),
        ("a/b/f", 0o644, 0),
    ]


def test_nothing_on_nothing_is_an_empty_tar() -> None:
    assert squashed([]) == squashed([tar_of()])
    assert squashed([])[0] == bytes(1024)


def test_sparse_files_become_plain() -> None:
    layer = described(file("s", b"abc"), GNU__sparse__size=b"9", GNU__sparse__map=b"1,2,7,1")
    assert entries_of(squashed([layer])[0])["s"][1] == b"\0ab\0\0\0\0c\0"


def test_the_same_layers_make_the_same_tar_whatever_their_compression() -> None:
    wanted, report = squashed(IMAGE)
    for compression in (Compression.GZIP, Compression.ZSTD):
        blobs = []
        for layer in IMAGE:
            out = io.BytesIO()
            writer = open_writer(compression, out.write)
            writer.write(layer)
            writer.finish()
            blobs.append(out.getvalue())
        found = io.BytesIO()
        sources = [blob_source(lambda blob=blob: io.BytesIO(blob)) for blob in blobs]  # type: ignore[misc]
        assert squash(sources, found.write) == report
        assert found.getvalue() == wanted


def test_times_are_clamped_and_whiteouts_have_the_clamp_or_zero() -> None:
    layer = tar_of(
        file("old", mtime=100), file("new", b"x", mtime=300.5), hardlink("h", "new"), file(".wh.b")
    )
    below = [tar_of(file("b"))]

    def times(clamp: int | None) -> dict[str, int]:
        found = entries_of(squashed([layer], below, clamp=clamp)[0])
        return {name: entry.mtime for name, (entry, _) in found.items()}

    assert times(None) == {
        "old": 100 * 10**9, "h": 300_500_000_000, "new": 300_500_000_000, ".wh.b": 0
    }  # fmt: skip
    assert times(200) == {
        "old": 100 * 10**9, "h": 200 * 10**9, "new": 200 * 10**9, ".wh.b": 200 * 10**9
    }  # fmt: skip


# --- what goes wrong ---------------------------------------------------------------------------


def test_an_error_says_which_layer_and_which_entry() -> None:
    with pytest.raises(InvalidLayerError) as caught:
        squashed([BASE, tar_of(file("a"), hardlink("b", "nothing"))])
    assert caught.value.subject == "layer 2: b"


def test_a_damaged_layer_is_an_error_even_where_nothing_of_it_stays() -> None:
    blob = io.BytesIO()
    writer = open_writer(Compression.GZIP, blob.write)
    writer.write(tar_of(file("a", b"gone")))
    writer.finish()
    damaged = blob_source(lambda: io.BytesIO(blob.getvalue()[:-4]), subject="sha256:ab")
    with pytest.raises(DecompressionError) as caught:
        squash([damaged, source_of(tar_of(file(".wh.a")))], lambda _: None)
    assert caught.value.subject == "layer 1: sha256:ab"


def test_layers_that_change_between_the_readings_are_noticed() -> None:
    for second in (tar_of(file("a", b"other")), tar_of(file("b", b"one")), tar_of()):
        answers = iter([tar_of(file("a", b"one")), second])

        def changing(answers: Any = answers) -> AbstractContextManager[Readable]:
            return io.BytesIO(next(answers))

        with pytest.raises(StoreError, match="a moment ago"):
            squash([changing], lambda _: None)


def test_squashing_can_be_stopped_at_any_check() -> None:
    class Countdown:
        def __init__(self, left: int) -> None:
            self.left = left

        def __call__(self) -> None:
            self.left -= 1
            if self.left < 0:
                raise CancelledError("stop")

    whole = Countdown(10**6)
    squashed(IMAGE, check=whole)
    checks = 10**6 - whole.left
    assert checks > 2 * len(IMAGE)
    for left in range(checks):
        with pytest.raises(CancelledError):
            squashed(IMAGE, check=Countdown(left))


def test_only_layers_that_something_stays_of_are_read_again() -> None:
    opened: list[int] = []

    def counted(number: int, layer: bytes) -> Any:
        def opening() -> AbstractContextManager[Readable]:
            opened.append(number)
            return io.BytesIO(layer)

        return opening

    layers = [tar_of(file("a", b"1")), tar_of(file("b", b"2")), tar_of(file(".wh.a"))]
    squash([counted(number, layer) for number, layer in enumerate(layers)], lambda _: None)
    assert opened == [0, 1, 2, 1]


def test_memory_does_not_go_with_the_size_of_files() -> None:
    piece = tar_of(file("f", bytes(40_000_000)))
    layers = [source_of(piece)] * 5
    tracemalloc.start()
    try:
        report = squash(layers, lambda _: None)
        assert report.size > 40_000_000
        assert tracemalloc.get_traced_memory()[1] < 3_000_000
    finally:
        tracemalloc.stop()


# --- changes -----------------------------------------------------------------------------------


def test_changes_have_dockers_letters() -> None:
    upper = tar_of(file("etc/.wh.other"), file("ping", b"new"), folder("new"), file("new/f"))
    found = changes_of([source_of(upper)], onto=[source_of(BASE)])
    assert [(changed.change, changed.path) for changed in found] == [
        (ChangeKind.CHANGED, "."),
        (ChangeKind.CHANGED, "etc"),
        (ChangeKind.DELETED, "etc/other"),
        (ChangeKind.ADDED, "new"),
        (ChangeKind.ADDED, "new/f"),
        (ChangeKind.CHANGED, "ping"),
    ]
    assert [change.value for change in ChangeKind] == ["C", "A", "D"]


def test_changes_are_sorted_within_each_directory() -> None:
    names = [changed.path for changed in changes_of([source_of(layer) for layer in IMAGE])]
    for before, after in pairwise(names[1:]):
        assert before.split("/") < after.split("/")
