"""Redirects, uploads elsewhere, pages: where credentials go, and where they do not."""

from __future__ import annotations

import io
from collections.abc import Callable

import httpx
import pytest

from tests.unit.workers.registry.simulated import RegistryResponse, Simulated
from transship.store.errors import (
    ManifestNotFoundError,
    ProtocolError,
    RegistryError,
    TooManyRequestsError,
    UntrustedAddressError,
)
from transship.store.oci.descriptor import Descriptor
from transship.store.oci.digest import Digest
from transship.workers.registry.auth.credentials import Credential
from transship.workers.registry.client import RegistryClient
from transship.workers.registry.flow_control.ratelimits import RateLimit
from transship.workers.registry.transport.hosts import HostPolicy

DATA = b"hello"
DIGEST = Digest.of(DATA)
BLOB = Descriptor(media_type="application/octet-stream", digest=DIGEST, size=len(DATA))
TOKEN = Credential(registry_token="t")


def nothing() -> None:
    return None


def to(location: str, status: int = 307) -> RegistryResponse:
    return lambda _: httpx.Response(status, headers={"Location": location})


def data(_: httpx.Request) -> httpx.Response:
    return httpx.Response(200, stream=httpx.ByteStream(DATA), headers={"Content-Length": "5"})


def read(simulated: Simulated, credential: Credential | None = TOKEN) -> bytes:
    received = bytearray()
    with simulated.repository(credential=credential).open_blob(BLOB) as body:
        body.read_into(received.extend, check=nothing)
    return bytes(received)


def test_a_blob_is_followed_to_another_host_without_credentials() -> None:
    simulated = Simulated(
        {"https://r.test/v2/": to("https://cdn.test/x"), "https://cdn.test/": data}
    )
    assert read(simulated) == DATA
    assert [line.split()[2] for line in simulated.sent()] == ["Bearer", "-"]


@pytest.mark.parametrize("elsewhere", ["https://r.test:444", "https://sub.r.test"])
def test_the_same_host_at_another_port_is_another_origin(elsewhere: str) -> None:
    simulated = Simulated({"https://r.test/v2/": to(elsewhere + "/x"), elsewhere: data})
    read(simulated)
    assert [line.split()[2] for line in simulated.sent()] == ["Bearer", "-"]


def test_within_the_origin_credentials_stay() -> None:
    simulated = Simulated({"https://r.test/v2/": to("/blob"), "https://r.test/blob": data})
    read(simulated)
    assert [line.split()[2] for line in simulated.sent()] == ["Bearer", "Bearer"]


def test_credentials_once_dropped_do_not_come_back() -> None:
    simulated = Simulated(
        {
            "https://r.test/v2/": to("https://evil.test/x"),
            "https://evil.test/": to("https://r.test/other"),
            "https://r.test/other": data,
        }
    )
    read(simulated)
    assert [line.split()[2] for line in simulated.sent()] == ["Bearer", "-", "-"]


def test_https_does_not_lead_to_http() -> None:
    simulated = Simulated({"https://r.test/v2/": to("http://cdn.test/x"), "http://cdn.test/": data})
    with pytest.raises(UntrustedAddressError):
        read(simulated)
    assert len(simulated.requests) == 1


def test_redirects_come_to_an_end() -> None:
    simulated = Simulated(
        {"https://r.test/v2/": to("https://cdn.test/x"), "https://cdn.test/": to("/again")}
    )
    with pytest.raises(ProtocolError, match="redirects"):
        read(simulated)
    assert len(simulated.requests) <= 8


def test_the_range_goes_along() -> None:
    def rest(request: httpx.Request) -> httpx.Response:
        assert request.headers["range"] == "bytes=2-4"
        return httpx.Response(
            206,
            headers={"Content-Range": "bytes 2-4/5", "Content-Length": "3"},
            stream=httpx.ByteStream(DATA[2:]),
        )

    simulated = Simulated(
        {"https://r.test/v2/": to("https://cdn.test/x"), "https://cdn.test/": rest}
    )
    received = bytearray()
    with simulated.repository().open_blob(BLOB, offset=2) as body:
        body.read_into(received.extend, check=nothing)
    assert (body.offset, bytes(received)) == (2, DATA[2:])


def test_no_cookies_are_kept() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, headers={"Set-Cookie": "sid=1; Path=/", "Content-Length": "5"})

    simulated = Simulated({"https://r.test/v2/": answer})
    repository = simulated.repository()
    repository.head_blob(DIGEST)
    repository.head_blob(DIGEST)
    assert "cookie" not in simulated.requests[1].headers


def test_only_identity_encoding_is_asked_for() -> None:
    simulated = Simulated({"https://r.test/v2/": data})
    read(simulated)
    assert simulated.requests[0].headers["accept-encoding"] == "identity"


# --- uploads -----------------------------------------------------------------------------------


def upload(simulated: Simulated) -> None:
    simulated.repository(credential=TOKEN).upload_blob(
        DIGEST,
        len(DATA),
        io.BytesIO(DATA),
        upload=None,
        on_bytes=lambda _: None,
        check=nothing,
    )


def stored(_: httpx.Request) -> httpx.Response:
    return httpx.Response(201)


def test_a_relative_location_keeps_its_query_as_raw_text() -> None:
    simulated = Simulated(
        {
            "https://r.test/v2/app/blobs/uploads/": to("/up/1?_state=a/b=&x=%2f", 202),
            "https://r.test/up/": stored,
        }
    )
    upload(simulated)
    assert simulated.requests[1].url.raw_path == f"/up/1?_state=a/b=&x=%2f&digest={DIGEST}".encode()


def test_an_upload_elsewhere_goes_without_credentials() -> None:
    simulated = Simulated(
        {
            "https://r.test/v2/app/blobs/uploads/": to("https://s3.test/up", 202),
            "https://s3.test/": stored,
        }
    )
    upload(simulated)
    assert [line.split()[2] for line in simulated.sent()] == ["Bearer", "-"]


def test_an_upload_is_never_sent_in_plain_http_from_https() -> None:
    simulated = Simulated(
        {"https://r.test/v2/app/blobs/uploads/": to("http://r.test/up", 202), "http://": stored}
    )
    with pytest.raises(UntrustedAddressError):
        upload(simulated)


@pytest.mark.parametrize("location", ["", "ftp://x/", "https://u:p@x/"])
def test_an_upload_without_usable_location_is_a_protocol_error(location: str) -> None:
    simulated = Simulated({"https://r.test/v2/app/blobs/uploads/": to(location, 202)})
    with pytest.raises(ProtocolError):
        upload(simulated)


# --- tags --------------------------------------------------------------------------------------


def page(names: object, link: str | None = None) -> httpx.Response:
    headers = {} if link is None else {"Link": link}
    return httpx.Response(200, json={"name": "app", "tags": names}, headers=headers)


def tags_of(answer: Callable[[httpx.Request], httpx.Response]) -> list[str]:
    simulated = Simulated({"https://r.test/v2/app/tags/list": answer})
    return list(simulated.repository(credential=TOKEN).list_tags(page_size=2))


def test_pages_are_followed_by_link() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if "last" in request.url.params:
            return page(["c"])
        return page(["a", "b"], '</v2/app/tags/list?n=2&last=b>; rel="next"')

    assert tags_of(answer) == ["a", "b", "c"]


@pytest.mark.parametrize(
    "link",
    [
        '<https://other.test/v2/app/tags/list?n=2&last=b>; rel="next"',
        '<http://r.test/v2/app/tags/list?n=2&last=b>; rel="next"',
        '<https://r.test/repository/x/v2/app/tags/list?n=2&last=b>; rel="next"',
        '<?n=2&last=b>; rel="next"',
        "</v2/app/tags/list?n=2&last=b#here>; rel=next",
        '/v2/app/tags/list?n=2&last=b; rel="next"',
        '<https://r.test/first>; rel="first", </v2/app/tags/list?n=2&last=b>; rel="next"',
    ],
)
def test_of_a_link_only_the_query_counts(link: str) -> None:
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(str(request.url))
        return page(["c"]) if "last" in request.url.params else page(["a", "b"], link)

    assert tags_of(answer) == ["a", "b", "c"]
    assert asked[1] == "https://r.test/v2/app/tags/list?n=2&last=b"


@pytest.mark.parametrize(
    "link",
    [
        "next",
        '</v2/app/tags/list>; rel="next"',
        '<?last=a b>; rel="next"',
        '</v2/app/tags/list?last=b>, rel="next"',
    ],
)
def test_a_link_that_cannot_be_read_is_not_the_end_of_the_list(link: str) -> None:
    with pytest.raises(ProtocolError):
        tags_of(lambda _: page(["a"], link))


def test_a_page_that_fails_is_asked_for_again_and_the_others_are_not() -> None:
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.params.get("last", ""))
        if asked == ["", "b"]:
            return httpx.Response(502)
        return page(["c"]) if asked[-1] else page(["a", "b"], '<?n=2&last=b>; rel="next"')

    assert tags_of(answer) == ["a", "b", "c"]
    assert asked == ["", "b", "b"]


def test_pages_that_turn_in_circles_end() -> None:
    with pytest.raises(ProtocolError, match="never end"):
        tags_of(lambda _: page(["a"], '</v2/app/tags/list?n=2&last=a>; rel="next"'))


@pytest.mark.parametrize("name", ["../x", "a b", 5, None, "x" * 129, "", "a\x1b[2J"])
def test_what_cannot_be_a_tag_is_left_out_and_told(name: object) -> None:
    simulated = Simulated({"https://r.test/v2/app/tags/list": lambda _: page(["a", name, "b"])})
    left_out: list[str] = []
    repository = simulated.repository(credential=TOKEN)
    assert list(repository.list_tags(left_out=left_out.append)) == ["a", "b"]
    (told,) = left_out
    assert told.isprintable()
    assert len(told) <= 100


@pytest.mark.parametrize("names", ["abc", {"a": 1}, 5])
def test_tags_that_are_no_list_are_refused(names: object) -> None:
    with pytest.raises(ProtocolError):
        tags_of(lambda _: page(names))


def test_no_tags_is_an_empty_list() -> None:
    assert tags_of(lambda _: page(None)) == []


def test_a_tag_is_given_once() -> None:
    assert tags_of(lambda _: page(["a", "a"])) == ["a"]


# --- the rest ----------------------------------------------------------------------------------


def test_errors_name_registry_subject_and_action() -> None:
    simulated = Simulated()
    with pytest.raises(ManifestNotFoundError) as missing:
        simulated.repository("r.test/app").get_manifest("v1")
    assert str(missing.value) == "r.test/app:v1: GET manifest: answered 404 Not Found"
    assert missing.value.registry == "r.test"


def test_a_broken_connection_is_of_our_kind_while_iterating_too() -> None:
    class Cut(httpx.SyncByteStream):
        def __iter__(self):  # type: ignore[no-untyped-def]
            yield b"he"
            raise httpx.ReadError("cut")

    answer = httpx.Response(200, stream=Cut(), headers={"Content-Length": "5"})
    simulated = Simulated({"https://r.test/v2/": lambda _: answer})
    with pytest.raises(RegistryError, match="connection closed after 2 of 5 bytes"):
        read(simulated)


def test_an_error_of_the_sink_stays_what_it_is() -> None:
    simulated = Simulated({"https://r.test/v2/": data})

    def full(_: memoryview) -> None:
        raise OSError(28, "No space left on device")

    with (
        simulated.repository().open_blob(BLOB) as body,
        pytest.raises(OSError, match="No space left"),
    ):
        body.read_into(full, check=nothing)


def test_429_is_told_with_its_delay() -> None:
    limited = httpx.Response(429, headers={"Retry-After": "7"})
    simulated = Simulated({"https://r.test/v2/": lambda _: limited})
    with pytest.raises(TooManyRequestsError) as error:
        simulated.repository().head_blob(DIGEST)
    assert error.value.retry_after_seconds == 7


def test_what_is_left_of_a_limit_is_told() -> None:
    told: list[RateLimit] = []
    headers = {"RateLimit-Remaining": "0;w=21600", "Content-Length": "5"}
    simulated = Simulated({"https://r.test/v2/": lambda _: httpx.Response(200, headers=headers)})
    client = RegistryClient(
        HostPolicy(), on_rate_limit=told.append, transport=httpx.MockTransport(simulated)
    )
    client.repository("r.test/app").head_blob(DIGEST)
    assert told == [RateLimit("r.test", remaining=0, window_seconds=21600)]


@pytest.mark.parametrize("identifier", ["../x", "a?b", "", "sha256:xyz", "a\r\nb", "x" * 129])
def test_an_identifier_is_never_part_of_a_path_unchecked(identifier: str) -> None:
    simulated = Simulated()
    with pytest.raises(Exception, match=r".") as refused:
        simulated.repository().head_manifest(identifier)
    assert refused.value.__class__.__name__ in {"InvalidReferenceError", "InvalidDigestError"}
    assert simulated.requests == []
