"""What layers add up to, rule by rule."""

from __future__ import annotations

import io
import tarfile

import pytest

from tests.support.tars import (
    Member,
    file,
    folder,
    hardlink,
    special,
    symlink,
    tar_of,
    with_xattrs,
)
from transship.store.errors import ExpansionError, InvalidLayerError
from transship.store.layers.compose.paths import parse_path
from transship.store.layers.compose.tree import Directory, Inode, Tree
from transship.store.layers.tar.reader import Kind, TarReader


def tree_of(*layers: list[Member]) -> Tree:
    tree = Tree()
    for layer in layers:
        tree.apply(TarReader(io.BytesIO(tar_of(*layer))))
    return tree


def paths_of(tree: Tree) -> list[str]:
    found: list[str] = []

    def walk(prefix: str, directory: Directory) -> None:
        for name, child in sorted(directory.children.items()):
            found.append(f"{prefix}{name}")
            if isinstance(child, Directory):
                walk(f"{prefix}{name}/", child)

    walk("", tree.root)
    return found


def at(tree: Tree, path: str) -> Inode:
    found = tree.find(parse_path(path))
    assert found is not None, path
    return found


def test_a_missing_parent_is_made() -> None:
    tree = tree_of([file("a/b/c")])
    parent = at(tree, "a/b")
    assert isinstance(parent, Directory)
    assert not parent.described
    assert (parent.entry.mode, parent.entry.uid, parent.entry.mtime) == (0o755, 0, 0)


def test_a_directory_over_a_directory_changes_its_attributes_and_keeps_what_is_in_it() -> None:
    tree = tree_of(
        [with_xattrs(folder("d", mode=0o700, uid=1), user__a=b"1"), file("d/f")],
        [folder("d", mode=0o1777, uid=2)],
    )
    directory = at(tree, "d")
    assert (directory.entry.mode, directory.entry.uid) == (0o1777, 2)
    assert directory.entry.xattrs == {}
    assert paths_of(tree) == ["d", "d/f"]


@pytest.mark.parametrize(
    "over", [file("x"), symlink("x", "y"), special("x", tarfile.FIFOTYPE), hardlink("x", "other")]
)
def test_anything_else_over_a_directory_replaces_it_with_all_in_it(over: Member) -> None:
    tree = tree_of([file("other"), folder("x"), file("x/f"), folder("x/d")], [over])
    assert paths_of(tree) == ["other", "x"]


@pytest.mark.parametrize("under", [file("x"), symlink("x", "y"), special("x", tarfile.FIFOTYPE)])
def test_a_directory_replaces_anything_else(under: Member) -> None:
    tree = tree_of([folder("y"), under], [folder("x"), file("x/f")])
    assert paths_of(tree) == ["x", "x/f", "y"]


def test_a_file_in_the_way_of_a_directory_that_is_not_described_gives_place() -> None:
    assert paths_of(tree_of([file("x")], [file("x/f")])) == ["x", "x/f"]


def test_the_root_is_a_directory_or_nothing() -> None:
    assert tree_of([folder("./", mode=0o711)]).root.entry.mode == 0o711
    for member in (symlink(".", "/etc"), file("/"), symlink("a/..", "b"), hardlink("./", "a")):
        with pytest.raises(InvalidLayerError, match="root"):
            tree_of([file("a")], [member])


def test_of_repeated_entries_the_last_counts() -> None:
    tree = tree_of([file("a", b"1"), symlink("a", "b"), file("a", b"three")])
    assert (at(tree, "a").entry.size, at(tree, "a").position) == (5, 2)


# --- whiteouts ---------------------------------------------------------------------------------


@pytest.mark.parametrize("reverse", [False, True])
def test_a_whiteout_hides_what_is_below_its_layer_and_nothing_in_it(reverse: bool) -> None:
    upper = [file(".wh.d"), file("d/new"), file(".wh.f"), file("f", b"new")]
    tree = tree_of(
        [folder("d", mode=0o700), file("d/old"), file("f", b"old one")],
        upper[::-1] if reverse else upper,
    )
    assert paths_of(tree) == ["d", "d/new", "f"]
    assert at(tree, "f").entry.size == 3
    assert at(tree, "d").entry.mode == 0o755  # the hidden directory's attributes are gone, too


@pytest.mark.parametrize("reverse", [False, True])
def test_an_opaque_directory_hides_what_is_below_its_layer(reverse: bool) -> None:
    upper = [file("d/.wh..wh..opq"), file("d/new"), file("d/sub/new")]
    tree = tree_of(
        [folder("d", mode=0o700), file("d/old"), file("d/sub/old"), file("e")],
        upper[::-1] if reverse else upper,
    )
    assert paths_of(tree) == ["d", "d/new", "d/sub", "d/sub/new", "e"]
    assert at(tree, "d").entry.mode == 0o700


def test_the_whole_image_may_be_hidden() -> None:
    assert paths_of(tree_of([file("a/b")], [file(".wh..wh..opq"), file("c")])) == ["c"]


def test_a_whiteout_of_what_is_not_there_hides_nothing() -> None:
    tree = tree_of(
        [file("a")], [file(".wh.b"), file("x/.wh.y"), file("a/.wh.b"), file("z/.wh..wh..opq")]
    )
    assert paths_of(tree) == ["a"]


@pytest.mark.parametrize("whiteout", ["lib/.wh..wh..opq", "lib/.wh.x"])
@pytest.mark.parametrize("first", [False, True])
def test_a_whiteout_in_a_directory_that_replaces_a_link_does_not_reach_through_the_link(
    whiteout: str, first: bool
) -> None:
    upper = [folder("lib"), file("lib/new")]
    upper.insert(0 if first else 2, file(whiteout))
    tree = tree_of([file("usr/lib/x"), symlink("lib", "usr/lib")], upper)
    assert paths_of(tree) == ["lib", "lib/new", "usr", "usr/lib", "usr/lib/x"]


def test_a_whiteout_reaches_through_a_link_that_stays() -> None:
    tree = tree_of([file("usr/lib/x"), symlink("lib", "usr/lib")], [file("lib/.wh.x")])
    assert paths_of(tree) == ["lib", "usr", "usr/lib"]


def test_aufs_left_overs_are_skipped_and_their_links_resolved() -> None:
    tree = tree_of(
        [
            file(".wh..wh.aufs"),
            folder(".wh..wh.orph"),
            folder(".wh..wh.plnk"),
            hardlink("early", "/.wh..wh.plnk/1.2"),
            file(".wh..wh.plnk/1.2", b"content"),
            hardlink("late", ".wh..wh.plnk/1.2"),
        ]
    )
    assert paths_of(tree) == ["early", "late"]
    assert at(tree, "early") is at(tree, "late")
    assert at(tree, "late").entry.size == 7


def test_aufs_links_belong_to_their_layer() -> None:
    with pytest.raises(InvalidLayerError, match="not there"):
        tree_of([file(".wh..wh.plnk/1.2")], [hardlink("a", ".wh..wh.plnk/1.2")])


# --- hard links --------------------------------------------------------------------------------


def test_a_hard_link_shares_the_inode_that_its_target_has_at_that_moment() -> None:
    tree = tree_of(
        [file("a", b"first")],
        [hardlink("b", "a"), file("a", b"second, in the same layer")],
        [file(".wh.a"), hardlink("c", "b")],
    )
    assert paths_of(tree) == ["b", "c"]
    assert at(tree, "b") is at(tree, "c")
    assert at(tree, "b").entry.size == 5


def test_a_hard_link_to_a_symbolic_link_is_another_name_of_the_link() -> None:
    tree = tree_of([file("a"), symlink("l", "a"), hardlink("h", "l")])
    assert at(tree, "h").entry.kind is Kind.SYMLINK


def test_a_hard_link_reaches_its_target_through_linked_directories() -> None:
    tree = tree_of([file("usr/bin/sh"), symlink("bin", "usr/bin")], [hardlink("sh", "bin/sh")])
    assert at(tree, "sh") is at(tree, "usr/bin/sh")


def test_a_layer_may_link_to_what_it_hides() -> None:
    tree = tree_of(
        [file("d/a"), file("e/b")],
        [hardlink("x", "d/a"), hardlink("y", "e/b"), file(".wh.d"), file("e/.wh..wh..opq")],
    )
    assert paths_of(tree) == ["e", "x", "y"]


@pytest.mark.parametrize("target", ["nothing", "d", ".", "a/b", "later"])
def test_a_hard_link_to_nothing_or_a_directory_is_refused(target: str) -> None:
    with pytest.raises(InvalidLayerError, match="hard link") as caught:
        tree_of([folder("d"), file("a"), hardlink("h", target), file("later")])
    assert caught.value.subject == "h"


def test_a_hard_link_to_itself_changes_nothing() -> None:
    assert paths_of(tree_of([file("a", b"x"), hardlink("a", "./a")])) == ["a"]


# --- the root is not left ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "target", ["/usr/lib", "usr/lib", "../../usr/lib", "/../usr/./lib", "other", "/other/"]
)
def test_links_on_the_way_are_followed_within_the_image(target: str) -> None:
    tree = tree_of(
        [folder("usr/lib"), symlink("other", "usr/lib"), symlink("lib", target)], [file("lib/x")]
    )
    assert "usr/lib/x" in paths_of(tree)


def test_a_link_that_leads_nowhere_leads_to_what_is_made_there() -> None:
    tree = tree_of([symlink("a", "../../../tmp/evil")], [file("a/x")])
    assert paths_of(tree) == ["a", "tmp", "tmp/evil", "tmp/evil/x"]


@pytest.mark.parametrize(
    "members",
    [
        [file("../x")],
        [file("a/../../x")],
        [file("/../x")],
        [hardlink("h", "../../etc/passwd")],
        [file("../.wh.x")],
        [folder("..")],
    ],
)
def test_names_and_link_targets_that_lead_out_of_the_image_are_refused(
    members: list[Member],
) -> None:
    with pytest.raises(InvalidLayerError, match="leads out"):
        tree_of(members)


@pytest.mark.parametrize(
    "links",
    [
        [symlink("a", "a")],
        [symlink("a", "b"), symlink("b", "a")],
        [symlink("a", "a/a")],
        [symlink("a", "./" * 2000 + "a")],
    ],
)
def test_links_in_a_circle_are_refused(links: list[Member]) -> None:
    with pytest.raises(InvalidLayerError, match="too many symbolic links"):
        tree_of(links, [file("a/x")])


def test_links_cannot_make_a_path_grow_without_end() -> None:
    deep = "d/" * 1000
    layers = [[folder(deep + "e")], [symlink("s", deep), symlink(deep + "t", deep[:-2])]]
    layers += [[symlink(deep + "u", "/s/e"), folder("s/e/" + deep + "e")]]
    layers += [[file("s/e/" + deep + "e/" + deep + "x")]]
    with pytest.raises(InvalidLayerError, match="too long"):
        tree_of(*layers)


def test_the_memory_that_entries_take_is_bounded() -> None:
    tree = Tree(max_metadata_bytes=10_000)
    members = [file(f"f{number}") for number in range(30)]
    with pytest.raises(ExpansionError, match="10 kB"):
        tree.apply(TarReader(io.BytesIO(tar_of(*members))))
    with pytest.raises(ExpansionError):
        Tree(max_metadata_bytes=2000).apply(
            TarReader(io.BytesIO(tar_of(with_xattrs(file("a"), user__x=b"v" * 1800))))
        )


def test_a_snapshot_stays_as_it_was() -> None:
    tree = tree_of([folder("d", mode=0o700), file("d/a")])
    before = tree.snapshot()
    tree.apply(TarReader(io.BytesIO(tar_of(folder("d", mode=0o755), file("d/.wh.a"), file("b")))))
    directory = before.children["d"]
    assert isinstance(directory, Directory)
    assert directory.entry.mode == 0o700
    assert list(directory.children) == ["a"]
    assert list(before.children) == ["d"]
