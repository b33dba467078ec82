"""Filters as Docker writes them."""

from __future__ import annotations

import pytest

from transship.store.errors import InvalidSpecError
from transship.store.images.view.filters import (
    Filters,
    check_prune,
    has_labels,
    moment,
    name_matcher,
)
from transship.store.oci.timestamps import NANOS

KNOWN = ("label", "label!", "dangling", "until")


def test_values_are_kept_by_key_in_their_order() -> None:
    found = Filters.parse(["label=a", "LABEL = b=c ", "dangling=true"], KNOWN)
    assert found.values("label") == ("a", "b=c")
    assert found.values("until") == ()
    assert "dangling" in found
    assert "until" not in found


def test_a_key_may_say_that_something_must_not_be() -> None:
    assert Filters.parse(["label!=a=b"], KNOWN).values("label!") == ("a=b",)


@pytest.mark.parametrize("text", ["", "label", "odd=1", "=a", "label\n"])
def test_what_is_no_filter_names_the_field(text: str) -> None:
    with pytest.raises(InvalidSpecError) as caught:
        Filters.parse([text], KNOWN)
    assert caught.value.errors == [{"field": "filter", "message": caught.value.detail}]


@pytest.mark.parametrize(
    ("values", "expected"),
    [([], None), (["true"], True), (["1", "true"], True), (["0"], False), (["false"], False)],
)
def test_a_flag_is_true_or_false_or_not_given(values: list[str], expected: bool | None) -> None:
    found = Filters.parse([f"dangling={value}" for value in values], KNOWN)
    assert found.flag("dangling") is expected


@pytest.mark.parametrize("values", [["maybe"], ["true", "false"], [""]])
def test_a_flag_that_says_nothing_clear_is_refused(values: list[str]) -> None:
    with pytest.raises(InvalidSpecError):
        Filters.parse([f"dangling={value}" for value in values], KNOWN).flag("dangling")


def test_a_time_may_be_given_once() -> None:
    assert moment(Filters.parse(["until=10"], KNOWN), "until", 0) == 10 * NANOS
    assert moment(Filters(), "until", 0) is None
    for texts in (["until=10", "until=20"], ["until=soon"]):
        with pytest.raises(InvalidSpecError):
            moment(Filters.parse(texts, KNOWN), "until", 0)


@pytest.mark.parametrize("text", ["dangling=perhaps", "until=soon"])
def test_the_values_of_a_prune_are_checked(text: str) -> None:
    with pytest.raises(InvalidSpecError):
        check_prune(Filters.parse([text], KNOWN))


@pytest.mark.parametrize(
    ("wanted", "labels", "expected"),
    [
        ([], {}, True),
        (["a"], {"a": ""}, True),
        (["a"], {}, False),
        (["a=1"], {"a": "1"}, True),
        (["a=1"], {"a": "2"}, False),
        (["a="], {"a": "1"}, False),
        (["a", "b=2"], {"a": "1", "b": "2"}, True),
        (["a", "b"], {"a": "1"}, False),
    ],
)
def test_labels_are_wanted_all_together(
    wanted: list[str], labels: dict[str, str], expected: bool
) -> None:
    assert has_labels(wanted, labels) is expected


@pytest.mark.parametrize(
    ("pattern", "name", "expected"),
    [
        ("alpine", "docker.io/library/alpine:3", True),
        ("alpine:3", "docker.io/library/alpine:3", True),
        ("al*", "docker.io/library/alpine:3", True),
        ("al*:[2-4]", "docker.io/library/alpine:3", True),
        ("al*:[^2-4]", "docker.io/library/alpine:3", False),
        ("alpin?:?", "docker.io/library/alpine:3", True),
        ("*", "docker.io/team/app:1", False),
        ("*/app", "docker.io/team/app:1", True),
        ("*/*", "r.test/team/app:1", False),
        ("r.test/*/app:*", "r.test/team/app:1", True),
        ("app@*", f"docker.io/library/app@sha256:{'0' * 64}", True),
        ("library/alpine", "docker.io/library/alpine:3", False),
        (r"a\*", "docker.io/library/app:1", False),
        ("a[/]b", "docker.io/a/b:1", False),
        ("", "docker.io/library/app:1", False),
    ],
)
def test_a_glob_is_gos(pattern: str, name: str, expected: bool) -> None:
    assert name_matcher(pattern)(name) is expected


@pytest.mark.parametrize("pattern", ["[", "a[b", "[z-a]", "[^"])
def test_a_glob_that_is_none_is_refused(pattern: str) -> None:
    with pytest.raises(InvalidSpecError):
        name_matcher(pattern)
