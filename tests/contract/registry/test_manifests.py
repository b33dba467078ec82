"""Manifests and tags, at a real registry."""

from __future__ import annotations

import pytest

from tests.contract.registry.conftest import MANIFEST_TYPE, Image, make_image, push_blob
from tests.support.proxy import Action, SlowProxy
from tests.support.registries import RegistryProcess
from transship.store.errors import (
    DigestMismatchError,
    InvalidManifestError,
    ManifestNotFoundError,
    ProtocolError,
    RegistryError,
    RegistryNotFoundError,
    RegistryUnavailableError,
)
from transship.store.oci.digest import Digest
from transship.workers.registry.auth.credentials import Credential
from transship.workers.registry.client import RegistryClient, Repository


def test_the_very_bytes_come_back(direct: Repository, image: Image) -> None:
    assert direct.get_manifest("v1").raw == image.manifest.raw


def test_a_tag_resolves_to_the_descriptor(direct: Repository, image: Image) -> None:
    assert direct.head_manifest("v1") == image.manifest.descriptor


def test_a_digest_resolves_to_the_descriptor(direct: Repository, image: Image) -> None:
    assert direct.head_manifest(str(image.manifest.digest)) == image.manifest.descriptor


def test_a_missing_tag_resolves_to_none(direct: Repository, image: Image) -> None:
    assert direct.head_manifest("missing") is None


def test_a_missing_manifest_is_not_found(direct: Repository, image: Image) -> None:
    with pytest.raises(ManifestNotFoundError) as missing:
        direct.get_manifest("missing")
    assert missing.value.subject == f"{direct.name}:missing"


def test_a_manifest_can_be_put_by_digest(direct: Repository, image: Image) -> None:
    direct.put_manifest(str(image.manifest.digest), image.manifest)
    assert direct.get_manifest(str(image.manifest.digest)).digest == image.manifest.digest


def test_a_manifest_whose_blobs_are_missing_is_refused(direct: Repository, image: Image) -> None:
    with pytest.raises(RegistryError, match="MANIFEST_BLOB_UNKNOWN"):
        direct.put_manifest("broken", make_image(seed=2, size=10).manifest)


def test_tags_are_listed(direct: Repository, image: Image) -> None:
    assert "v1" in list(direct.list_tags())


def test_a_missing_repository_has_no_tags(
    client: RegistryClient, registry: RegistryProcess, credential: Credential | None
) -> None:
    repository = client.repository(f"{registry.host}/library/missing", credential=credential)
    with pytest.raises(RegistryNotFoundError):
        list(repository.list_tags())


def test_no_ping_goes_ahead(
    client: RegistryClient,
    registry: RegistryProcess,
    credential: Credential | None,
    image: Image,
) -> None:
    registry.forget_requests()
    repository = client.repository(f"{registry.host}/library/app", credential=credential)
    repository.head_manifest("v1")
    repository.head_manifest("v1")
    expected = ["HEAD"] * (2 if credential is None else 3)  # the first is asked to log in
    assert [request.method for request in registry.requests()] == expected


def test_without_a_digest_header_the_manifest_is_fetched_and_hashed(
    proxied: Repository, proxy: SlowProxy, image: Image
) -> None:
    proxy.on_request = lambda _: Action(without=("Docker-Content-Digest",))
    assert proxied.head_manifest("v1") == image.manifest.descriptor
    assert proxy.requests()[-1].method == "GET"


def test_where_head_is_not_allowed_the_manifest_is_fetched(
    proxied: Repository, proxy: SlowProxy, image: Image
) -> None:
    proxy.on_request = lambda r: Action(status=405) if r.method == "HEAD" else None
    assert proxied.head_manifest("v1") == image.manifest.descriptor


def test_other_bytes_than_the_digest_asked_for_are_a_mismatch(
    proxied: Repository, proxy: SlowProxy, image: Image
) -> None:
    proxy.on_request = lambda _: Action(change=lambda piece: piece.replace(b"layers", b"LAYERS"))
    with pytest.raises(DigestMismatchError):
        proxied.get_manifest(str(image.manifest.digest))


def test_a_lying_digest_header_does_not_help(
    proxied: Repository, proxy: SlowProxy, image: Image
) -> None:
    other = make_image(seed=3, size=10).manifest
    proxy.on_request = lambda _: Action(
        status=200,
        headers={
            "Content-Type": MANIFEST_TYPE,
            "Content-Length": str(len(other.raw)),
            "Docker-Content-Digest": str(image.manifest.digest),
        },
        body=other.raw,
    )
    for identifier in ("v1", str(image.manifest.digest)):
        with pytest.raises(DigestMismatchError):
            proxied.get_manifest(identifier)


@pytest.mark.parametrize("headers", [{"Content-Type": "text/html"}, {}])
def test_a_web_page_is_no_manifest(
    proxied: Repository, proxy: SlowProxy, headers: dict[str, str]
) -> None:
    page = b"<!doctype html><title>Log in</title>"
    proxy.on_request = lambda _: Action(status=200, body=page, headers=headers)
    with pytest.raises(ProtocolError, match="answered HTML, not a registry"):
        proxied.get_manifest("v1")


def test_a_manifest_too_long_is_not_read_to_its_end(proxied: Repository, proxy: SlowProxy) -> None:
    proxy.on_request = lambda _: Action(
        status=200, body=b" " * (5 * 1024 * 1024), headers={"Content-Type": MANIFEST_TYPE}
    )
    with pytest.raises(InvalidManifestError, match="longer than"):
        proxied.get_manifest("v1")


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
@pytest.mark.parametrize("told", [None, b"other"])
def test_a_put_is_a_success_if_the_manifest_is_there(
    proxied: Repository, proxy: SlowProxy, image: Image, status: int, told: bytes | None
) -> None:
    headers = {} if told is None else {"Docker-Content-Digest": str(Digest.of(told))}
    proxied.put_manifest("there", image.manifest)
    proxy.on_request = lambda r: (
        Action(status=status, headers=headers) if r.method == "PUT" else None
    )
    proxied.put_manifest("there", image.manifest)
    other = make_image(seed=5, size=1000)
    if status != 201 or told is not None:  # 201 without a digest is a word that counts
        with pytest.raises(DigestMismatchError):
            proxied.put_manifest("there", other.manifest)
        with pytest.raises(RegistryUnavailableError, match="is not there"):
            proxied.put_manifest("nowhere", other.manifest)


def test_pushed_blobs_and_manifest_make_a_second_tag(direct: Repository, image: Image) -> None:
    other = make_image(seed=4, size=1000)
    push_blob(direct, other.layer_bytes)
    push_blob(direct, other.config_bytes)
    direct.put_manifest("v4", other.manifest)
    assert direct.head_manifest("v4") == other.manifest.descriptor


@pytest.mark.parametrize("told", [None, b"other"])
def test_who_may_not_read_has_the_registrys_word(
    proxied: Repository, proxy: SlowProxy, image: Image, told: bytes | None
) -> None:
    headers = {} if told is None else {"Docker-Content-Digest": str(Digest.of(told))}
    proxy.on_request = lambda r: (
        Action(status=202, headers=headers) if r.method == "PUT" else Action(status=403)
    )
    if told is None:
        proxied.put_manifest("v5", image.manifest)
    else:
        with pytest.raises(DigestMismatchError):
            proxied.put_manifest("v5", image.manifest)
