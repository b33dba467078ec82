"""What is written about a squashed image: as Docker writes it, and the same every time."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.images import ARM64, Image, build_artifact, build_image, build_index
from transship.store.errors import RequestError
from transship.store.images.build.squashing import (
    Cut,
    cut_at_parent,
    cut_last,
    cut_whole,
    squashable,
    squashed_config,
    squashed_index,
    squashed_manifest,
)
from transship.store.layers.codecs.formats import Compression
from transship.store.oci import mediatypes
from transship.store.oci.config import ImageConfig
from transship.store.oci.descriptor import Descriptor
from transship.store.oci.digest import Digest

LAYER = Digest.of(b"a layer")
BLOB = Descriptor(media_type="", digest=Digest.of(b"its blob"), size=8)


def config(layers: int, history: str, **more: Any) -> ImageConfig:
    """A config of so many layers; of its history an L made a layer, and a - none."""
    steps = [
        {"created_by": f"step {n}", **({"empty_layer": True} if step == "-" else {})}
        for n, step in enumerate(history)
    ]
    document = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Env": ["A=1"]},
        "history": steps,
        "rootfs": {
            "type": "layers",
            "diff_ids": [str(Digest.of(b"%d" % n)) for n in range(layers)],
        },
        **more,
    }
    return ImageConfig.parse(json.dumps(document).encode())


def config_of(image: Image) -> ImageConfig:
    return ImageConfig.parse(image.read(image.manifest.config.digest))


WHOLE = config(3, "L-LL-")
PARENT = config(1, "L-")


def test_a_parent_says_where_the_image_is_cut() -> None:
    cut = cut_at_parent(WHOLE, [PARENT], "base:1")
    assert cut == Cut(1, 2, f"merge {WHOLE.digest} to {PARENT.digest}")


def test_of_several_parents_one_for_the_same_platform_is_taken() -> None:
    other = config(1, "L-", architecture="arm64")
    assert cut_at_parent(WHOLE, [other, PARENT], "base:1").comment.endswith(str(PARENT.digest))


@pytest.mark.parametrize(
    ("parents", "reason"),
    [
        ([WHOLE], "no layer above it"),
        ([config(3, "L-LL")], "no layer above it"),
        ([config(4, "LLLL")], "not made from it"),
        ([config_of(build_image("other"))], "not made from it"),
        ([], "not made from it"),
    ],
)
def test_a_parent_is_strictly_below(parents: list[ImageConfig], reason: str) -> None:
    with pytest.raises(RequestError, match=reason):
        cut_at_parent(WHOLE, parents, "base:1")


@pytest.mark.parametrize(
    ("count", "cut"),
    [
        (1, Cut(2, 3, f"merge the last 1 layers of {WHOLE.digest}")),
        (2, Cut(1, 1, f"merge the last 2 layers of {WHOLE.digest}")),
        (3, cut_whole(WHOLE)),
    ],
)
def test_the_last_layers_are_cut_before_the_step_that_made_the_first_of_them(
    count: int, cut: Cut
) -> None:
    assert cut_last(WHOLE, count) == cut


def test_more_layers_than_there_are_cannot_be_the_last() -> None:
    with pytest.raises(RequestError, match="fewer than 4"):
        cut_last(WHOLE, 4)


def test_steps_stay_on_record_and_one_says_what_was_done() -> None:
    raw = squashed_config(WHOLE, cut_at_parent(WHOLE, [PARENT], "base"), LAYER, 1_700_000_000)
    made = ImageConfig.parse(raw)
    assert made.diff_ids == (*PARENT.diff_ids, LAYER)
    assert made.created == "2023-11-14T22:13:20Z"
    assert made.document["config"] == {"Env": ["A=1"]}
    assert [bool(step.get("empty_layer")) for step in made.history] == [
        False, True, True, True, True, False,
    ]  # fmt: skip
    assert [step.get("created_by") for step in made.history[:-1]] == [f"step {n}" for n in range(5)]
    assert made.history[-1] == {
        "created": "2023-11-14T22:13:20Z",
        "comment": f"merge {WHOLE.digest} to {PARENT.digest}",
    }
    assert WHOLE.history[2] == {"created_by": "step 2"}


def test_of_a_whole_image_one_layer_is_left() -> None:
    made = ImageConfig.parse(squashed_config(WHOLE, cut_whole(WHOLE), LAYER, 1.5))
    assert made.diff_ids == (LAYER,)
    assert made.created == "1970-01-01T00:00:01.500000Z"
    assert sum(not step.get("empty_layer", False) for step in made.history) == 1


@pytest.mark.parametrize(
    ("media", "compression", "types"),
    [
        ("oci", Compression.GZIP, (mediatypes.OCI_MANIFEST, mediatypes.OCI_LAYER_GZIP)),
        ("oci", Compression.ZSTD, (mediatypes.OCI_MANIFEST, mediatypes.OCI_LAYER_ZSTD)),
        ("docker", Compression.GZIP, (mediatypes.DOCKER_MANIFEST, mediatypes.DOCKER_LAYER_GZIP)),
        ("docker", Compression.ZSTD, (mediatypes.OCI_MANIFEST, mediatypes.OCI_LAYER_ZSTD)),
    ],
)
def test_a_manifest_keeps_its_family_unless_that_has_no_zstd(
    media: Any, compression: Compression, types: tuple[str, str]
) -> None:
    image = build_image("x", media=media)
    made = squashed_manifest(image.manifest, b"{}", 1, BLOB, compression)
    assert (made.media_type, made.layers[-1].media_type) == types
    assert made.layers[0].digest == image.manifest.layers[0].digest
    assert (made.layers[1].digest, made.layers[1].size) == (BLOB.digest, BLOB.size)
    assert made.config.digest == Digest.of(b"{}")


def test_an_index_keeps_its_order_and_loses_what_was_not_squashed() -> None:
    images = [build_image("x"), build_image("x", platform=ARM64)]
    index = build_index(images, attestations=True, annotations={"kept": "yes"})
    new = {
        image.digest: squashed_manifest(image.manifest, b"%d" % n, 0, BLOB, Compression.GZIP)
        for n, image in enumerate(images)
    }
    made = squashed_index(index.index, new)
    assert [child.digest for child in made.manifests] == [one.digest for one in new.values()]
    assert [child.platform for child in made.manifests] == [one.platform for one in images]
    assert made.annotations == {"kept": "yes"}


def test_what_is_no_image_is_not_squashed() -> None:
    images = build_index([build_image("x")], attestations=True).images
    assert [squashable(image.manifest) for image in images] == [True, False]
    assert not squashable(build_artifact(b"sbom").manifest)
    assert not squashable(build_image("empty", layers=0).manifest)
