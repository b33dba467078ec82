"""/remote: tags in pages, and digests; a registry in memory answers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.registry_simulator import Quirks, RegistrySimulator
from tests.unit.api.serving import Api
from transship.store.oci.mediatypes import OCI_INDEX

TAGS = [f"v{n}" for n in range(7)]


@pytest.fixture
def registry() -> Iterator[RegistrySimulator]:
    with RegistrySimulator(Quirks(page=3)) as simulator:
        for tag in TAGS:
            simulator.add_image("app", tag, [tag.encode()])
        yield simulator


def pages(api: Api, repository: str) -> Iterator[list[str]]:
    cursor: str | None = None
    while True:
        answer = api.get(f"/remote/{repository}/tags", params={"cursor": cursor} if cursor else {})
        assert answer.status_code == 200, answer.text
        yield answer.json()["items"]
        cursor = answer.json()["next"]
        if cursor is None:
            return


def test_tags_come_in_the_registrys_own_pages(api: Api, registry: RegistrySimulator) -> None:
    found = list(pages(api, f"{registry.host}/app"))
    assert [len(page) for page in found] == [3, 3, 1]
    assert [tag for page in found for tag in page] == TAGS


@pytest.mark.parametrize("cursor", ["*", "bj0xMCBcbg", "4pi6"])
def test_a_cursor_that_no_page_gave_is_refused(
    api: Api, registry: RegistrySimulator, cursor: str
) -> None:
    answer = api.get(f"/remote/{registry.host}/app/tags", params={"cursor": cursor})
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid-request")
    assert registry.requests() == []


def test_a_repository_that_is_not_there_has_no_tags(api: Api, registry: RegistrySimulator) -> None:
    answer = api.get(f"/remote/{registry.host}/nothing/tags")
    assert answer.status_code == 502
    assert answer.json()["side"] == "source"


def test_an_image_is_no_repository(api: Api) -> None:
    answer = api.get("/remote/r.test/app:1/tags")
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid-reference")


def test_a_digest_costs_one_head(api: Api, registry: RegistrySimulator) -> None:
    wanted = registry.tags["app"]["v1"]
    found = api.get(f"/remote/{registry.host}/app:v1/digest").json()
    assert (found["digest"], found["reference"]) == (wanted, f"{registry.host}/app:v1")
    assert [one.method for one in registry.requests()] == ["HEAD"]


def index(registry: RegistrySimulator) -> tuple[str, dict[str, str]]:
    """Put an index of two platforms under the tag `all`: its digest, and those of its images."""
    by_platform = {"amd64": registry.tags["app"]["v1"], "arm64": registry.tags["app"]["v2"]}
    manifests = [
        {
            "mediaType": registry.manifests["app"][digest][0],
            "digest": digest,
            "size": len(registry.manifests["app"][digest][1]),
            "platform": {"os": "linux", "architecture": architecture},
        }
        for architecture, digest in by_platform.items()
    ]
    document: dict[str, Any] = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests}
    return registry.add_manifest(
        "app", "all", OCI_INDEX, json.dumps(document).encode()
    ), by_platform


def test_of_an_index_the_digest_is_its_own_or_a_platforms(
    api: Api, registry: RegistrySimulator
) -> None:
    own, by_platform = index(registry)
    path = f"/remote/{registry.host}/app:all/digest"
    assert api.get(path).json()["digest"] == own
    for architecture, digest in by_platform.items():
        asked = {"platform": f"linux/{architecture}"}
        assert api.get(path, params=asked).json()["digest"] == digest
    refused = api.get(path, params={"platform": "linux/s390x"}).json()
    assert refused["code"] == "platform-not-found"
    assert "linux/amd64, linux/arm64" in refused["hint"]
    assert api.get(path, params={"platform": "no such"}).json()["code"] == "invalid-platform"


def test_asking_registries_needs_the_scope_submit(api: Api, registry: RegistrySimulator) -> None:
    headers = {"Authorization": f"Bearer {api.token('read')}"}
    for path in ("app/tags", "app:v1/digest"):
        answer = api.get(f"/remote/{registry.host}/{path}", headers=headers)
        assert answer.status_code == 403, path
    assert registry.requests() == []
