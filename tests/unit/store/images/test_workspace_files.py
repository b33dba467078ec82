"""Files that are put into workspaces: where they go, what they replace, what is refused."""

from __future__ import annotations

import gzip
import io
import tarfile

import pytest
import zstandard

from tests.support.memory_store import MemoryStore
from tests.support.tars import (
    Member,
    entries_of,
    file,
    folder,
    hardlink,
    source_of,
    special,
    symlink,
    tar_of,
)
from transship.store.errors import InvalidArchiveError, NotFoundError, RequestError, Side
from transship.store.images.build.new_layer import MadeLayer
from transship.store.layers.compose.find import MergedTree
from transship.store.oci.digest import Digest
from transship.store.workspaces import files
from transship.store.workspaces.workspaces import sources

BASE = tar_of(
    folder("etc"),
    file("etc/kept", b"kept"),
    file("etc/gone", b"gone"),
    folder("usr"),
    folder("usr/lib"),
    file("usr/lib/old", b"old"),
    symlink("lib", "usr/lib"),
    symlink("absolute", "/usr"),
    symlink("loop", "loop"),
    symlink("etc/dangling", "../usr/nothing"),
)


class Bench:
    """Layers on top of each other, the base's lowest."""

    def __init__(self, *tars: bytes) -> None:
        self.content = MemoryStore()
        self.layers = [source_of(tar) for tar in tars]

    def put(self, directory: str, *members: Member) -> MadeLayer:
        return self.put_raw(directory, tar_of(*members))

    def put_raw(self, directory: str, body: bytes) -> MadeLayer:
        return self._on_top(files.put(io.BytesIO(body), directory, self.layers, self.content, "me"))

    def remove(self, path: str) -> MadeLayer:
        return self._on_top(files.remove(path, self.layers, self.content, "me"))

    def _on_top(self, made: MadeLayer) -> MadeLayer:
        self.layers += sources([made.digest], self.content)
        return made

    def paths(self) -> list[str]:
        return [entry.name for entry in MergedTree(self.layers).list()]

    def read(self, path: str) -> bytes:
        """The content of a file."""
        out = io.BytesIO()
        MergedTree(self.layers).export(path, out.write)
        ((_, content),) = entries_of(out.getvalue()).values()
        return content


@pytest.fixture
def bench() -> Bench:
    return Bench(BASE)


def test_files_go_below_the_directory(bench: Bench) -> None:
    bench.put("/etc", file("new", b"new"), folder("more"), file("more/of", b"it"))
    assert bench.read("etc/new") == b"new"
    assert bench.read("etc/more/of") == b"it"
    assert bench.read("etc/kept") == b"kept"


def test_an_absolute_name_counts_from_the_directory(bench: Bench) -> None:
    bench.put("/etc", file("/etc/absolute", b"x"))
    assert "etc/etc/absolute" in bench.paths()


def test_a_file_replaces_what_has_its_name(bench: Bench) -> None:
    bench.put("/", file("etc/kept", b"other"), file("usr", b"a file now"))
    assert bench.read("etc/kept") == b"other"
    assert not [path for path in bench.paths() if path.startswith("usr/")]


@pytest.mark.parametrize("directory", ["/lib", "lib/", "/absolute/lib", "/etc/../lib"])
def test_links_on_the_way_are_followed_and_stay_links(bench: Bench, directory: str) -> None:
    made = bench.put(directory, file("new", b"new"))
    layer = gzip.decompress(bench.content.open(made.digest).read())
    assert list(entries_of(layer)) == ["usr/lib/new"]
    assert bench.read("usr/lib/new") == b"new"
    assert "lib" in bench.paths()


def test_the_targets_of_hard_links_move_along(bench: Bench) -> None:
    bench.put("/etc", file("one", b"1"), hardlink("two", "one"), hardlink("three", "kept"))
    assert bench.read("etc/two") == b"1"
    assert bench.read("etc/three") == b"kept"


def test_symbolic_links_point_where_they_did(bench: Bench) -> None:
    bench.put("/etc", symlink("link", "kept"), symlink("away", "/usr"))
    tree = MergedTree(bench.layers)
    assert [tree.stat(path).link for path in ("etc/link", "etc/away")] == ["kept", "/usr"]


@pytest.mark.parametrize(
    "body", [gzip.compress(BASE), zstandard.compress(BASE), BASE], ids=["gzip", "zstd", "plain"]
)
def test_any_compression_will_do(body: bytes) -> None:
    bench = Bench(tar_of(folder("srv")))
    bench.put_raw("/srv", body)
    assert bench.read("srv/etc/kept") == b"kept"


def test_what_is_made_is_what_it_says(bench: Bench) -> None:
    made = bench.put("/", file("new", b"new"))
    blob = bench.content.open(made.digest).read()
    plain = gzip.decompress(blob)
    assert (made.digest, made.size) == (Digest.of(blob), len(blob))
    assert (made.diff_id, made.diff_size) == (Digest.of(plain), len(plain))


@pytest.mark.parametrize(
    ("directory", "kind"),
    [
        ("/nowhere", NotFoundError),
        ("/etc/kept/below", RequestError),
        ("/etc/kept", RequestError),
        ("/loop", RequestError),
        ("../out", RequestError),
    ],
)
def test_it_has_to_be_a_directory(bench: Bench, directory: str, kind: type[Exception]) -> None:
    with pytest.raises(kind):
        bench.put(directory, file("new"))


@pytest.mark.parametrize(
    "member",
    [
        file("../outside"),
        file(".wh.gone"),
        file("etc/.wh..wh..opq"),
        hardlink("link", "nowhere"),
        hardlink("link", "../../etc/kept"),
        file("."),
        file("kept/below a file"),
        file("good/below a file of the tar"),
        file("dangling/behind a link"),
    ],
    ids=lambda member: f"{member.info.name} {member.info.linkname}",
)
def test_what_cannot_be_put_is_refused_and_leaves_nothing(bench: Bench, member: Member) -> None:
    with pytest.raises(InvalidArchiveError) as refused:
        bench.put("/etc", file("good", b"good"), member)
    assert refused.value.side == Side.REQUEST
    assert list(bench.content.digests()) == []
    assert bench.content.discard_drafts("me") == 0


@pytest.mark.parametrize(
    "body", [b"nonsense" * 100, BASE[:700], gzip.compress(BASE)[:60]], ids=["none", "cut", "gzip"]
)
def test_a_broken_tar_is_refused(bench: Bench, body: bytes) -> None:
    with pytest.raises(InvalidArchiveError):
        bench.put_raw("/", body)
    assert list(bench.content.digests()) == []


def test_devices_and_pipes_are_only_entries(bench: Bench) -> None:
    bench.put("/", special("null", tarfile.CHRTYPE, devmajor=1, devminor=3))
    entry = MergedTree(bench.layers).stat("null")
    assert (entry.major, entry.minor) == (1, 3)


def test_a_removed_path_is_gone_with_all_below_it(bench: Bench) -> None:
    bench.remove("/etc/gone")
    bench.remove("/usr/")
    assert bench.paths() == [".", "absolute", "etc", "etc/dangling", "etc/kept", "lib", "loop"]


def test_a_link_is_removed_and_not_what_it_points_to(bench: Bench) -> None:
    bench.remove("/lib")
    assert "lib" not in bench.paths()
    assert "usr/lib/old" in bench.paths()


def test_a_path_behind_a_link_is_removed_where_it_is(bench: Bench) -> None:
    bench.remove("/lib/old")
    assert "usr/lib/old" not in bench.paths()
    assert "lib" in bench.paths()


def test_what_was_removed_can_be_put_again(bench: Bench) -> None:
    bench.remove("/etc")
    bench.put("/", folder("etc"), file("etc/kept", b"again"))
    assert bench.read("etc/kept") == b"again"
    assert "etc/gone" not in bench.paths()


@pytest.mark.parametrize(
    ("path", "kind"),
    [("/", RequestError), ("/nowhere", NotFoundError), ("/nowhere/at/all", NotFoundError)],
)
def test_what_is_not_there_cannot_be_removed(
    bench: Bench, path: str, kind: type[Exception]
) -> None:
    with pytest.raises(kind):
        bench.remove(path)
    assert list(bench.content.digests()) == []
