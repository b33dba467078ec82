from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transship.store.errors import InvalidReferenceError, TransshipError
from transship.store.oci.digest import Digest
from transship.store.oci.reference import Reference, check_tag, parse_repository

DIGEST = Digest.of(b"image")
HEX64 = "1a3f5e7d9c1b3a5f7e9d1c3b5a7f9e1d3c5b7a9f1e3d5d7c9b1a3f5e7d9c1b3a"


@pytest.mark.parametrize(
    ("text", "full"),
    [
        ("alpine", "docker.io/library/alpine"),
        ("alpine:3.20", "docker.io/library/alpine:3.20"),
        ("library/alpine", "docker.io/library/alpine"),
        ("docker.io/alpine", "docker.io/library/alpine"),
        ("index.docker.io/alpine", "docker.io/library/alpine"),
        ("index.docker.io/library/alpine", "docker.io/library/alpine"),
        ("registry-1.docker.io/alpine", "docker.io/library/alpine"),
        ("bitnami/redis", "docker.io/bitnami/redis"),
        ("docker.io/bitnami/redis:7", "docker.io/bitnami/redis:7"),
        ("a/b/c", "docker.io/a/b/c"),
        ("quay.io/app", "quay.io/app"),
        ("ghcr.io/owner/app:v1", "ghcr.io/owner/app:v1"),
        ("localhost/app", "localhost/app"),
        ("localhost:5000/app:v1", "localhost:5000/app:v1"),
        ("localhost:5000/app", "localhost:5000/app"),
        ("registry:5000/a/b", "registry:5000/a/b"),
        ("127.0.0.1:5000/app", "127.0.0.1:5000/app"),
        ("[::1]:5000/app", "[::1]:5000/app"),
        ("[2001:db8::1]/app", "[2001:db8::1]/app"),
        ("Registry/app", "Registry/app"),
        ("Example.com/app", "Example.com/app"),
        ("sha256:latest", "docker.io/library/sha256:latest"),
        ("app:Tag_with.all-signs", "docker.io/library/app:Tag_with.all-signs"),
        ("app:" + "t" * 128, "docker.io/library/app:" + "t" * 128),
        ("a.b/c__d/e-f--g/h.i", "a.b/c__d/e-f--g/h.i"),
        (f"app@{DIGEST}", f"docker.io/library/app@{DIGEST}"),
        (f"app:v1@{DIGEST}", f"docker.io/library/app:v1@{DIGEST}"),
        (f"localhost:5000/app:v1@{DIGEST}", f"localhost:5000/app:v1@{DIGEST}"),
        (f"docker.io/library/{HEX64}", f"docker.io/library/{HEX64}"),
    ],
)
def test_references_are_normalised_as_docker_does(text: str, full: str) -> None:
    assert str(Reference.parse(text)) == full


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        "@",
        ":latest",
        "/",
        "/alpine",
        "alpine/",
        "a//b",
        "Alpine",
        "docker.io/Alpine",
        "app:",
        "app:.tag",
        "app:-tag",
        "app:" + "t" * 129,
        "app:tag:tag",
        "app@",
        "app@sha256:abc",
        "app@sha256:" + "A" * 64,
        "app@md5:" + "a" * 32,
        f"app@{DIGEST}@{DIGEST}",
        f"app@{DIGEST}:tag",
        HEX64,
        "-app",
        "app-",
        "_app",
        "a..b",
        "a___b",
        "a._b",
        "../etc/passwd",
        "quay.io/../app",
        "quay.io/./app",
        "quay.io/app/..",
        "https://quay.io/app",
        "quay.io/app?x=y",
        "quay.io/app#x",
        "quay.io/%2e%2e/app",
        "user:secret@quay.io/app",
        "-quay.io/app",
        "quay-.io/app",
        "quay..io/app",
        ".quay.io/app",
        "quay.io:/app",
        "quay.io:port/app",
        "quay.io:65536/app",
        "quay.io:123456/app",
        "[::1/app",
        "[:::]/app",
        "[::1%25eth0]/app",
        "[not-an-address]/app",
        "app\n",
        "app\r\nHost: x",
        "app\0",
        "a pp",
        " app",
        "app:tag\n",
        "quay.io\n/app",
        "äpp",
        "app:täg",
        "q\u0430y.io/app",  # a Cyrillic letter
        "a/" + "b" * 254,
        "quay.io/" + "b" * 248,
    ],
)
def test_what_is_not_a_reference_is_refused(text: str) -> None:
    with pytest.raises(InvalidReferenceError):
        Reference.parse(text)


def test_a_name_may_have_255_characters() -> None:
    name = "quay.io/" + "b" * 247
    assert Reference.parse(name).repository == name


def test_a_refusal_shows_no_control_characters() -> None:
    with pytest.raises(InvalidReferenceError) as caught:
        Reference.parse("app\r\nX: \x1b[31m")
    assert str(caught.value).isprintable()


def test_a_refusal_shows_the_beginning_of_a_long_text() -> None:
    with pytest.raises(InvalidReferenceError) as caught:
        Reference.parse("A" * 100_000)
    assert len(str(caught.value)) < 400


def test_upper_case_in_a_repository_is_explained() -> None:
    with pytest.raises(InvalidReferenceError, match="must be lower case"):
        Reference.parse("quay.io/App")


@pytest.mark.parametrize(
    ("text", "familiar"),
    [
        ("docker.io/library/alpine:3.20", "alpine:3.20"),
        ("docker.io/bitnami/redis", "bitnami/redis"),
        ("docker.io/library/a/b", "library/a/b"),
        ("quay.io/library/alpine", "quay.io/library/alpine"),
        (f"alpine@{DIGEST}", f"alpine@{DIGEST}"),
    ],
)
def test_the_familiar_form_is_the_shortest(text: str, familiar: str) -> None:
    assert Reference.parse(text).familiar == familiar


@pytest.mark.parametrize(
    "text", ["alpine", "a/b", "docker.io/library/a/b", "quay.io/a:b", "localhost:1/a"]
)
def test_the_familiar_form_means_the_same(text: str) -> None:
    reference = Reference.parse(text)
    assert Reference.parse(reference.familiar) == reference


@pytest.mark.parametrize(
    ("text", "identifier"),
    [
        ("app", "latest"),
        ("app:v1", "v1"),
        (f"app@{DIGEST}", str(DIGEST)),
        (f"app:v1@{DIGEST}", str(DIGEST)),
    ],
)
def test_a_digest_is_asked_for_before_a_tag(text: str, identifier: str) -> None:
    assert Reference.parse(text).identifier == identifier


def test_parsing_adds_no_tag() -> None:
    assert Reference.parse("app").tag is None


@pytest.mark.parametrize(
    ("text", "tag"), [("app", "latest"), ("app:v1", "v1"), (f"app@{DIGEST}", None)]
)
def test_the_default_tag_is_for_what_has_no_identifier(text: str, tag: str | None) -> None:
    assert Reference.parse(text).with_default_tag().tag == tag


def test_another_tag_takes_the_place_of_tag_and_digest() -> None:
    tagged = Reference.parse(f"app:v1@{DIGEST}").with_tag("v2")
    assert str(tagged) == "docker.io/library/app:v2"


def test_a_digest_takes_the_place_of_the_tag() -> None:
    assert str(Reference.parse("quay.io/a:v1").with_digest(DIGEST)) == f"quay.io/a@{DIGEST}"


def test_the_repository_alone_has_neither() -> None:
    assert str(Reference.parse(f"quay.io/a:v1@{DIGEST}").without_identifier()) == "quay.io/a"


@pytest.mark.parametrize("text", ["app:v1", f"app@{DIGEST}"])
def test_a_repository_has_no_tag_and_no_digest(text: str) -> None:
    with pytest.raises(InvalidReferenceError):
        parse_repository(text)


def test_a_repository_may_be_on_a_port() -> None:
    assert parse_repository("localhost:5000/app").repository == "localhost:5000/app"


@pytest.mark.parametrize("tag", ["", ".a", "-a", "a/b", "a:b", "a" * 129, "a\n", "a b", "ä"])
def test_what_is_not_a_tag_is_refused(tag: str) -> None:
    with pytest.raises(InvalidReferenceError):
        check_tag(tag)


@settings(max_examples=150)
@given(st.text(max_size=80) | st.text(alphabet="aA0.:/@_-[]%\n", max_size=40))
def test_any_text_is_a_reference_or_refused(text: str) -> None:
    """And what is accepted means the same when it is read again."""
    try:
        reference = Reference.parse(text)
    except TransshipError:
        return
    assert Reference.parse(str(reference)) == reference
