"""Globs and regular expressions for tags: what Python says too, but never for ever."""

from __future__ import annotations

import contextlib
import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transship.store.errors import InvalidSelectionError
from transship.store.patterns import MAX_CHARACTERS
from transship.workers.mirrors.patterns import Pattern

TAGS = st.text(alphabet="ab1.-_", max_size=8)


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        ("latest", ["latest"], ["latest1", "a-latest"]),
        ("3.*", ["3.", "3.20", "3.20-rc1"], ["13.2", "3", "3x20"]),
        ("v?", ["v1"], ["v", "v12"]),
        ("[0-9].[!0]", ["1.1"], ["1.0", "a.1"]),
        ("*-rc*", ["1-rc", "2-rc1"], ["1rc", "src"]),
        (r"/^1\.13\.[12]-alpine-perl$/", ["1.13.1-alpine-perl"], ["1.13.3-alpine-perl"]),
        ("/rc/", ["rc", "1-rc1", "src"], ["r-c", "RC"]),
        ("/(?i)rc/", ["RC1", "rc"], ["r"]),
        ("/a(?i:B)c/", ["abc", "aBc"], ["Abc", "abC"]),
        ("/a(?i)b|c/", ["aB", "C"], ["Ab"]),
        (r"/^v?\d+(?:\.\d+){2}$/", ["1.2.3", "v10.0.1"], ["1.2", "1.2.3.4"]),
        ("/^(?P<major>[0-9]+)$/", ["12"], ["1a"]),
        ("/^(?<major>[0-9]+)$/", ["12"], ["1a"]),
        ("/^a{2}$/", ["aa"], ["a", "aaa"]),
        ("/^a{2,}$/", ["aa", "aaaa"], ["a"]),
        ("/^a{1,2}?$/", ["a", "aa"], ["aaa"]),
        (r"/\A[\w.-]+\z/", ["a.b-c_1"], [""]),
        (r"/^[^\d]+$/", ["abc"], ["a1"]),
        ("/^[]a]$/", ["a"], ["b"]),
        (r"/^\S+$/", ["a"], [""]),
        ("/^$/", [""], ["a"]),
        ("/a{x/", [], ["a", "ax"]),
        ("/x{12/", [], ["x"]),
        ("//", ["", "anything"], []),
    ],
)
def test_a_pattern_is_for_some_tags_and_not_for_others(
    pattern: str, yes: list[str], no: list[str]
) -> None:
    compiled = Pattern(pattern)
    assert [tag for tag in yes + no if compiled.matches(tag)] == yes


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("", "a pattern has"),
        ("a" * (MAX_CHARACTERS + 1), "a pattern has"),
        ("^v1$", "no tag has a '\\^'"),
        ("a|b", "no tag has a '\\|'"),
        ("[a", "not closed"),
        ("[]", "holds nothing"),
        ("[!]", "holds nothing"),
        ("[b-a]", "range"),
        ("[a:b]", "no tag has a ':'"),
        ("/(a/", r"missing \)"),
        ("/a)/", r"unexpected \)"),
        ("/*a/", "no argument"),
        ("/[b-a]/", "range"),
        ("/a{3,2}/", "repetition"),
        ("/(?=a)/", r"\(\?="),
        ("/(?<!a)b/", r"\(\?<!"),
        (r"/(a)\1/", "escape"),
        ("/a" + "*" * 100 + "/", "repetition"),
        ("/((a{100}){100}){100}/", "repetition|too large"),
        ("/a{9999}/", "repetition"),
        ("/a\\/", "trailing"),
        ("/\ud800/", "cannot be read"),
    ],
)
def test_what_cannot_be_read_says_why(pattern: str, reason: str) -> None:
    with pytest.raises(InvalidSelectionError, match=reason):
        Pattern(pattern)


@pytest.mark.parametrize("pattern", ["/^(a+)+$/", "/^(a|a)*$/", "/^(a*)*b$/", "/(.*)*(.*)*(.*)*x/"])
def test_no_pattern_takes_for_ever(pattern: str) -> None:
    before = time.process_time()
    assert not Pattern(pattern).matches("a" * 127 + "c")
    assert time.process_time() - before < 1


_ATOMS = st.sampled_from(["a", "b", "1", r"\.", ".", r"\d", r"\w", "[ab]", "[^a1]", "[a-b-]"])
_REPEATS = st.sampled_from(["", "", "*", "+", "?", "{2}", "{1,2}", "{0,}", "*?"])


def _grown(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    row = st.lists(inner, min_size=1, max_size=3).map("".join)
    return st.one_of(
        row,
        st.tuples(row, row).map("(?:{0[0]}|{0[1]})".format),
        st.tuples(row, _REPEATS).map("({0[0]}){0[1]}".format),
    )


REGEXES = st.tuples(
    st.sampled_from(["", "^"]),
    st.recursive(st.tuples(_ATOMS, _REPEATS).map("".join), _grown, max_leaves=6),
    st.sampled_from(["", r"\z"]),
)


@given(REGEXES, TAGS)
def test_regular_expressions_mean_what_they_mean_in_python(
    parts: tuple[str, str, str], tag: str
) -> None:
    start, middle, end = parts
    found = re.search(f"{start}(?:{middle})" + (r"\Z" if end else ""), tag)
    pattern = Pattern(f"/{start}(?:{middle}){end}/")
    assert pattern.matches(tag) is (found is not None)


@given(st.text(max_size=40))
def test_any_text_is_a_pattern_or_refused(text: str) -> None:
    for written in (text, f"/{text}/"):
        with contextlib.suppress(InvalidSelectionError):
            Pattern(written).matches("1.2.3-rc1")
