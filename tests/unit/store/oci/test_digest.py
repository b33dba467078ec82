from __future__ import annotations

import hashlib

import pytest

from transship.store.errors import InvalidDigestError
from transship.store.oci.digest import Digest

EMPTY = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


@pytest.mark.parametrize("text", [EMPTY, "sha512:" + "0a" * 64])
def test_text_survives_parsing(text: str) -> None:
    assert str(Digest.parse(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        "sha256",
        "sha256:",
        EMPTY.removeprefix("sha256:"),
        EMPTY[:-1],
        EMPTY + "0",
        EMPTY + "\n",
        " " + EMPTY,
        EMPTY.upper(),
        "SHA256:" + "a" * 64,
        "sha256:" + "A" * 64,
        "sha256:" + "g" * 64,
        "sha256:" + "٣" * 64,  # digits, but not ASCII's
        "sha256:" + "../" * 21 + "a",
        "sha256:" + "a" * 128,
        "sha512:" + "a" * 64,
        "md5:" + "a" * 32,
        "sha1:" + "a" * 40,
        "blake3:" + "a" * 64,
        "sha256+b64u:" + "a" * 64,
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(InvalidDigestError):
        Digest.parse(text)


def test_a_refusal_shows_no_control_characters() -> None:
    with pytest.raises(InvalidDigestError) as caught:
        Digest.parse("sha256:a\r\nb")
    assert str(caught.value).isprintable()


def test_content_is_hashed_by_sha256() -> None:
    assert str(Digest.of(b"")) == EMPTY


def test_content_is_hashed_by_the_algorithm_asked_for() -> None:
    assert Digest.of(b"x", "sha512").hex == hashlib.sha512(b"x").hexdigest()


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_a_hash_object_of_a_digest_comes_to_the_digest(algorithm: str) -> None:
    digest = Digest.of(b"content", algorithm)
    hasher = digest.hasher()
    hasher.update(b"content")
    assert Digest.from_hash(hasher) == digest


def test_the_short_form_keeps_twelve_digits() -> None:
    assert Digest.parse(EMPTY).short == "sha256:e3b0c44298fc"


def test_digests_sort_by_their_text() -> None:
    digests = [Digest.of(bytes([number])) for number in range(8)]
    assert [str(digest) for digest in sorted(digests)] == sorted(map(str, digests))
