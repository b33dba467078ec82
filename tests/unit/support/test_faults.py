"""How a script of faults is read, and which requests it means."""

from __future__ import annotations

import pytest

from tests.support.faults import FAULTS, Rule, Verb, _Script, verb_of
from tests.support.proxy import ProxiedRequest

D = "sha256:" + "a" * 64


def request(method: str, target: str, **headers: str) -> ProxiedRequest:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return ProxiedRequest(0, method, target, named, 0.0)


@pytest.mark.parametrize(
    ("method", "target", "verb"),
    [
        ("GET", "/token?service=s", Verb.TOKEN_GET),
        ("GET", "/v2/a/b/tags/list?n=5", Verb.TAGS_LIST),
        ("HEAD", "/v2/a/manifests/1", Verb.MANIFEST_HEAD),
        ("GET", f"/v2/a/manifests/{D}", Verb.MANIFEST_GET),
        ("PUT", "/v2/a/manifests/1", Verb.MANIFEST_PUT),
        ("HEAD", f"/v2/a/blobs/{D}", Verb.BLOB_HEAD),
        ("GET", f"/v2/a/blobs/{D}", Verb.BLOB_GET),
        ("POST", "/v2/a/blobs/uploads/?mount=x", Verb.UPLOAD_POST),
        ("PATCH", "/v2/a/blobs/uploads/1?s=x", Verb.UPLOAD_PATCH),
        ("GET", "/v2/a/blobs/uploads/1", Verb.UPLOAD_STATUS),
        ("DELETE", "/v2/a/blobs/uploads/1", Verb.UPLOAD_DELETE),
        ("PUT", "/v2/a/blobs/uploads/1?digest=x", Verb.UPLOAD_CLOSE),
        ("GET", "/v2/", None),
    ],
)
def test_requests_are_told_apart(method: str, target: str, verb: Verb | None) -> None:
    assert verb_of(request(method, target)) is verb


def test_a_put_with_a_body_is_another_thing_than_one_without() -> None:
    full = request("PUT", "/v2/a/blobs/uploads/1?digest=x", content_length="5")
    assert verb_of(full) is Verb.UPLOAD_PUT


def test_a_rule_is_read() -> None:
    assert Rule.parse("blob-get reset=100 times=2 after=1") == Rule(
        Verb.BLOB_GET, "reset", "100", times=2, after=1
    )
    assert Rule.parse("manifest-put 429") == Rule(Verb.MANIFEST_PUT, "429")


@pytest.mark.parametrize(
    "text", ["", "blob-get", "blob-get nonsense", "nonsense 500", "blob-get 500 when=now"]
)
def test_what_is_no_rule_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        Rule.parse(text)


def test_a_rule_holds_for_its_requests_only() -> None:
    script = _Script([Rule.parse("blob-head 500 times=2 after=1")], anonymous=True)
    met = [script(request("HEAD", f"/v2/a/blobs/{D}")) is not None for _ in range(5)]
    assert met == [False, True, True, False, False]
    assert script(request("HEAD", "/v2/a/manifests/1")) is None


def test_the_first_rule_that_holds_counts() -> None:
    script = _Script([Rule.parse("blob-head 500 times=1"), Rule.parse("blob-head 404")], True)
    answers = [script(request("HEAD", f"/v2/a/blobs/{D}")) for _ in range(2)]
    assert [answer and answer.status for answer in answers] == [500, 404]


@pytest.mark.parametrize("name", FAULTS)
def test_every_fault_does_something(name: str) -> None:
    value = {"latency": "1", "bandwidth": "1", "elsewhere": "http://x.test"}.get(name, "")
    action = FAULTS[name](request("GET", f"/v2/a/blobs/{D}", host="h"), value)
    assert action != type(action)()
