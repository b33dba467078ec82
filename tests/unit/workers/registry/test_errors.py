"""From answers and broken connections to the error tree."""

from __future__ import annotations

import json
import socket
import ssl

import httpcore
import httpx
import pytest

from transship.store import errors
from transship.workers.registry.transport.errors import (
    MAX_QUOTE_CHARS,
    RequestContext,
    answer_error,
    clean,
    connection_error,
    retry_after_seconds,
)

BLOB = RequestContext("r.test", "r.test/app@sha256:ab", "GET blob")
MANIFEST = RequestContext("r.test", "r.test/app:1", "GET manifest", manifest=True)


def answer(status: int, body: bytes = b"", **headers: str) -> httpx.Response:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.Response(
        status,
        headers=names,
        stream=httpx.ByteStream(body),
        request=httpx.Request("GET", "http://x"),
    )


def listed(*entries: object) -> bytes:
    return json.dumps({"errors": list(entries)}).encode()


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, errors.RegistryError),
        (401, errors.UnauthorizedError),
        (403, errors.DeniedError),
        (404, errors.RegistryNotFoundError),
        (405, errors.RegistryError),
        (408, errors.RegistryUnavailableError),
        (413, errors.RegistryError),
        (425, errors.RegistryUnavailableError),
        (429, errors.TooManyRequestsError),
        (500, errors.RegistryUnavailableError),
        (502, errors.RegistryUnavailableError),
        (503, errors.RegistryUnavailableError),
        (599, errors.RegistryUnavailableError),
        (204, errors.ProtocolError),
        (304, errors.ProtocolError),
    ],
)
def test_status_decides_the_kind(status: int, kind: type[errors.RegistryError]) -> None:
    error = answer_error(answer(status), BLOB)
    assert type(error) is kind
    assert (error.http_status, error.registry, error.subject) == (
        status,
        "r.test",
        "r.test/app@sha256:ab",
    )


def test_404_for_a_manifest_is_its_own_kind() -> None:
    assert type(answer_error(answer(404), MANIFEST)) is errors.ManifestNotFoundError


def test_an_upload_that_the_registry_lost_may_be_tried_again() -> None:
    error = answer_error(answer(400, listed({"code": "BLOB_UPLOAD_INVALID"})), BLOB)
    assert error.retryable


def test_the_registrys_code_and_message_are_quoted() -> None:
    body = listed({"code": "MANIFEST_UNKNOWN", "message": "manifest unknown", "detail": {}})
    error = answer_error(answer(404, body), MANIFEST)
    assert str(error) == (
        "r.test/app:1: GET manifest: answered 404 Not Found: MANIFEST_UNKNOWN: manifest unknown"
    )


@pytest.mark.parametrize(
    "body",
    [b"", b"null", b"[]", b'{"errors": 5}', b'{"errors": [5, null]}', b"\xff\xfe", b"[" * 9999],
)
def test_any_body_leaves_the_status_readable(body: bytes) -> None:
    assert "answered 500 Internal Server Error" in answer_error(answer(500, body), BLOB).detail


def test_html_is_named_and_stripped() -> None:
    body = b"<html><head><title>502 Bad Gateway</title></head></html>"
    error = answer_error(answer(502, body, content_type="text/html"), BLOB)
    assert error.detail.endswith(": (HTML) 502 Bad Gateway")


def test_an_endless_body_is_not_read_to_its_end() -> None:
    class Endless(httpx.SyncByteStream):
        sent = 0

        def __iter__(self):  # type: ignore[no-untyped-def]
            while True:
                self.sent += 4096
                yield b"x" * 4096

    stream = Endless()
    response = httpx.Response(500, stream=stream, request=httpx.Request("GET", "http://x"))
    answer_error(response, BLOB)
    assert stream.sent < 200_000


def test_queries_are_never_quoted() -> None:
    assert clean("see https://s3/x?X-Amz-Signature=abc now") == "see https://s3/x now"


def test_control_characters_are_never_quoted() -> None:
    assert clean("a\x1b[31m\r\nb\x00") == "a [31m b"


def test_quotes_are_short() -> None:
    assert len(clean("x" * 5000)) == MAX_QUOTE_CHARS


def test_retry_after_in_seconds() -> None:
    assert retry_after_seconds(httpx.Headers({"Retry-After": "17"})) == 17.0


def test_retry_after_as_a_date_is_measured_by_the_servers_clock() -> None:
    headers = httpx.Headers(
        {
            "Date": "Wed, 21 Oct 2015 07:28:00 GMT",
            "Retry-After": "Wed, 21 Oct 2015 07:29:30 GMT",
        }
    )
    assert retry_after_seconds(headers) == 90.0


def test_retry_after_in_the_past_is_now() -> None:
    headers = httpx.Headers({"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"})
    assert retry_after_seconds(headers) == 0.0


@pytest.mark.parametrize("value", ["", "soon", "-5", "Wed, 99 Foo 2015", "1.5"])
def test_an_unreadable_retry_after_says_nothing(value: str) -> None:
    assert retry_after_seconds(httpx.Headers({"Retry-After": value})) is None


def test_429_carries_its_delay() -> None:
    assert answer_error(answer(429, retry_after="30"), BLOB).retry_after_seconds == 30.0


def caused(outer: Exception, inner: Exception) -> Exception:
    outer.__cause__ = inner
    return outer


@pytest.mark.parametrize(
    ("broken", "kind", "text"),
    [
        (
            caused(httpcore.ConnectError("x"), socket.gaierror(-2, "Name or service not known")),
            errors.UnknownHostError,
            "does not resolve",
        ),
        (
            caused(httpcore.ConnectError("x"), ConnectionRefusedError(111, "Connection refused")),
            errors.UnreachableError,
            "connection refused",
        ),
        (httpcore.ConnectTimeout(), errors.UnreachableError, "no connection within"),
        (httpx.ReadTimeout("x"), errors.UnreachableError, "no answer within"),
        (httpcore.WriteTimeout(), errors.UnreachableError, "stopped taking bytes"),
        (
            caused(httpcore.ReadError("x"), ConnectionResetError(104, "Connection reset by peer")),
            errors.UnreachableError,
            "connection cut by the peer",
        ),
        (
            httpcore.RemoteProtocolError("Server disconnected without sending a response."),
            errors.UnreachableError,
            "closed without an answer",
        ),
        (httpcore.RemoteProtocolError("illegal status line"), errors.ProtocolError, "not a valid"),
        (
            caused(httpcore.ConnectError("x"), ssl.SSLCertVerificationError("self signed")),
            errors.TlsError,
            "certificate is not trusted",
        ),
    ],
)
def test_broken_connections_are_told_apart(
    broken: Exception, kind: type[errors.RegistryError], text: str
) -> None:
    error = connection_error(broken, BLOB)
    assert type(error) is kind
    assert text in error.detail
