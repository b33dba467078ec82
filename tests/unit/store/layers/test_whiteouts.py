"""Which names are whiteouts, and of what."""

from __future__ import annotations

import pytest

from transship.store.errors import InvalidLayerError
from transship.store.layers.compose.paths import join, parse_path
from transship.store.layers.compose.whiteouts import (
    Meaning,
    aufs_link_target,
    parse_whiteout,
    whiteout_name,
)


@pytest.mark.parametrize(
    ("name", "meaning", "path"),
    [
        (".wh.etc", Meaning.HIDES, "etc"),
        ("etc/.wh.passwd", Meaning.HIDES, "etc/passwd"),
        ("etc/.wh..hidden", Meaning.HIDES, "etc/.hidden"),
        ("etc/.wh....", Meaning.HIDES, "etc/..."),
        (".wh..wh..opq", Meaning.HIDES_CHILDREN, "."),
        ("etc/.wh..wh..opq", Meaning.HIDES_CHILDREN, "etc"),
        (".wh..wh.aufs", Meaning.NOTHING, ".wh..wh.aufs"),
        (".wh..wh.orph", Meaning.NOTHING, ".wh..wh.orph"),
        (".wh..wh.orph/12.34", Meaning.NOTHING, ".wh..wh.orph/12.34"),
        (".wh..wh.plnk", Meaning.NOTHING, ".wh..wh.plnk"),
        (".wh..wh.plnk/12.34", Meaning.AUFS_LINK, ".wh..wh.plnk/12.34"),
        (".wh..wh.plnk/12/34", Meaning.NOTHING, ".wh..wh.plnk/12/34"),
    ],
)
def test_a_whiteout_is_told_by_its_name(name: str, meaning: Meaning, path: str) -> None:
    whiteout = parse_whiteout(parse_path(name))
    assert whiteout is not None
    assert (whiteout.meaning, join(whiteout.path)) == (meaning, path)


@pytest.mark.parametrize("name", [".", "etc", "a.wh.b", ".whatever", "etc/.wh", "wh.a/.whb"])
def test_other_names_are_no_whiteouts(name: str) -> None:
    assert parse_whiteout(parse_path(name)) is None


@pytest.mark.parametrize(
    "name", [".wh.", "a/.wh.", ".wh..", "a/.wh..", ".wh...", "a/.wh...", ".wh.a/b", "a/.wh.../x"]
)
def test_a_whiteout_of_nothing_and_what_lies_below_one_are_refused(name: str) -> None:
    with pytest.raises(InvalidLayerError) as caught:
        parse_whiteout(parse_path(name))
    assert caught.value.subject == name


@pytest.mark.parametrize("name", ["etc", "etc/passwd", "etc/.hidden"])
def test_what_a_whiteout_is_called_says_what_it_hides(name: str) -> None:
    whiteout = parse_whiteout(parse_path(whiteout_name(name)))
    assert whiteout is not None
    assert (whiteout.meaning, join(whiteout.path)) == (Meaning.HIDES, name)


def test_links_to_what_aufs_left_behind_are_told_apart() -> None:
    assert aufs_link_target(parse_path("./.wh..wh.plnk/12.34")) == "12.34"
    assert aufs_link_target(parse_path("usr/.wh..wh.plnk/12.34")) is None
    assert aufs_link_target(parse_path(".wh..wh.plnk")) is None
    assert aufs_link_target(()) is None
