"""Versions in tags, and ranges of them, as Masterminds/semver has them."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transship.store.errors import InvalidSelectionError
from transship.workers.mirrors.versions import Range, Version


@pytest.mark.parametrize(
    ("tag", "core", "pre"),
    [
        ("1", (1, 0, 0), ""),
        ("v1.2", (1, 2, 0), ""),
        ("3.20.1", (3, 20, 1), ""),
        ("1.13-alpine", (1, 13, 0), "alpine"),
        ("1.0.0-rc.1", (1, 0, 0), "rc.1"),
    ],
)
def test_a_tag_is_read_leniently(tag: str, core: tuple[int, int, int], pre: str) -> None:
    assert Version.parse(tag) == Version(core, pre)


@pytest.mark.parametrize("tag", ["latest", "", "1.2.3.4", "v", "1.x", "1_2", "version1", "9" * 40])
def test_what_is_no_version_is_none(tag: str) -> None:
    assert Version.parse(tag) is None


def test_versions_are_ordered_as_semver_has_it() -> None:
    ordered = [
        "1.0.0-1", "1.0.0-2", "1.0.0-10", "1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta",
        "1.0.0-beta.2", "1.0.0-beta.11", "1.0.0-rc.1", "1.0.0", "1.0.1", "1.2.0", "1.10.0", "2.0.0",
    ]  # fmt: skip
    versions = [Version.parse(text) for text in reversed(ordered)]
    assert [Version.parse(text) for text in ordered] == sorted(v for v in versions if v is not None)


@pytest.mark.parametrize(
    ("text", "yes", "no"),
    [
        (">= 3.12.0", ["3.12", "3.20.1", "4"], ["3.11.9", "3.13-rc1"]),
        (">=1.2 <3", ["1.2", "2.9.9"], ["1.1", "3", "3.0.1"]),
        (">=1.2, <3", ["1.2", "2.9.9"], ["1.1", "3"]),
        ("1.2 || ~4.1", ["1.2.0", "1.2.9", "4.1.7"], ["1.3", "4.2", "4.0"]),
        ("=1.2.3", ["1.2.3", "v1.2.3"], ["1.2.4"]),
        ("!=1.2", ["1.3", "1.1"], ["1.2", "1.2.5"]),
        ("!=1.2.3", ["1.2.4"], ["1.2.3"]),
        (">11", ["12", "12.1"], ["11", "11.5"]),
        (">11.1", ["11.2", "12"], ["11.1.5"]),
        (">11.1.1", ["11.1.2"], ["11.1.1"]),
        ("<=2", ["2", "2.9"], ["3"]),
        ("<=2.1", ["2.1.9", "2.0"], ["2.2"]),
        ("=<2.1.1", ["2.1.1"], ["2.1.2"]),
        ("<2", ["1.9.9"], ["2"]),
        ("~1", ["1.0", "1.9"], ["2", "0.9"]),
        ("~1.2", ["1.2.9"], ["1.3", "1.1"]),
        ("~>1.2.3", ["1.2.3", "1.2.9"], ["1.2.2", "1.3"]),
        ("^1.2.3", ["1.2.3", "1.9"], ["2", "1.2.2"]),
        ("^0.2.3", ["0.2.3", "0.2.9"], ["0.3", "0.2.2"]),
        ("^0.0.3", ["0.0.3"], ["0.0.4", "0.0.2"]),
        ("^0.0", ["0.0.1", "0.0.9"], ["0.1"]),
        ("^0", ["0.0.1", "0.9"], ["1"]),
        ("1.2.x", ["1.2.0", "1.2.9"], ["1.3"]),
        ("1.X", ["1.2"], ["2"]),
        ("*", ["0.0.1", "9"], ["1-rc1"]),
        ("1.2 - 2.3", ["1.2", "2.3.9", "2"], ["1.1", "2.4"]),
        ("1.2.0 - 2.3.4", ["1.2.0", "2.3.4"], ["2.3.5"]),
        (">=1.2.0-0", ["1.2.0-rc1", "1.2.0", "2-beta"], ["1.1"]),
        ("~1.2.0-beta", ["1.2.0-beta", "1.2.0-rc1", "1.2.5"], ["1.3.0-rc1", "1.2.0-alpha"]),
    ],
)
def test_a_range_holds_some_versions_and_not_others(
    text: str, yes: list[str], no: list[str]
) -> None:
    range_ = Range.parse(text)
    versions = {tag: Version.parse(tag) for tag in yes + no}
    assert [tag for tag, one in versions.items() if one is not None and range_.holds(one)] == yes


@pytest.mark.parametrize("text", ["", "  ", "x y", ">=", "1.2.3.4", ">= 1 ||", "latest", "1" * 600])
def test_what_is_no_range_is_refused(text: str) -> None:
    with pytest.raises(InvalidSelectionError):
        Range.parse(text)


@given(st.text(alphabet="0123456789.<>=~^!|-,xv *a", max_size=30))
def test_any_text_is_a_range_or_refused(text: str) -> None:
    with contextlib.suppress(InvalidSelectionError):
        Range.parse(text).holds(Version((1, 2, 3), "rc1"))
