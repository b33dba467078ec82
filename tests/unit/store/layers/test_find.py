"""Single paths of the file system that layers add up to."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from tests.support.tars import (
    entries_of,
    facts_of,
    file,
    folder,
    hardlink,
    needs_umoci,
    source_of,
    symlink,
    tar_of,
    unpack,
)
from transship.store.errors import NotFoundError
from transship.store.layers.compose.find import MergedTree
from transship.store.layers.tar.reader import Kind

LAYERS = [
    tar_of(
        folder("etc", mode=0o700),
        file("etc/b", b"below"),
        file("etc/gone", b"x"),
        folder("etc/sub"),
        file("etc/sub/f", b"shared"),
        symlink("conf", "/etc"),
        symlink("etc/link", "b"),
    ),
    tar_of(file("etc/b", b"above"), file("etc/.wh.gone"), hardlink("outside", "etc/sub/f")),
    tar_of(hardlink("etc/a", "etc/sub/f")),
]


@pytest.fixture
def tree() -> MergedTree:
    return MergedTree([source_of(layer) for layer in LAYERS])


def export(tree: MergedTree, path: str) -> bytes:
    out = io.BytesIO()
    tree.export(path, out.write)
    return out.getvalue()


def test_a_file_is_a_tar_of_its_base_name(tree: MergedTree) -> None:
    found = entries_of(export(tree, "/etc/b"))
    assert {name: content for name, (_, content) in found.items()} == {"b": b"above"}


def test_a_directory_brings_all_below_it_under_its_base_name(tree: MergedTree) -> None:
    found = entries_of(export(tree, "etc/"))
    assert {name: (entry.link, content) for name, (entry, content) in found.items()} == {
        "etc/": ("", b""),
        "etc/link": ("b", b""),
        "etc/sub/": ("", b""),
        "etc/a": ("", b"shared"),
        "etc/sub/f": ("etc/a", b""),  # links to names outside are not in the tar
        "etc/b": ("", b"above"),
    }
    assert found["etc/"][0].mode == 0o700


def test_the_root_is_all_of_it(tree: MergedTree) -> None:
    found = entries_of(export(tree, "/"))
    assert next(iter(found)) == "./"
    assert "etc/sub/f" in found
    assert "etc/gone" not in found


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("conf", ["conf"]),
        ("conf/", ["conf/", "conf/sub/"]),
        ("conf/.", ["./", "./sub/"]),
        ("etc/sub", ["sub/"]),
        ("etc/sub/", ["sub/"]),
        ("etc/sub/.", ["./"]),
        ("conf/sub/", ["sub/"]),
        ("/.", ["./", "./etc/", "./etc/sub/"]),
    ],
)
def test_a_slash_at_the_end_leads_through_a_link(
    tree: MergedTree, path: str, names: list[str]
) -> None:
    """As of `docker cp`: with `/.` the names begin with the directory itself."""
    found = entries_of(export(tree, path))
    assert [name for name in found if name.endswith("/") or name == "conf"][: len(names)] == names


@pytest.mark.parametrize("path", ["etc/b/", "etc/b/.", "etc/link/", "nothing/", "etc/sub/f/."])
def test_what_is_no_directory_has_nothing_below_it(tree: MergedTree, path: str) -> None:
    for ask in (tree.stat, lambda path: export(tree, path), lambda path: list(tree.list(path))):
        with pytest.raises(NotFoundError, match="no such directory"):
            ask(path)


def test_links_on_the_way_are_followed_and_one_at_the_end_is_not(tree: MergedTree) -> None:
    assert tree.stat("conf/b").size == 5
    assert tree.stat("conf/b").name == "conf/b"
    assert tree.stat("conf").kind is Kind.SYMLINK
    assert list(entries_of(export(tree, "conf"))) == ["conf"]


def test_a_listing_is_sorted_and_has_whole_paths(tree: MergedTree) -> None:
    listed = list(tree.list("etc"))
    assert [entry.name for entry in listed] == [
        "etc", "etc/a", "etc/b", "etc/link", "etc/sub", "etc/sub/f"
    ]  # fmt: skip
    assert [entry.size for entry in listed] == [0, 6, 5, 0, 0, 6]
    assert [entry.name for entry in tree.list()][:3] == [".", "conf", "etc"]


@pytest.mark.parametrize("path", ["nothing", "etc/gone", "etc/b/x", "etc/link/x", "/x"])
def test_what_is_not_there_is_not_found_and_nothing_is_written(path: str, tree: MergedTree) -> None:
    written: list[bytes] = []
    for ask in (
        tree.stat,
        lambda wanted: tree.export(wanted, written.append),
        lambda wanted: list(tree.list(wanted)),
    ):
        with pytest.raises(NotFoundError) as caught:
            ask(path)
        assert caught.value.subject == f"/{path.lstrip('/')}"
    assert written == []


@needs_umoci
def test_the_whole_of_an_image_is_what_umoci_makes_of_it(tree: MergedTree, tmp_path: Path) -> None:
    expected = facts_of(unpack(LAYERS, tmp_path / "image"))
    found = facts_of(unpack([export(tree, "/")], tmp_path / "export"))
    root = expected.pop(".")
    assert found.pop(".")._replace(mtime=root.mtime) == root
    assert found == expected
