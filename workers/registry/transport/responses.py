"""Reading answers that are small, or had better be."""

from __future__ import annotations

import json
import time
import zlib
from contextlib import suppress
from typing import Any

import httpx

from transship.store.errors import ProtocolError, UnreachableError
from transship.workers.registry.transport.limits import (
    ANSWER_SECONDS,
    DISCARD_SECONDS,
    MAX_ERROR_BYTES,
)
from transship.workers.registry.transport.transport import NETWORK_ERRORS, attentive


def read_bounded(
    response: httpx.Response, max_bytes: int, *, seconds: float = ANSWER_SECONDS
) -> bytes:
    """Read an answer up to *max_bytes* + 1 bytes; one too many tells that it was longer.

    The answer is then closed only if it was read to its end: its owner closes it.

    Raises:
        UnreachableError: it did not end within *seconds*.
        ProtocolError: a Content-Encoding that we did not ask for, or broken gzip.
    """
    begun = time.monotonic()
    encoding = response.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in {"identity", "", "gzip", "x-gzip"}:
        raise ProtocolError(f"answered with the unexpected Content-Encoding {encoding[:40]!r}")
    # Some proxies compress whatever we say. Inflate with a bound: httpx would not.
    inflate = zlib.decompressobj(31) if encoding.endswith("gzip") else None
    received = bytearray()
    for chunk in response.iter_raw():
        try:
            received += inflate.decompress(chunk, max_bytes + 1) if inflate is not None else chunk
        except zlib.error:
            raise ProtocolError("answered with broken gzip") from None
        if len(received) > max_bytes:
            return bytes(received[: max_bytes + 1])
        if time.monotonic() - begun > seconds:
            raise UnreachableError(f"the answer did not end within {seconds:.0f} s")
    if inflate is not None and not inflate.eof and received:
        raise ProtocolError("answered with broken gzip")
    return bytes(received)


def discard(response: httpx.Response) -> None:
    """Close an answer whose body says nothing; read it first if that saves the connection.

    An answer to HEAD counts as read only when its absent body was asked for.
    """
    if response.is_closed:
        return
    length = response.headers.get("content-length", "")
    is_short = length.isascii() and length.isdigit() and int(length[:9]) <= MAX_ERROR_BYTES
    if is_short or response.extensions.get("bodiless"):
        with suppress(*NETWORK_ERRORS), attentive(_nothing, silence_seconds=DISCARD_SECONDS):
            for _ in response.iter_raw():
                pass
    response.close()


def _nothing() -> None:
    """Nobody waits for this long enough to want to stop it."""


def read_json(response: httpx.Response, max_bytes: int, *, what: str) -> dict[str, Any]:
    """Read a small JSON object; *what* names it in errors.

    Raises:
        ProtocolError: too large, not JSON, or not an object.
    """
    raw = read_bounded(response, max_bytes)
    if len(raw) > max_bytes:
        raise ProtocolError(f"{what} of more than {max_bytes} bytes")
    try:
        document = json.loads(raw)
    except (ValueError, RecursionError):
        raise ProtocolError(f"{what} that is not JSON") from None
    if not isinstance(document, dict):
        raise ProtocolError(f"{what} that is not a JSON object")
    return document
