from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transship.store.errors import InvalidManifestError
from transship.store.oci.strictjson import DEEPEST, loads


def read(raw: bytes, max_bytes: int = 1000) -> object:
    return loads(raw, what="test", max_bytes=max_bytes)


def test_json_is_read() -> None:
    assert read('{"a": [1, 2.5, null, true, "ä\\n"]}'.encode()) == {
        "a": [1, 2.5, None, True, "ä\n"]
    }


def test_as_many_bytes_as_allowed_are_read() -> None:
    assert read(b"[1, 2]", max_bytes=6) == [1, 2]


def test_one_byte_more_is_refused() -> None:
    with pytest.raises(InvalidManifestError, match="longer than 5 bytes"):
        read(b"[1, 2]", max_bytes=5)


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"{} {}", "not JSON"),
        (b"<html>", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b'"\xc3"', "not JSON"),
        (b"\xef\xbb\xbf{}", "not JSON"),
        ('{"a": 1}'.encode("utf-16"), "not JSON"),
        (b"NaN", "NaN"),
        (b"[Infinity]", "Infinity"),
        (b"[-Infinity]", "-Infinity"),
        (b"1e999", "too large"),
        (b"[-1e999]", "too large"),
        (b"1" * 900 + b".0", "too large"),
        (b'{"a": 1, "a": 1}', "twice"),
        (b'{"b": {"a": 1, "a": 2}}', "twice"),
        (b'{"a": 1, "\\u0061": 2}', "twice"),
        (b'"\\ud800"', "not JSON"),
        (b'{"\\udfff": 1}', "not JSON"),
    ],
)
def test_what_could_be_read_in_two_ways_is_refused(raw: bytes, reason: str) -> None:
    with pytest.raises(InvalidManifestError, match=reason):
        read(raw)


def test_half_a_pair_of_surrogates_may_be_the_replacement_character() -> None:
    raw = b'{"a\\ud800": ["x\\udfffy", "\\ud800\\ud800", 1]}'
    value = loads(raw, what="it", max_bytes=1000, halves=True)
    assert value == {"a\ufffd": ["x\ufffdy", "\ufffd\ufffd", 1]}
    with pytest.raises(InvalidManifestError, match="twice"):
        loads(b'{"\\udfff": 1, "\\udffe": 1}', what="it", max_bytes=1000, halves=True)


def test_a_pair_of_surrogates_is_one_character() -> None:
    assert read(b'"\\ud83d\\ude80"') == "\U0001f680"


def test_an_integer_with_thousands_of_digits_is_refused() -> None:
    with pytest.raises(InvalidManifestError):
        read(b"9" * 5000, max_bytes=10_000)


@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}")])
def test_deep_nesting_is_refused(opening: bytes, closing: bytes) -> None:
    inner = b"0"
    with pytest.raises(InvalidManifestError, match="too deep"):
        read(opening * (DEEPEST + 1) + inner + closing * (DEEPEST + 1))


def test_nesting_up_to_the_bound_is_read() -> None:
    assert read(b"[" * DEEPEST + b"]" * DEEPEST)


@pytest.mark.parametrize("raw", [b"[" * 200_000, b"[" * 200_000 + b"]" * 200_000])
def test_nesting_that_would_exhaust_the_stack_is_refused(raw: bytes) -> None:
    with pytest.raises(InvalidManifestError):
        read(raw, max_bytes=1_000_000)


def test_the_error_says_what_was_read() -> None:
    with pytest.raises(InvalidManifestError) as caught:
        read(b'{"a": 1, "a": 1}')
    assert caught.value.subject == "test"


@settings(max_examples=150)
@given(st.binary(max_size=60) | st.text(alphabet='{}[]":,\\u0dD8aeE+-.1', max_size=40))
def test_any_bytes_are_read_or_refused(data: bytes | str) -> None:
    raw = data if isinstance(data, bytes) else data.encode()
    try:
        value = read(raw)
    except InvalidManifestError:
        return
    assert value == json.loads(raw)
