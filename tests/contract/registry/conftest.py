"""A real registry for the module, a misbehaving proxy for each test."""

from __future__ import annotations

import io
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.support.proxy import SlowProxy
from tests.support.registries import RegistryProcess
from transship.store.oci.descriptor import Descriptor
from transship.store.oci.digest import Digest
from transship.store.oci.manifest import Manifest, parse_manifest
from transship.workers.registry.auth.credentials import Credential
from transship.workers.registry.client import RegistryClient, Repository
from transship.workers.registry.transport.hosts import HostPolicy

ANN = Credential("ann", "pass-word")
MIB = 1024 * 1024
LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar"
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"


@dataclass(frozen=True)
class Image:
    """An image that was pushed: a layer of 12 MiB, beyond what the fast path needs."""

    layer: Descriptor
    layer_bytes: bytes
    config_bytes: bytes
    manifest: Manifest


def descriptor(data: bytes, media_type: str = LAYER_TYPE) -> Descriptor:
    return Descriptor(media_type=media_type, digest=Digest.of(data), size=len(data))


def nothing() -> None:
    return None


def push_blob(repository: Repository, data: bytes) -> list[int]:
    told: list[int] = []
    repository.upload_blob(
        Digest.of(data),
        len(data),
        io.BytesIO(data),
        upload=None,
        on_bytes=told.append,
        check=nothing,
    )
    return told


def make_image(seed: int = 1, size: int = 12 * MIB + 12345) -> Image:
    layer = random.Random(seed).randbytes(size)
    config = json.dumps({"architecture": "amd64", "os": "linux", "seed": seed}).encode()
    document = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": descriptor(config, CONFIG_TYPE).to_json(),
        "layers": [descriptor(layer).to_json()],
    }
    manifest = parse_manifest(json.dumps(document, indent=1).encode(), MANIFEST_TYPE)
    assert isinstance(manifest, Manifest)
    return Image(descriptor(layer), layer, config, manifest)


@pytest.fixture(scope="module", params=["anonymous", "htpasswd"])
def credential(request: pytest.FixtureRequest) -> Credential | None:
    return ANN if request.param == "htpasswd" else None


@pytest.fixture(scope="module")
def registry(
    tmp_path_factory: pytest.TempPathFactory, credential: Credential | None
) -> Iterator[RegistryProcess]:
    login = None if credential is None else (credential.username, credential.password)
    with RegistryProcess(tmp_path_factory.mktemp("registry"), htpasswd=login) as process:
        yield process


@pytest.fixture
def client() -> Iterator[RegistryClient]:
    with RegistryClient(HostPolicy()) as made:
        yield made


@pytest.fixture(scope="module")
def image(registry: RegistryProcess, credential: Credential | None) -> Image:
    made = make_image()
    with RegistryClient(HostPolicy()) as client:
        repository = client.repository(f"{registry.host}/library/app", credential=credential)
        push_blob(repository, made.layer_bytes)
        push_blob(repository, made.config_bytes)
        repository.put_manifest("v1", made.manifest)
    return made


@pytest.fixture
def proxy(registry: RegistryProcess) -> Iterator[SlowProxy]:
    with SlowProxy(registry.host) as made:
        yield made


@pytest.fixture
def direct(
    client: RegistryClient, registry: RegistryProcess, credential: Credential | None
) -> Repository:
    """The repository with the image, without a proxy."""
    return client.repository(f"{registry.host}/library/app", credential=credential)


@pytest.fixture
def proxied(client: RegistryClient, proxy: SlowProxy, credential: Credential | None) -> Repository:
    """The repository with the image, through the proxy."""
    return client.repository(f"{proxy.host}/library/app", credential=credential)
