"""Globs and expressions of users: what they fit, and that they never take long."""

from __future__ import annotations

import ast
import time
from fnmatch import fnmatchcase
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import transship.api
import transship.store
import transship.workers
from transship.store.errors import InvalidSelectionError
from transship.store.patterns import MAX_CHARACTERS, glob, regex

FAST_SECONDS = 0.01


@pytest.mark.parametrize("across", [False, True])
@pytest.mark.parametrize(
    ("text", "fits", "others"),
    [
        ("", [""], ["a"]),
        ("a*c", ["ac", "abc"], ["abcd", "bac"]),
        ("a?c", ["abc"], ["ac", "abbc"]),
        ("[a-c]x", ["ax", "cx"], ["dx", "x"]),
        ("[^a-c]x", ["dx", "-x"], ["ax", "x"]),
        (r"[a\-]", ["a", "-"], ["b"]),
        (r"[\]a]", ["]", "a"], ["\\"]),
        (r"\*", ["*"], ["a", r"\*"]),
        ("a.c", ["a.c"], ["abc"]),
        ("ä*", ["äö"], ["aö"]),
    ],
)
def test_a_glob_fits_some_texts_and_not_others(
    text: str, fits: list[str], others: list[str], across: bool
) -> None:
    matches = glob(text, across=across)
    assert [one for one in (*fits, *others) if matches(one)] == fits


@pytest.mark.parametrize("text", ["a*d", "a?b", "a[.-0]b", "a[/]b", "a[^x]b"])
def test_only_a_glob_that_goes_across_matches_a_slash(text: str) -> None:
    slashed = text.replace("*", "/b/").replace("?", "/").replace("[.-0]", "/")
    slashed = slashed.replace("[/]", "/").replace("[^x]", "/")
    assert not glob(text, across=False)(slashed)
    assert glob(text, across=True)(slashed)


@given(
    st.lists(st.sampled_from(["*", "?", "a", "b", "/", "[ab]", "[a-c]", "."]), max_size=6),
    st.text(alphabet="abc/.", max_size=8),
)
def test_across_slashes_it_is_what_fnmatch_says(parts: list[str], text: str) -> None:
    pattern = "".join(parts)
    assert glob(pattern, across=True)(text) == fnmatchcase(text, pattern)


@pytest.mark.parametrize(
    "text",
    ["[", "a[b", "[z-a]", "[^", "[]", "a[\\", "a" * 513, "[a-]", "[-a]", "[]a]", "a\\"],
)
def test_what_is_no_glob_is_refused(text: str) -> None:
    with pytest.raises(InvalidSelectionError):
        glob(text, across=False)


@pytest.mark.parametrize("text", ["(", "a{1001}", "(?<=a)b", "((a{100}){100}){100}", "\ud800"])
def test_an_expression_that_cannot_be_or_is_too_large_is_refused(text: str) -> None:
    with pytest.raises(InvalidSelectionError):
        regex(text)


@pytest.mark.parametrize(
    "text", ["*a*a*a*a*a*b", "*" * MAX_CHARACTERS, "*a" * (MAX_CHARACTERS // 2), "?*" * 200]
)
@pytest.mark.parametrize("across", [False, True])
def test_no_glob_takes_long(text: str, across: bool) -> None:
    fits = glob(text, across=across)
    fits("a" * 100)  # which builds what RE2 works with
    began = time.perf_counter()
    fits("a" * 100)
    assert time.perf_counter() - began < FAST_SECONDS


def test_nothing_else_matches_what_users_write() -> None:
    """Every expression of Python's own `re` is written down in the program, as a constant."""
    found = []
    for package in (transship.api, transship.store, transship.workers):
        for path in sorted(Path(package.__path__[0]).rglob("*.py")):
            tree = ast.parse(path.read_text())
            for node in ast.walk(tree):
                if isinstance(node, ast.Import | ast.ImportFrom):
                    names = {alias.name for alias in node.names}
                    names |= {getattr(node, "module", None) or ""}
                    if "fnmatch" in names or ("re2" in names and path.name != "patterns.py"):
                        found.append(f"{path}:{node.lineno} imports a matcher")
                if (
                    isinstance(node, ast.Call)
                    and _calls_re(node)
                    and not _is_constant(node.args[0])
                ):
                    found.append(f"{path}:{node.lineno} makes an expression as it runs")
    assert [
        one for one in found if "api/http/body_limits.py" not in one
    ] == []  # of paths of its own API


def _calls_re(node: ast.Call) -> bool:
    return (
        isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id == "re"
        and node.func.attr
        in ("compile", "match", "fullmatch", "search", "sub", "split", "findall", "finditer")
    )


def _is_constant(node: ast.expr) -> bool:
    """A literal, or one with names of constants put into it."""
    if isinstance(node, ast.Constant):
        return True
    if isinstance(node, ast.BinOp):
        return _is_constant(node.left) and _is_constant(node.right)
    if isinstance(node, ast.Name):
        return node.id.isupper()
    return isinstance(node, ast.JoinedStr) and all(
        isinstance(part, ast.Constant)
        or (isinstance(part, ast.FormattedValue) and _is_constant(part.value))
        for part in node.values
    )
