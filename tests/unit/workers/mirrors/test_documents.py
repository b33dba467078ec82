"""YAML from strangers."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transship.store.errors import InvalidPolicyError
from transship.workers.mirrors import documents
from transship.workers.mirrors.documents import MAX_BYTES, read

LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 9)
)


def test_scalars_stay_as_they_were_written() -> None:
    text = b"[3.20, 1e3, 0x10, 010, 2024-11-01, on, 'true', true, False, null, ~, '']"
    assert read(text, "f") == [
        "3.20", "1e3", "0x10", "010", "2024-11-01", "on", "true", True, False, None, None, "",
    ]  # fmt: skip


def test_aliases_and_merge_keys_are_written_out_and_own_keys_come_first() -> None:
    text = b"""
base: &base {a: "1", b: "2"}
more: &more {b: "3", c: "4"}
one: {<<: *base, b: own}
two: {<<: [*base, *more]}
"""
    value = read(text, "f")
    assert value["one"] == {"a": "1", "b": "own"}
    assert value["two"] == {"a": "1", "b": "2", "c": "4"}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", "it is empty"),
        (b"# nothing\n", "it is empty"),
        (b"\xff\xfe", "not UTF-8"),
        (b"x" * (MAX_BYTES + 1), "longer than"),
        (b"a: b: c", "not YAML, line 1, column 5"),
        (b"a: 1\n---\nb: 2", "not YAML"),
        (b"a: *b", "not YAML, line 1, column 4: an alias of nothing"),
        (b"{a: 1, a: 2}", "f: a: the key is there twice \\(line 1\\)"),
        (b"x:\n- {a: 1}\n- {b: 1, b: 2}", "f: x.1.b: the key is there twice \\(line 3\\)"),
        (b"? [a]\n: b", "a key is not text"),
        (b"a: !!python/object/apply:os.system [id]", "f: a: only plain values"),
        (b"a: !!binary aGk=", "only plain values"),
        (b"a: !!set {b, c}", "only plain values"),
        (b"a: !mine b", "only plain values"),
        (b"{<<: 5}", "only mappings can be merged"),
        (b"[" * 100, "nested deeper"),
        (b"- " * 100, "nested deeper"),
        (b"&a [*a]", "too large with its aliases"),
        (b"&a {b: *a}", "too large with its aliases"),
        (LAUGHS.encode(), "too large with its aliases"),
        (b"a: &a x\nb: [" + b"*a, " * 2000 + b"]", "more than 1000 aliases"),
        (b"a: \x00", "not YAML"),
    ],
)
def test_what_is_refused_says_why(text: bytes, reason: str) -> None:
    with pytest.raises(InvalidPolicyError, match=reason):
        read(text, "f")


def test_more_values_than_there_may_be_are_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "MAX_NODES", 50)
    with pytest.raises(InvalidPolicyError, match="more than 50 values"):
        read(b"[" + b"a," * 100 + b"]", "f")


@pytest.mark.parametrize(
    "text",
    [
        b"password: *hunter2",
        b"password: 'hunter2\n",
        b"password: hunter2: x",
        b"password: %hunter2",
        b"password: {hunter2",
        b"password: !hunter2! x",
    ],
)
def test_no_error_shows_a_line_of_the_file(text: bytes) -> None:
    with pytest.raises(InvalidPolicyError) as caught:
        read(text, "f")
    assert "hunter2" not in str(caught.value)


@given(st.binary(max_size=200) | st.text(alphabet="a:-[]{}&*!<'\"|>%@ \n#?,", max_size=60))
def test_anything_is_read_or_refused(given_: bytes | str) -> None:
    raw = given_ if isinstance(given_, bytes) else given_.encode()
    with contextlib.suppress(InvalidPolicyError):
        read(raw, "f")
