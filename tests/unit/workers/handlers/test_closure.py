"""What belongs to an image, and what of it a platform chooses."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from tests.support.images import AMD64, ARM64, Image, ImageIndex, build_image, build_index
from transship.store.errors import InvalidManifestError, PlatformNotFoundError
from transship.store.oci import mediatypes
from transship.store.oci.descriptor import Descriptor
from transship.store.oci.digest import Digest
from transship.store.oci.manifest import MAX_MANIFEST_BYTES, Index, Manifest, parse_manifest
from transship.store.oci.platform import Platform
from transship.workers.steps.closure import DEEPEST, MAX_BYTES, Closure, narrowed, resolve

SMALL: dict[str, Any] = {"layers": 1, "layer_bytes": 1000}


class Manifests:
    """Manifests by digest, and a record of which were fetched."""

    def __init__(self, *images: Image | ImageIndex) -> None:
        self.held: dict[Digest, Manifest | Index] = {}
        self.fetched: list[Digest] = []
        self.batches: list[int] = []
        for image in images:
            self.put(image)

    def put(self, image: Image | ImageIndex) -> None:
        if isinstance(image, ImageIndex):
            self.held[image.digest] = image.index
            for member in image.images:
                self.put(member)
        else:
            self.held[image.digest] = image.manifest

    def __call__(self, descriptors: Sequence[Descriptor]) -> list[Manifest | Index]:
        digests = [descriptor.digest for descriptor in descriptors]
        self.batches.append(len(digests))
        self.fetched += digests
        return [self.held[digest] for digest in digests]


def _index(children: Iterable[Descriptor]) -> Index:
    document = {
        "schemaVersion": 2,
        "mediaType": mediatypes.OCI_INDEX,
        "manifests": [child.to_json() for child in children],
    }
    index = parse_manifest(json.dumps(document).encode())
    assert isinstance(index, Index)
    return index


@pytest.fixture(scope="module")
def amd64() -> Image:
    return build_image("app", platform=AMD64, **SMALL)


@pytest.fixture(scope="module")
def arm64() -> Image:
    return build_image("app", platform=ARM64, **SMALL)


@pytest.fixture(scope="module")
def both(amd64: Image, arm64: Image) -> ImageIndex:
    return build_index([amd64, arm64])


@pytest.fixture(scope="module")
def attested(amd64: Image, arm64: Image) -> ImageIndex:
    return build_index([amd64, arm64], attestations=True)


def _names(closure: Closure) -> list[Digest]:
    return [manifest.digest for manifest in closure.manifests]


# --- walking -------------------------------------------------------------------------------------


def test_an_image_is_its_own_closure(amd64: Image) -> None:
    closure = resolve(amd64.descriptor, (), Manifests(amd64))
    assert (_names(closure), closure.root) == ([amd64.digest], amd64.manifest)


def test_children_come_before_the_index_that_names_them(
    both: ImageIndex, amd64: Image, arm64: Image
) -> None:
    closure = resolve(both.descriptor, (), Manifests(both))
    assert _names(closure) == [amd64.digest, arm64.digest, both.digest]


def test_the_blobs_are_configs_and_layers_each_once(amd64: Image) -> None:
    again = replace(amd64, platform=ARM64)
    twice = build_index([amd64, again])
    closure = resolve(twice.descriptor, (), Manifests(twice))
    assert closure.blobs == list(amd64.manifest.blobs)


def test_a_child_that_is_named_twice_is_fetched_once(amd64: Image) -> None:
    twice = build_index([amd64, replace(amd64, platform=ARM64)])
    manifests = Manifests(twice)
    resolve(twice.descriptor, (), manifests)
    assert manifests.fetched == [twice.digest, amd64.digest]


def test_the_children_of_an_index_are_asked_for_together(both: ImageIndex) -> None:
    outer = _index([both.descriptor])
    manifests = Manifests(both)
    manifests.held[outer.digest] = outer
    resolve(outer.descriptor, (), manifests)
    assert manifests.batches == [1, 1, 2]


def test_a_child_that_is_below_its_sibling_too_comes_before_it(
    both: ImageIndex, amd64: Image, arm64: Image
) -> None:
    inner = _index([amd64.descriptor])
    outer = _index([inner.descriptor, amd64.descriptor, arm64.descriptor])
    manifests = Manifests(both)
    manifests.held |= {inner.digest: inner, outer.digest: outer}
    closure = resolve(outer.descriptor, (), manifests)
    assert _names(closure) == [amd64.digest, inner.digest, arm64.digest, outer.digest]
    assert manifests.batches == [1, 3]


def test_an_index_within_an_index_is_walked(both: ImageIndex, amd64: Image, arm64: Image) -> None:
    outer = _index([both.descriptor])
    manifests = Manifests(both)
    manifests.held[outer.digest] = outer
    closure = resolve(outer.descriptor, (), manifests)
    assert _names(closure) == [amd64.digest, arm64.digest, both.digest, outer.digest]


def test_what_is_no_image_and_no_index_is_passed_over(amd64: Image) -> None:
    other = Descriptor(media_type="application/vnd.example.thing", digest=Digest.of(b"x"), size=1)
    index = _index([other, amd64.descriptor])
    manifests = Manifests(amd64)
    manifests.held[index.digest] = index
    assert _names(resolve(index.descriptor, (), manifests)) == [amd64.digest, index.digest]


def test_layers_that_may_not_be_distributed_are_not_sent(amd64: Image) -> None:
    document = json.loads(amd64.manifest.raw)
    document["layers"][0]["mediaType"] = (
        "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
    )
    manifest = parse_manifest(json.dumps(document).encode())
    assert isinstance(manifest, Manifest)
    closure = Closure(manifest, (manifest,))
    assert closure.distributable_blobs() == [manifest.config]


# --- hostile ones --------------------------------------------------------------------------------


def _nested(depth: int, innermost: Image) -> tuple[Index, Manifests]:
    manifests = Manifests(innermost)
    index = _index([innermost.descriptor])
    for _ in range(depth - 1):
        manifests.held[index.digest] = index
        index = _index([index.descriptor])
    manifests.held[index.digest] = index
    return index, manifests


def test_indexes_may_be_nested_as_deep_as_the_bound(amd64: Image) -> None:
    index, manifests = _nested(DEEPEST, amd64)
    assert len(resolve(index.descriptor, (), manifests).manifests) == DEEPEST + 1


def test_indexes_nested_deeper_are_refused(amd64: Image) -> None:
    index, manifests = _nested(DEEPEST + 1, amd64)
    with pytest.raises(InvalidManifestError, match="too deep"):
        resolve(index.descriptor, (), manifests)


def test_an_index_that_leads_back_to_itself_is_refused(both: ImageIndex) -> None:
    """No true digest allows it; a store that was tampered with might."""
    manifests = Manifests(both)
    loop = _index([both.descriptor])
    manifests.held[both.digest] = replace(loop, digest=both.digest)
    with pytest.raises(InvalidManifestError, match="too deep"):
        resolve(both.descriptor, (), manifests)


def test_manifests_of_more_bytes_than_anybody_needs_are_refused(amd64: Image) -> None:
    def numbered(number: int) -> Descriptor:
        digest = Digest.of(str(number).encode())
        return Descriptor(media_type=mediatypes.OCI_MANIFEST, digest=digest, size=1)  # it says

    large = b" " * MAX_MANIFEST_BYTES
    children = [numbered(n) for n in range(MAX_BYTES // MAX_MANIFEST_BYTES + 2)]
    parts = [_index(children[start : start + 6]) for start in range(0, len(children), 6)]
    top = _index(part.descriptor for part in parts)
    known = {index.digest: index for index in (*parts, top)}

    def fetch(descriptors: Sequence[Descriptor]) -> list[Manifest | Index]:
        digests = [descriptor.digest for descriptor in descriptors]
        return [known.get(d) or replace(amd64.manifest, digest=d, raw=large) for d in digests]

    with pytest.raises(InvalidManifestError, match="take more than"):
        resolve(top.descriptor, (), fetch)


def test_children_that_are_no_manifests_are_blobs(amd64: Image) -> None:
    layer = Descriptor(media_type=mediatypes.DOCKER_LAYER_GZIP, digest=Digest.of(b"cached"), size=6)
    config = Descriptor(
        media_type="application/vnd.buildkit.cacheconfig.v0", digest=Digest.of(b"{}"), size=2
    )
    index = _index([layer, amd64.descriptor, config])
    manifests = Manifests(amd64)
    manifests.held[index.digest] = index
    closure = resolve(index.descriptor, (), manifests)
    assert [one.digest for one in closure.manifests] == [amd64.digest, index.digest]
    assert {layer.digest, config.digest} < {blob.digest for blob in closure.blobs}


# --- platforms -----------------------------------------------------------------------------------


def test_a_platform_chooses_its_image(both: ImageIndex, arm64: Image) -> None:
    manifests = Manifests(both)
    closure = resolve(both.descriptor, (ARM64,), manifests)
    assert _names(closure) == [arm64.digest, both.digest]
    assert manifests.fetched == [both.digest, arm64.digest]


def test_several_platforms_choose_several(attested: ImageIndex, amd64: Image, arm64: Image) -> None:
    closure = resolve(attested.descriptor, (ARM64, AMD64), Manifests(attested))
    assert _names(closure) == [arm64.digest, amd64.digest, attested.digest]


def test_two_platforms_that_one_image_serves_choose_it_once(both: ImageIndex, amd64: Image) -> None:
    wanted = (AMD64, Platform("linux", "amd64", "v3"))
    closure = resolve(both.descriptor, wanted, Manifests(both))
    assert _names(closure) == [amd64.digest, both.digest]


def test_an_image_that_is_no_index_is_taken_for_any_platform(amd64: Image) -> None:
    assert _names(resolve(amd64.descriptor, (ARM64,), Manifests(amd64))) == [amd64.digest]


def test_a_platform_that_is_not_there_is_named_with_those_that_are(attested: ImageIndex) -> None:
    with pytest.raises(PlatformNotFoundError, match="no linux/s390x") as caught:
        resolve(attested.descriptor, (Platform("linux", "s390x"),), Manifests(attested))
    assert caught.value.hint == "it has linux/amd64, linux/arm64"


def test_attestations_belong_to_the_whole(attested: ImageIndex) -> None:
    assert len(resolve(attested.descriptor, (), Manifests(attested)).images) == 4


def test_attestations_belong_to_no_platform(attested: ImageIndex, amd64: Image) -> None:
    closure = resolve(attested.descriptor, (AMD64,), Manifests(attested))
    assert [image.digest for image in closure.images] == [amd64.digest]


def test_no_one_can_ask_for_the_platform_of_attestations(attested: ImageIndex) -> None:
    with pytest.raises(PlatformNotFoundError):
        resolve(attested.descriptor, (Platform("linux", "unknown"),), Manifests(attested))


# --- a root of its own ---------------------------------------------------------------------------


def _narrowed(index: ImageIndex, *platforms: Platform) -> Closure:
    return narrowed(resolve(index.descriptor, platforms, Manifests(index)), platforms)


def test_one_platform_of_an_index_is_an_image(both: ImageIndex, arm64: Image) -> None:
    closure = _narrowed(both, ARM64)
    assert (closure.root, _names(closure)) == (arm64.manifest, [arm64.digest])


def test_some_platforms_of_an_index_are_an_index_of_these(
    attested: ImageIndex, amd64: Image, arm64: Image
) -> None:
    closure = _narrowed(attested, AMD64, ARM64)
    assert isinstance(closure.root, Index)
    assert [child.digest for child in closure.root.manifests] == [amd64.digest, arm64.digest]
    assert closure.manifests[-1] is closure.root


def test_all_platforms_of_an_index_are_the_index_itself(both: ImageIndex) -> None:
    assert _narrowed(both, ARM64, AMD64).root == both.index


def test_without_platforms_nothing_is_narrowed(attested: ImageIndex) -> None:
    assert _narrowed(attested).root == attested.index


def test_an_image_is_not_narrowed(amd64: Image) -> None:
    closure = resolve(amd64.descriptor, (ARM64,), Manifests(amd64))
    assert narrowed(closure, (ARM64,)) == closure


def test_the_same_platforms_give_the_same_index(attested: ImageIndex) -> None:
    assert _narrowed(attested, AMD64, ARM64).root.digest == (
        _narrowed(attested, ARM64, AMD64).root.digest
    )
