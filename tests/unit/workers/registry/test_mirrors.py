"""Reads by way of mirrors: what they are asked, and what they are not told."""

from __future__ import annotations

import json
from itertools import groupby
from pathlib import Path

import httpx
import pytest

from tests.unit.workers.registry.simulated import RegistryResponse, Simulated
from transship.store.errors import BlockedError, ManifestNotFoundError
from transship.store.oci.descriptor import Descriptor
from transship.store.oci.digest import Digest
from transship.store.oci.manifest import Manifest, parse_manifest
from transship.workers.registry.auth.credentials import Credential
from transship.workers.registry.client import Repository
from transship.workers.registry.transport.hosts import HostPolicy
from transship.workers.registry.transport.routes import Routes

TYPE = "application/vnd.oci.image.manifest.v1+json"
DATA = b"hello"
BLOB = Descriptor(media_type="application/octet-stream", digest=Digest.of(DATA), size=len(DATA))
RAW = json.dumps(
    {"schemaVersion": 2, "mediaType": TYPE, "config": BLOB.to_json(), "layers": []}
).encode()
MANIFEST = Digest.of(RAW)
ORIGIN, MIRROR = "https://r.test/v2/team/app", "https://m.test/v2/copies/team/app"


def gives(body: bytes, media_type: str = TYPE) -> RegistryResponse:
    headers = {
        "Content-Type": media_type,
        "Content-Length": str(len(body)),
        "Docker-Content-Digest": str(Digest.of(body)),
    }

    def answer(request: httpx.Request) -> httpx.Response:
        content = b"" if request.method == "HEAD" else body
        return httpx.Response(200, headers=headers, stream=httpx.ByteStream(content))

    return answer


def fails(status: int) -> RegistryResponse:
    return lambda _: httpx.Response(status)


def unreachable(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("refused", request=request)


class WorkerContext(Simulated):
    """A registry `r.test` with all there is, and its mirror with nothing."""

    def __init__(self, tmp_path: Path, *, allowed: str = "all", more: str = "") -> None:
        (tmp_path / "registries.conf").write_text(
            f'[[registry]]\nlocation = "r.test"\n{more}\n[[registry.mirror]]\n'
            f'location = "m.test/copies"\npull-from-mirror = "{allowed}"\n'
        )
        routes = Routes.load({}, tmp_path)
        super().__init__(policy=HostPolicy(routes=routes))
        self.routes |= {
            f"{ORIGIN}/manifests/": gives(RAW),
            f"{ORIGIN}/blobs/": gives(DATA, BLOB.media_type),
        }

    def reading(self) -> Repository:
        return self.client.repository(
            "r.test/team/app", credential=Credential(registry_token="t"), mirrored=True
        )

    def hosts(self) -> list[str]:
        return [request.url.host for request in self.requests]


def read(repository: Repository) -> bytes:
    received = bytearray()
    with repository.open_blob(BLOB) as body:
        body.read_into(received.extend, check=lambda: None)
    return bytes(received)


def test_what_the_mirror_has_is_read_there_alone(tmp_path: Path) -> None:
    context = WorkerContext(tmp_path)
    context.routes |= {
        f"{MIRROR}/manifests/": gives(RAW),
        f"{MIRROR}/blobs/": gives(DATA, BLOB.media_type),
    }
    repository = context.reading()
    root = repository.head_manifest("1.0")
    assert root is not None
    assert root.digest == MANIFEST
    assert repository.get_manifest(str(MANIFEST)).raw == RAW
    assert repository.head_blob(BLOB.digest) == len(DATA)
    assert read(repository) == DATA
    assert context.hosts() == ["m.test"] * 4


def test_the_mirror_is_not_told_the_registrys_credential(tmp_path: Path) -> None:
    context = WorkerContext(tmp_path)
    assert read(context.reading()) == DATA
    assert [line.split()[1:] for line in context.sent()] == [
        [f"{MIRROR}/blobs/{BLOB.digest}", "-"],
        [f"{ORIGIN}/blobs/{BLOB.digest}", "Bearer"],
    ]


@pytest.mark.parametrize(
    "failure",
    [
        *(pytest.param(fails(each), id=str(each)) for each in (401, 403, 404, 429, 500, 503)),
        pytest.param(unreachable, id="unreachable"),
        pytest.param(gives(b"other bytes", "text/html"), id="html"),
    ],
)
def test_a_mirrors_failure_is_none(tmp_path: Path, failure: RegistryResponse) -> None:
    context = WorkerContext(tmp_path)
    context.routes |= {f"{MIRROR}/": failure}
    repository = context.reading()
    assert repository.get_manifest(str(MANIFEST)).raw == RAW
    assert repository.head_blob(BLOB.digest) == len(DATA)
    assert read(repository) == DATA
    assert [host for host, _ in groupby(context.hosts())] == ["m.test", "r.test"] * 3


def test_other_bytes_than_the_digest_says_are_not_taken_from_a_mirror(tmp_path: Path) -> None:
    context = WorkerContext(tmp_path)
    context.routes |= {f"{MIRROR}/manifests/": gives(RAW + b" ")}
    assert context.reading().get_manifest(str(MANIFEST)).raw == RAW


def test_a_mirror_for_digests_says_nothing_of_tags(tmp_path: Path) -> None:
    context = WorkerContext(tmp_path, allowed="digest-only")
    context.routes |= {f"{MIRROR}/manifests/": gives(RAW)}
    repository = context.reading()
    repository.head_manifest("1.0")
    repository.get_manifest(str(MANIFEST))
    assert context.hosts() == ["r.test", "m.test"]


def test_a_mirror_for_tags_is_not_asked_for_digests(tmp_path: Path) -> None:
    context = WorkerContext(tmp_path, allowed="tag-only")
    context.routes |= {f"{MIRROR}/manifests/": gives(RAW)}
    repository = context.reading()
    repository.head_manifest("1.0")
    repository.get_manifest(str(MANIFEST))
    assert context.hosts() == ["m.test", "r.test"]


def test_what_nobody_has_is_the_registrys_to_say(tmp_path: Path) -> None:
    context = WorkerContext(tmp_path)
    context.routes |= {f"{ORIGIN}/manifests/": fails(404)}
    with pytest.raises(ManifestNotFoundError) as missing:
        context.reading().get_manifest("1.0")
    assert missing.value.registry == "r.test"


def test_a_target_is_never_asked_by_way_of_a_mirror(tmp_path: Path) -> None:
    context = WorkerContext(tmp_path)
    target = context.client.repository("r.test/team/app", credential=None)
    target.head_manifest("1.0")
    target.head_blob(BLOB.digest)
    assert context.hosts() == ["r.test"] * 2


def test_nothing_is_written_to_a_mirror(tmp_path: Path) -> None:
    context = WorkerContext(tmp_path)
    context.routes |= {f"{ORIGIN}/manifests/": fails(201)}
    manifest = parse_manifest(RAW, TYPE)
    assert isinstance(manifest, Manifest)
    context.reading().put_manifest("1.0", manifest)
    assert context.hosts() == ["r.test"]


def test_reads_go_to_the_location_that_a_prefix_stands_for(tmp_path: Path) -> None:
    context = WorkerContext(tmp_path, more='prefix = "named.test/x"')
    repository = context.client.repository(
        "named.test/x/team/app", credential=Credential(registry_token="t"), mirrored=True
    )
    assert read(repository) == DATA
    assert [line.split()[1:] for line in context.sent()] == [
        [f"{MIRROR}/blobs/{BLOB.digest}", "-"],
        [f"{ORIGIN}/blobs/{BLOB.digest}", "-"],  # another registry than the credential's
    ]


@pytest.mark.parametrize("mirrored", [True, False])
def test_a_blocked_registry_is_not_gone_to(tmp_path: Path, mirrored: bool) -> None:
    context = WorkerContext(tmp_path, more="blocked = true")
    with pytest.raises(BlockedError):
        context.client.repository("r.test/team/app", mirrored=mirrored)
    assert context.requests == []
