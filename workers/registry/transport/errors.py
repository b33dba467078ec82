"""From answers and broken connections to the error tree.

The words of a registry are quoted short and cleaned: they are shown on terminals and kept in
records. Query strings and anything else that may hold a secret are left out.
"""

from __future__ import annotations

import json
import re
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any

import httpcore
import httpx

from transship.store.errors import (
    DeniedError,
    ManifestNotFoundError,
    ProtocolError,
    RegistryError,
    RegistryNotFoundError,
    RegistryUnavailableError,
    TlsError,
    TooManyRequestsError,
    TransshipError,
    UnauthorizedError,
    UnknownHostError,
    UnreachableError,
)
from transship.workers.registry.transport.addresses import is_private, parse_address
from transship.workers.registry.transport.limits import MAX_ERROR_BYTES
from transship.workers.registry.transport.responses import read_bounded
from transship.workers.registry.transport.transport import CLOSED, NETWORK_ERRORS, HandshakeError

MAX_QUOTE_CHARS = 240
_RETRYABLE_STATUSES = frozenset({408, 425, 499})
_RETRYABLE_CODES = frozenset({"BLOB_UPLOAD_INVALID", "DIGEST_INVALID", "UNAVAILABLE"})
_UNREADABLE: tuple[type[Exception], ...] = (*NETWORK_ERRORS, RegistryError)
_QUERY = re.compile(r"\?[^\s\"'<>]+")
_TAG = re.compile(r"<[^>]*>")


@dataclass(frozen=True, slots=True)
class RequestContext:
    """What was asked for, as far as an error needs it."""

    registry: str
    subject: str
    action: str  # "GET manifest", "PUT blob"
    manifest: bool = False
    confined: bool = False  # for a token without `admin`: no words from inside this network


# --- connections -------------------------------------------------------------------------------


@contextmanager
def translated(asked: RequestContext) -> Iterator[None]:
    """Turn what httpx and httpcore raise inside into UnreachableError and its kin.

    Only calls into the network belong inside: an OSError of a file must stay what it is.
    """
    try:
        yield
    except TransshipError as ours:
        if isinstance(ours, RegistryError) and not ours.registry:
            ours.registry, ours.subject = asked.registry, ours.subject or asked.subject
        raise
    except NETWORK_ERRORS as broken:
        raise connection_error(broken, asked) from broken


def connection_error(broken: Exception, asked: RequestContext) -> RegistryError:
    """Return what a broken connection means, in one sentence."""
    kind, hint = _kind_of(broken)
    if kind is TlsError:
        return TlsError(
            _tls_detail(broken),
            registry=asked.registry,
            subject=asked.subject,
            hint=hint,
        )
    return kind(
        f"{asked.action}: {_detail_of(broken)}",
        registry=asked.registry,
        subject=asked.subject,
        hint=hint,
    )


def is_untrusted_certificate(error: Exception) -> bool:
    """Say whether *error* comes from a certificate that did not verify."""
    return any(isinstance(cause, ssl.SSLCertVerificationError) for cause in _causes(error))


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: BaseException | None = error
    for _ in range(10):
        if seen is None:
            return
        yield seen
        seen = seen.__cause__ or seen.__context__


def _kind_of(broken: Exception) -> tuple[type[RegistryError], str]:
    for cause in _causes(broken):
        if isinstance(cause, socket.gaierror | UnicodeError):
            return UnknownHostError, "check the name, and the resolver of this machine"
        if isinstance(cause, ssl.SSLCertVerificationError):
            return (
                TlsError,
                "put its CA into certs.d, or name it in TRANSSHIP_INSECURE_REGISTRIES",
            )
        if isinstance(cause, ssl.SSLError) and cause.reason in _NOT_TLS:
            return (
                TlsError,
                "if it speaks plain HTTP, name it in TRANSSHIP_INSECURE_REGISTRIES",
            )
    if isinstance(broken, httpx.RemoteProtocolError | httpcore.RemoteProtocolError):
        if "disconnected" in str(broken) or "closed connection" in str(broken):
            return UnreachableError, ""
        return ProtocolError, ""
    if isinstance(broken, httpx.InvalidURL | httpx.UnsupportedProtocol):
        return ProtocolError, ""
    return UnreachableError, ""


_NOT_TLS = frozenset({"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNKNOWN_PROTOCOL"})


def _tls_detail(broken: Exception) -> str:
    for cause in _causes(broken):
        if isinstance(cause, ssl.SSLCertVerificationError):
            reason = clean(getattr(cause, "verify_message", ""))
            return f"its certificate is not trusted{f': {reason}' if reason else ''}"
    return "it does not speak TLS"


def _detail_of(broken: Exception) -> str:
    for cause in _causes(broken):
        match cause:
            case socket.gaierror() | UnicodeError():
                return "the host's name does not resolve"
            case ConnectionRefusedError():
                return "connection refused"
            case ConnectionResetError() | BrokenPipeError():
                return "connection cut by the peer"
            case OSError() if cause.strerror and not isinstance(cause, TimeoutError | ssl.SSLError):
                return cause.strerror.lower()
    match broken:
        case HandshakeError():
            return "the TLS handshake failed"
        case httpx.ConnectTimeout() | httpcore.ConnectTimeout():
            return "no connection within the time allowed"
        case httpx.ReadTimeout() | httpcore.ReadTimeout():
            return "no answer within the time allowed"
        case httpx.WriteTimeout() | httpcore.WriteTimeout():
            return "the peer stopped taking bytes"
        case httpx.RemoteProtocolError() | httpcore.RemoteProtocolError():
            if "disconnected" in str(broken):
                return "connection closed without an answer"
            return f"not a valid HTTP answer: {clean(str(broken))}"
        case httpcore.ReadError() if str(broken).startswith(CLOSED):
            return str(broken)
        case httpx.ProxyError() | httpcore.ProxyError():
            return "the proxy refused"
    return "the connection failed"


# --- answers -----------------------------------------------------------------------------------


def answer_error(response: httpx.Response, asked: RequestContext) -> RegistryError:
    """Return the error that *response*, not a success, stands for; reads and closes it."""
    silent = asked.confined and _is_from_inside(response)  # while it is connected
    codes, words = _words_of(response)
    if silent:
        words = ""
    status = response.status_code
    try:
        reason = f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        reason = str(status)
    detail = f"{asked.action}: answered {reason}{f': {words}' if words else ''}"
    kind, hint = _answer_kind(status, codes, asked)
    return kind(
        detail,
        registry=asked.registry,
        subject=asked.subject,
        http_status=status,
        retry_after_seconds=retry_after_seconds(response.headers),
        hint=hint,
    )


def tolerated(response: httpx.Response, asked: RequestContext) -> RegistryError:
    """Return how what only saves work was refused, so that the same may be asked another way.

    Raises:
        RegistryError: that would be no use: the registry asks for patience.
    """
    refusal = answer_error(response, asked)
    if refusal.asks_for_patience:
        raise refusal
    return refusal


def _answer_kind(
    status: int, codes: set[str], asked: RequestContext
) -> tuple[type[RegistryError], str]:
    if status == 429 or "TOOMANYREQUESTS" in codes:
        return TooManyRequestsError, ""
    if status == 401:
        return UnauthorizedError, unauthorized_hint(asked.registry)
    if status == 403:
        return DeniedError, "the credentials are known, and do not suffice for this"
    if status in _RETRYABLE_STATUSES or status >= 500:
        return RegistryUnavailableError, ""
    if status == 404:
        return (ManifestNotFoundError if asked.manifest else RegistryNotFoundError), ""
    if codes & _RETRYABLE_CODES:
        return RegistryUnavailableError, ""
    if status < 400:
        return ProtocolError, ""
    return RegistryError, ""


def unauthorized_hint(registry: str) -> str:
    """Return what to do about a 401. Docker Hub answers so for what does not exist, too."""
    return f"check that it exists, and the credentials for {registry}"


def refuse_html(response: httpx.Response, asked: RequestContext) -> None:
    """Raise ProtocolError if a successful answer is a web page: a portal, or another server."""
    if is_html(response):
        response.close()
        raise html_error(asked, response.status_code)


def is_html(response: httpx.Response) -> bool:
    """Say whether an answer is a web page."""
    return media_type_of(response.headers) in {"text/html", "application/xhtml+xml"}


def html_error(asked: RequestContext, status: int) -> ProtocolError:
    """Return the error for a page where a registry's answer was expected."""
    return ProtocolError(
        f"{asked.action}: answered HTML, not a registry",
        registry=asked.registry,
        subject=asked.subject,
        http_status=status,
        hint="check the host's name, and whether a proxy or login page is in between",
    )


def media_type_of(headers: httpx.Headers) -> str:
    """Return the media type, lower case and without parameters; "" if there is none."""
    value: str = headers.get("content-type", "")
    return value.partition(";")[0].strip().lower()


def _is_from_inside(response: httpx.Response) -> bool:
    stream = response.extensions.get("network_stream")
    if stream is None:  # a test's
        return False
    try:
        address = parse_address(stream.get_extra_info("server_addr")[0])
    except OSError:  # the connection is gone
        return True
    return address is None or is_private(address)


def _words_of(response: httpx.Response) -> tuple[set[str], str]:
    """Return the error codes and a short text of an error's body, as far as it has any."""
    try:
        raw = read_bounded(response, MAX_ERROR_BYTES)[:MAX_ERROR_BYTES]
    except _UNREADABLE:  # the status says enough without words
        raw = b""
    finally:
        response.close()
    if media_type_of(response.headers) == "text/html" or raw.lstrip()[:1] == b"<":
        text = clean(_TAG.sub(" ", raw.decode("utf-8", "replace")))
        return set(), f"(HTML) {text}"[:MAX_QUOTE_CHARS] if text else "(HTML)"
    try:
        document: Any = json.loads(raw)
    except (ValueError, RecursionError):
        return set(), clean(raw.decode("utf-8", "replace"))
    return _listed_errors(document)


def _listed_errors(document: Any) -> tuple[set[str], str]:
    entries = document.get("errors") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        message = document.get("message") if isinstance(document, dict) else None
        return set(), clean(message) if isinstance(message, str) else ""
    codes: set[str] = set()
    texts: list[str] = []
    for entry in entries[:5]:
        if not isinstance(entry, dict):
            continue
        code, message = entry.get("code"), entry.get("message")
        if isinstance(code, str):
            codes.add(code.upper())
        texts.append(": ".join(part for part in (code, message) if isinstance(part, str) and part))
    return codes, clean("; ".join(text for text in texts if text))


def clean(text: str) -> str:
    """Return *text* on one line, printable, without query strings, and short."""
    text = _QUERY.sub("", text)
    text = "".join(character if character.isprintable() else " " for character in text)
    text = " ".join(text.split())
    return text if len(text) <= MAX_QUOTE_CHARS else f"{text[: MAX_QUOTE_CHARS - 1]}…"


def retry_after_seconds(headers: httpx.Headers) -> float | None:
    """Return how long to wait by Retry-After, in seconds or as a date; None if it says nothing.

    A date is measured from the answer's own Date, so that clocks need not agree.
    """
    value = headers.get("retry-after", "").strip()
    if not value:
        return None
    if value.isascii() and value.isdigit():
        return float(value[:9])
    until = _timestamp(value)
    if until is None:
        return None
    now = _timestamp(headers.get("date", ""))
    return max(0.0, until - (time.time() if now is None else now))


def _timestamp(value: str) -> float | None:
    try:
        return parsedate_to_datetime(value).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
