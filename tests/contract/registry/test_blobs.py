"""The bytes of blobs, at a real registry."""

from __future__ import annotations

import threading
import time

import pytest

from tests.contract.registry.conftest import LAYER_TYPE, MIB, Image, descriptor, nothing, push_blob
from tests.support.processes import wait_until
from tests.support.proxy import Action, ProxiedRequest, SlowProxy
from transship.store.errors import (
    CancelledError,
    ProtocolError,
    RangeIgnoredError,
    RegistryNotFoundError,
    RegistryUnavailableError,
    SizeMismatchError,
    UnreachableError,
)
from transship.store.oci.descriptor import Descriptor
from transship.store.oci.digest import Digest
from transship.workers.registry import body as body_module
from transship.workers.registry.client import Repository
from transship.workers.registry.transport.limits import CHUNK_BYTES


def read(repository: Repository, blob: Descriptor, offset: int = 0) -> tuple[int, bytes]:
    received = bytearray()
    with repository.open_blob(blob, offset=offset) as body:
        count = body.read_into(received.extend, check=nothing)
    assert count == len(received)
    return body.offset, bytes(received)


def test_a_blob_comes_back_whole(direct: Repository, image: Image) -> None:
    assert read(direct, image.layer) == (0, image.layer_bytes)


def test_a_small_blob_comes_back_whole(direct: Repository, image: Image) -> None:
    config = descriptor(image.config_bytes)
    assert read(direct, config) == (0, image.config_bytes)


def test_pieces_are_at_most_a_mebibyte(direct: Repository, image: Image) -> None:
    sizes: list[int] = []
    with direct.open_blob(image.layer) as body:
        body.read_into(lambda piece: sizes.append(len(piece)), check=nothing)
    assert max(sizes) <= CHUNK_BYTES


@pytest.mark.parametrize("offset", [1, 5 * MIB, 12 * MIB])
def test_the_rest_is_asked_for_with_a_closed_range(
    proxied: Repository, proxy: SlowProxy, image: Image, offset: int
) -> None:
    assert read(proxied, image.layer, offset) == (offset, image.layer_bytes[offset:])
    assert proxy.requests()[-1].range == f"bytes={offset}-{image.layer.size - 1}"


def test_nothing_is_asked_for_when_nothing_is_missing(
    proxied: Repository, proxy: SlowProxy, image: Image
) -> None:
    assert read(proxied, image.layer, image.layer.size) == (image.layer.size, b"")
    assert proxy.requests() == []


def test_an_ignored_range_begins_at_nought(
    proxied: Repository, proxy: SlowProxy, image: Image
) -> None:
    proxy.on_request = lambda _: Action(forget_range=True)
    assert read(proxied, image.layer, 5 * MIB) == (0, image.layer_bytes)


def test_a_refused_range_begins_at_nought(
    proxied: Repository, proxy: SlowProxy, image: Image
) -> None:
    proxy.on_request = lambda r: Action(status=416) if r.range else None
    assert read(proxied, image.layer, 5 * MIB) == (0, image.layer_bytes)


@pytest.mark.parametrize("told", ["bytes 0-10/11", "bytes 1-12595256/12595257", "nonsense", ""])
def test_where_another_range_comes_than_asked_for_all_is_asked_for(
    proxied: Repository, proxy: SlowProxy, image: Image, told: str
) -> None:
    proxy.on_request = lambda r: Action(headers={"Content-Range": told}) if r.range else None
    assert read(proxied, image.layer, 5 * MIB) == (0, image.layer_bytes)


def test_a_range_that_nobody_asked_for_is_refused(
    proxied: Repository, proxy: SlowProxy, image: Image
) -> None:
    proxy.on_request = lambda r: (
        Action(status=206, headers={"Content-Range": "bytes 0-10/11"}) if r.is_blob_get else None
    )
    with pytest.raises(RangeIgnoredError):
        read(proxied, image.layer)


@pytest.mark.parametrize("status", [400, 401, 403, 410])
def test_an_address_that_has_expired_is_asked_for_anew(
    proxied: Repository, proxy: SlowProxy, image: Image, status: int
) -> None:
    with SlowProxy("127.0.0.1:1") as storage:
        storage.on_request = lambda _: Action(status=status, body=b"<Error>expired</Error>")
        proxy.on_request = lambda r: (
            Action(status=307, headers={"Location": f"{storage.url}/blob?sig=x"})
            if r.is_blob_get
            else None
        )
        with pytest.raises(RegistryUnavailableError, match="where the registry sent us"):
            read(proxied, image.layer)
    proxy.on_request = None
    assert read(proxied, image.layer) == (0, image.layer_bytes)


def test_a_missing_blob_is_not_found(direct: Repository, image: Image) -> None:
    missing = descriptor(b"never pushed")
    assert direct.head_blob(missing.digest) is None
    with pytest.raises(RegistryNotFoundError):
        read(direct, missing)


def test_head_tells_the_size(direct: Repository, image: Image) -> None:
    assert direct.head_blob(image.layer.digest) == image.layer.size


def test_where_head_is_not_allowed_a_byte_tells_the_size(
    proxied: Repository, proxy: SlowProxy, image: Image
) -> None:
    proxy.on_request = lambda r: Action(status=405) if r.method == "HEAD" else None
    assert proxied.head_blob(image.layer.digest) == image.layer.size


@pytest.mark.parametrize("length", [1000, 3 * MIB, 11 * MIB])
def test_a_short_body_says_how_far_it_came(
    proxied: Repository, proxy: SlowProxy, image: Image, length: int
) -> None:
    """Below and above the fast path's threshold; all bytes that came are given to the sink."""
    proxy.on_request = lambda r: Action(cut_after=length) if r.is_blob_get else None
    received = bytearray()
    with (
        proxied.open_blob(image.layer) as body,
        pytest.raises(
            UnreachableError, match=f"connection closed after {length} of {image.layer.size} bytes"
        ),
    ):
        body.read_into(received.extend, check=nothing)
    assert bytes(received) == image.layer_bytes[:length]


def test_another_length_than_the_descriptors_is_found_before_reading(
    direct: Repository, image: Image
) -> None:
    lying = Descriptor(media_type=LAYER_TYPE, digest=image.layer.digest, size=image.layer.size - 1)
    with pytest.raises(SizeMismatchError):
        read(direct, lying)


def test_bytes_beyond_the_descriptor_are_not_given_on(
    proxied: Repository, proxy: SlowProxy, image: Image
) -> None:
    def endless(request: ProxiedRequest) -> Action | None:
        if not request.is_blob_get:
            return None
        body = b"%x\r\n%b\r\n0\r\n\r\n" % (5000, b"x" * 5000)
        return Action(status=200, body=body, headers={"Transfer-Encoding": "chunked"})

    small = Descriptor(media_type=LAYER_TYPE, digest=Digest.of(b"x"), size=1000)
    proxy.on_request = endless
    received = bytearray()
    with (
        proxied.open_blob(small) as body,
        pytest.raises(SizeMismatchError),
    ):
        body.read_into(received.extend, check=nothing)
    assert len(received) <= small.size


def test_a_web_page_is_no_blob(proxied: Repository, proxy: SlowProxy, image: Image) -> None:
    proxy.on_request = lambda _: Action(
        status=200, body=b"<html>", headers={"Content-Type": "text/html"}
    )
    with pytest.raises(ProtocolError, match="HTML"):
        read(proxied, image.layer)


def test_an_answer_of_503_may_pass(proxied: Repository, proxy: SlowProxy, image: Image) -> None:
    proxy.on_request = lambda _: Action(status=503, headers={"Retry-After": "3"})
    with pytest.raises(RegistryUnavailableError) as error:
        read(proxied, image.layer)
    assert (error.value.retryable, error.value.retry_after_seconds) == (True, 3.0)


def test_a_dropped_connection_is_unreachable(
    proxied: Repository, proxy: SlowProxy, image: Image
) -> None:
    proxy.on_request = lambda _: Action(drop=True)
    with pytest.raises(UnreachableError, match="closed without an answer"):
        read(proxied, image.layer)
    assert len(proxy.requests()) == 1


def test_a_kept_connection_that_is_dropped_is_replaced(
    proxied: Repository, proxy: SlowProxy, image: Image
) -> None:
    proxied.head_blob(image.layer.digest)
    dropped: list[int] = []

    def drop_once(_: ProxiedRequest) -> Action | None:
        if dropped:
            return None
        dropped.append(1)
        return Action(drop=True)

    proxy.on_request = drop_once
    assert proxied.head_blob(image.layer.digest) == image.layer.size


def test_silence_ends_the_transfer(
    proxied: Repository, proxy: SlowProxy, image: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(body_module, "SILENCE_SECONDS", 0.3)
    proxied.head_blob(image.layer.digest)
    never = threading.Event()
    proxy.on_request = lambda r: Action(hold_until=never) if r.is_blob_get else None
    with pytest.raises(UnreachableError, match="no byte for"):
        read(proxied, image.layer)


def test_a_body_that_hardly_gets_on_ends_the_transfer(
    proxied: Repository, proxy: SlowProxy, image: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(body_module, "DRIP_SECONDS", 0.3)
    proxy.on_request = lambda r: Action(bytes_per_second=100) if r.is_blob_get else None
    with pytest.raises(UnreachableError, match="hardly a byte"):
        read(proxied, image.layer)


@pytest.mark.parametrize("size", [100, 3 * MIB])
def test_a_page_in_the_place_of_a_blob_is_told_from_one(
    proxied: Repository, proxy: SlowProxy, image: Image, size: int
) -> None:
    """Whether or not it says how long it is."""
    body = b"%x\r\n%b\r\n0\r\n\r\n" % (size, b"<" * size)
    proxy.on_request = lambda _: Action(
        status=200, headers={"Content-Type": "text/html", "Transfer-Encoding": "chunked"}, body=body
    )
    with pytest.raises(ProtocolError, match="HTML"):
        read(proxied, image.layer)
    with pytest.raises(ProtocolError, match="HTML"):
        proxied.head_blob(image.layer.digest)


def test_a_check_that_raises_closes_the_connection_at_once(
    proxied: Repository, proxy: SlowProxy, image: Image
) -> None:
    """Blocked without a byte, the reader still notices within about a second."""
    never = threading.Event()
    proxy.on_request = lambda r: Action(hold_until=never) if r.is_blob_get else None
    proxied.head_blob(image.layer.digest)
    cancelled_at: list[float] = []

    def check() -> None:
        if cancelled_at and time.monotonic() > cancelled_at[0]:
            raise CancelledError("cancelled")

    with proxied.open_blob(image.layer) as body:
        cancelled_at.append(time.monotonic() + 0.2)
        begun = time.monotonic()
        with pytest.raises(CancelledError):
            body.read_into(lambda _: None, check=check)
        assert time.monotonic() - begun < 2
        wait_until(lambda: proxy.blob_bodies == 0, 2, "the proxy to see the connection close")


def test_a_check_is_heard_while_the_answer_is_awaited(
    proxied: Repository, proxy: SlowProxy, image: Image
) -> None:
    proxied.head_blob(image.layer.digest)
    go_on = threading.Event()

    def wait(request: ProxiedRequest) -> Action | None:
        if request.is_blob_get:
            go_on.wait(10)
        return None

    def check() -> None:
        raise CancelledError("cancelled")

    proxy.on_request = wait
    begun = time.monotonic()
    with pytest.raises(CancelledError), proxied.open_blob(image.layer, check=check):
        pass
    go_on.set()
    assert time.monotonic() - begun < 3


def test_small_requests_share_a_connection(
    proxied: Repository, proxy: SlowProxy, image: Image
) -> None:
    before = proxy.connections
    for _ in range(5):
        proxied.head_blob(image.layer.digest)
        proxied.head_manifest("v1")
        read(proxied, descriptor(image.config_bytes))
    assert proxy.connections - before <= 2  # the TLS attempt, and the one that is kept


def test_many_threads_may_read_at_once(proxied: Repository, image: Image) -> None:
    results: list[bool] = []

    def fetch() -> None:
        results.append(read(proxied, image.layer) == (0, image.layer_bytes))

    threads = [threading.Thread(target=fetch) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert results == [True] * 8


def test_an_empty_blob_can_be_pushed_and_found(direct: Repository) -> None:
    push_blob(direct, b"")
    assert direct.head_blob(Digest.of(b"")) == 0
    assert read(direct, descriptor(b"")) == (0, b"")
