"""Uploads of blobs, at a real registry."""

from __future__ import annotations

import contextlib
import io
import random
import time
from collections.abc import Iterator

import pytest

from tests.contract.registry.conftest import MIB, Image, nothing, push_blob
from tests.support.processes import wait_until
from tests.support.proxy import Action, ProxiedRequest, Script, SlowProxy
from tests.support.registries import RegistryProcess
from tests.support.registry_simulator import RegistrySimulator
from transship.store.errors import (
    CancelledError,
    InvalidReferenceError,
    RegistryError,
    RegistryUnavailableError,
    SizeMismatchError,
    TooManyRequestsError,
    UntrustedAddressError,
)
from transship.store.oci.digest import Digest
from transship.workers.registry.auth.credentials import Credential
from transship.workers.registry.client import RegistryClient, Repository
from transship.workers.registry.flow_control.pacing import Unpaced
from transship.workers.registry.sending import Sending
from transship.workers.registry.upload_sessions import Upload, UploadSessions


@pytest.fixture
def data(request: pytest.FixtureRequest) -> bytes:
    """Bytes that no other test has pushed."""
    return random.Random(request.node.nodeid).randbytes(3 * MIB + 77)


@pytest.fixture
def simulator() -> Iterator[RegistrySimulator]:
    with RegistrySimulator() as made:
        yield made


def methods(proxy: SlowProxy, *, of_status: int | None = None) -> list[str]:
    return [
        request.method
        for request in proxy.requests()
        if request.status != 401 and (of_status is None or request.status == of_status)
    ]


def refuse_body(status: int) -> Script:
    """Refuse a PUT that carries a body, as registries do that want PATCH."""

    def script(request: ProxiedRequest) -> Action | None:
        has_body = int(request.headers.get("content-length", "0")) > 0
        return Action(status=status) if request.method == "PUT" and has_body else None

    return script


def test_a_blob_is_sent_in_one_put(proxied: Repository, proxy: SlowProxy, data: bytes) -> None:
    push_blob(proxied, data)
    assert methods(proxy) == ["POST", "PUT"]
    assert proxied.head_blob(Digest.of(data)) == len(data)


def test_the_progress_adds_up(proxied: Repository, data: bytes) -> None:
    told = push_blob(proxied, data)
    assert sum(told) == len(data)
    assert max(told) <= MIB


@pytest.mark.parametrize("status", [404, 405, 413, 416, 500, 501])
def test_where_put_is_refused_the_blob_is_patched(
    proxied: Repository, proxy: SlowProxy, data: bytes, status: int
) -> None:
    proxy.on_request = refuse_body(status)
    blob = data + status.to_bytes(2, "big")
    told = push_blob(proxied, blob)
    assert methods(proxy) == ["POST", "PUT", "DELETE", "POST", "PATCH", "PUT"]
    assert sum(told) == len(blob)
    assert proxied.head_blob(Digest.of(blob)) == len(blob)


@pytest.mark.parametrize("status", [413, 501])
def test_the_refusal_is_remembered(
    proxied: Repository, proxy: SlowProxy, data: bytes, status: int
) -> None:
    proxy.on_request = refuse_body(status)
    push_blob(proxied, data)
    proxy.forget()
    push_blob(proxied, data + b"2")
    assert methods(proxy) == ["POST", "PATCH", "PUT"]


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_what_passes_is_not_remembered(
    proxied: Repository, proxy: SlowProxy, data: bytes, status: int
) -> None:
    proxy.on_request = refuse_body(status)
    with contextlib.nullcontext() if status >= 500 else pytest.raises(RegistryError):
        push_blob(proxied, data)
    proxy.on_request = None
    proxy.forget()
    push_blob(proxied, data + b"2")
    assert methods(proxy) == ["POST", "PUT"]


def test_an_empty_blob_is_patched_where_put_is_refused(
    proxied: Repository, proxy: SlowProxy, data: bytes
) -> None:
    proxy.on_request = refuse_body(405)
    push_blob(proxied, data)
    push_blob(proxied, b"")
    assert proxied.head_blob(Digest.of(b"")) == 0


def test_other_refusals_are_not_tried_again(
    proxied: Repository, proxy: SlowProxy, data: bytes
) -> None:
    proxy.on_request = lambda r: Action(status=429) if r.method == "PUT" else None
    with pytest.raises(TooManyRequestsError):
        push_blob(proxied, data)
    assert methods(proxy) == ["POST", "PUT"]


def test_a_registry_that_asks_for_patience_is_not_asked_again_at_once(
    proxied: Repository, proxy: SlowProxy, data: bytes
) -> None:
    proxy.on_request = lambda r: (
        Action(status=503, headers={"Retry-After": "9"}) if r.method == "PUT" else None
    )
    with pytest.raises(RegistryUnavailableError) as error:
        push_blob(proxied, data)
    assert error.value.retry_after_seconds == 9
    assert methods(proxy) == ["POST", "PUT"]


def test_a_session_from_before_that_is_gone_does_not_teach_that_put_is_refused(
    proxied: Repository, proxy: SlowProxy, data: bytes
) -> None:
    gone = proxied.start_upload()
    proxied.cancel_upload(gone)
    proxied.upload_blob(
        Digest.of(data),
        len(data),
        io.BytesIO(data),
        upload=gone,
        on_bytes=lambda _: None,
        check=nothing,
    )
    proxy.forget()
    push_blob(proxied, data + b"2")
    assert methods(proxy) == ["POST", "PUT"]


def test_a_registry_in_trouble_is_named_as_such(
    proxied: Repository, proxy: SlowProxy, data: bytes
) -> None:
    proxy.on_request = lambda r: Action(status=502) if r.method in {"PUT", "PATCH"} else None
    with pytest.raises(RegistryUnavailableError, match="502"):
        push_blob(proxied, data)


def test_other_bytes_than_the_digest_are_refused_by_the_registry(
    direct: Repository, data: bytes
) -> None:
    with pytest.raises(RegistryError, match="DIGEST_INVALID"):
        direct.upload_blob(
            Digest.of(b"other"),
            len(data),
            io.BytesIO(data),
            upload=None,
            on_bytes=lambda _: None,
            check=nothing,
        )


def test_a_source_that_ends_early_is_a_mismatch(direct: Repository, data: bytes) -> None:
    with pytest.raises(SizeMismatchError):
        direct.upload_blob(
            Digest.of(data),
            len(data) + 1,
            io.BytesIO(data),
            upload=None,
            on_bytes=lambda _: None,
            check=nothing,
        )


def test_the_source_is_read_from_where_it_stands(direct: Repository, data: bytes) -> None:
    source = io.BytesIO(b"before" + data)
    source.seek(6)
    direct.upload_blob(
        Digest.of(data), len(data), source, upload=None, on_bytes=lambda _: None, check=nothing
    )
    assert direct.head_blob(Digest.of(data)) == len(data)


def test_a_check_that_raises_ends_the_upload(
    proxied: Repository, proxy: SlowProxy, data: bytes
) -> None:
    sent: list[int] = []

    def check() -> None:
        if sum(sent) >= MIB:
            raise CancelledError("cancelled")

    upload = proxied.start_upload()
    with pytest.raises(CancelledError):
        proxied.upload_blob(
            Digest.of(data),
            len(data),
            io.BytesIO(data),
            upload=upload,
            on_bytes=sent.append,
            check=check,
        )
    wait_until(lambda: proxy.upload_bodies == 0, 5, "the proxy to see the connection close")
    assert proxied.head_blob(Digest.of(data)) is None


def test_a_check_is_heard_while_the_registry_makes_up_its_mind(
    proxied: Repository, proxy: SlowProxy, data: bytes
) -> None:
    proxy.hold_upload_seconds = 30
    begun = time.monotonic()

    def check() -> None:
        if time.monotonic() - begun > 0.5:
            raise CancelledError("cancelled")

    with pytest.raises(CancelledError):
        proxied.upload_blob(
            Digest.of(data),
            len(data),
            io.BytesIO(data),
            upload=None,
            on_bytes=lambda _: None,
            check=check,
        )
    assert time.monotonic() - begun < 5


def test_from_64_mib_on_a_blob_goes_in_chunks_of_16(
    client: RegistryClient, simulator: RegistrySimulator
) -> None:
    repository = client.repository(f"{simulator.host}/app")
    data = bytes(64 * MIB)
    push_blob(repository, data[:-1])
    push_blob(repository, data)
    labels = [r.headers.get("content-range") for r in simulator.requests()]
    assert labels == [
        *(None, None),
        None,
        *(f"{begin * MIB}-{(begin + 16) * MIB - 1}" for begin in (0, 16, 32, 48)),
        None,
    ]


# --- sessions ----------------------------------------------------------------------------------


def test_a_session_that_was_patched_in_part_goes_on_from_there(
    direct: Repository, data: bytes
) -> None:
    part = len(data) // 2
    upload = direct.start_upload()
    first = _patched(direct._sessions(""), upload, data[:part])
    resumed = direct.resume_upload(first)
    assert resumed is not None
    assert resumed.offset == part
    told: list[int] = []
    direct.upload_blob(
        Digest.of(data),
        len(data),
        io.BytesIO(data),
        upload=resumed,
        on_bytes=told.append,
        check=nothing,
    )
    assert sum(told) == len(data) - part
    assert direct.head_blob(Digest.of(data)) == len(data)


def _patched(sessions: UploadSessions, upload: Upload, part: bytes) -> Upload:
    sending = Sending(
        io.BytesIO(part),
        Digest.of(part),
        len(part),
        begin=0,
        on_bytes=lambda _: None,
        check=nothing,
        registry="",
        pacer=Unpaced(),
    )
    return sessions.patch(upload, sending, len(part))


def test_what_a_lost_session_had_is_sent_again(direct: Repository, data: bytes) -> None:
    upload = direct.start_upload()
    direct.cancel_upload(upload)
    direct.upload_blob(
        Digest.of(data),
        len(data),
        io.BytesIO(data),
        upload=Upload(upload.location, offset=1000),
        on_bytes=lambda _: None,
        check=nothing,
    )
    assert direct.head_blob(Digest.of(data)) == len(data)


def test_an_empty_session_is_not_worth_resuming(direct: Repository) -> None:
    assert direct.resume_upload(direct.start_upload()) is None


def test_a_cancelled_session_is_gone(direct: Repository) -> None:
    upload = direct.start_upload()
    direct.cancel_upload(upload)
    assert direct.resume_upload(upload) is None


def test_cancelling_what_is_gone_is_no_error(direct: Repository) -> None:
    upload = direct.start_upload()
    direct.cancel_upload(upload)
    direct.cancel_upload(upload)
    assert direct.resume_upload(upload) is None


def test_a_location_in_messages_shows_no_signature(direct: Repository) -> None:
    assert "_state" not in repr(direct.start_upload())


def test_a_server_may_not_send_the_upload_to_another_loopback_address(
    proxied: Repository, proxy: SlowProxy, data: bytes
) -> None:
    proxy.on_request = lambda r: (
        Action(headers={"Location": f"http://127.0.0.2:{proxy.port}/v2/x"})
        if r.method == "POST"
        else None
    )
    with pytest.raises(UntrustedAddressError):
        push_blob(proxied, data)
    assert "PUT" not in methods(proxy)


def test_an_upload_to_another_port_of_the_host_goes_without_credentials(
    client: RegistryClient,
    registry: RegistryProcess,
    proxy: SlowProxy,
    credential: Credential | None,
    data: bytes,
) -> None:
    with SlowProxy(registry.host) as other:
        other.on_request = lambda _: Action(status=201)
        proxy.on_request = lambda r: (
            Action(headers={"Location": f"{other.url}/elsewhere?sig=a/b="})
            if r.method == "POST"
            else None
        )
        push_blob(client.repository(f"{proxy.host}/library/app", credential=credential), data)
        [request] = other.requests()
    assert request.target == f"/elsewhere?sig=a/b=&digest={Digest.of(data)}"
    assert "authorization" not in request.headers


# --- mounts ------------------------------------------------------------------------------------


@pytest.fixture
def sibling(
    client: RegistryClient,
    registry: RegistryProcess,
    credential: Credential | None,
    request: pytest.FixtureRequest,
) -> Repository:
    """A repository that only this test uses."""
    name = f"siblings/n{random.Random(request.node.nodeid).getrandbits(48):x}"
    return client.repository(f"{registry.host}/{name}", credential=credential)


def test_a_blob_is_mounted_without_its_bytes(
    direct: Repository, sibling: Repository, image: Image
) -> None:
    assert sibling.mount(image.layer.digest, from_repository=direct.name) is None
    assert sibling.head_blob(image.layer.digest) == image.layer.size


def test_a_mount_that_cannot_be_opens_a_session_that_can_be_used(
    direct: Repository, sibling: Repository, data: bytes
) -> None:
    upload = sibling.mount(Digest.of(data), from_repository=direct.name)
    assert upload is not None
    sibling.upload_blob(
        Digest.of(data),
        len(data),
        io.BytesIO(data),
        upload=upload,
        on_bytes=lambda _: None,
        check=nothing,
    )
    assert sibling.head_blob(Digest.of(data)) == len(data)


@pytest.mark.parametrize("status", [400, 404, 405])
def test_a_registry_that_knows_no_mounts_is_given_an_upload(
    proxied: Repository, proxy: SlowProxy, image: Image, status: int
) -> None:
    proxy.on_request = lambda r: Action(status=status) if "mount=" in r.target else None
    assert proxied.mount(image.layer.digest, from_repository=f"{proxy.host}/a/b") is not None


def test_a_repository_of_another_registry_cannot_be_mounted(
    direct: Repository, image: Image
) -> None:
    with pytest.raises(InvalidReferenceError):
        direct.mount(image.layer.digest, from_repository="docker.io/library/alpine")
