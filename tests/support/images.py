"""Images to test with, and a minimal way to push them that shares no code with the service.

Layers hold real files, those of the interpreter's own standard library, so that they compress as
layers do. The same arguments give the same digests on the same machine.
"""

from __future__ import annotations

import json
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx

from tests.support.layers import Blob, Compression, Media, layer_files, pack_layer
from transship.store.content.ports import ContentStore
from transship.store.oci import mediatypes
from transship.store.oci.descriptor import Descriptor
from transship.store.oci.digest import Digest
from transship.store.oci.manifest import Index, Manifest, parse_manifest
from transship.store.oci.platform import Platform

AMD64 = Platform("linux", "amd64")
ARM64 = Platform("linux", "arm64")
CREATED = "2024-05-01T12:00:00Z"


@dataclass(frozen=True, slots=True)
class Image:
    """A manifest and the blobs that it names; large ones are files.

    *platform* and *annotations* are what an index says of it.
    """

    manifest: Manifest
    blobs: Mapping[Digest, Blob]
    diff_ids: tuple[Digest, ...] = ()
    platform: Platform | None = None
    annotations: Mapping[str, str] = field(default_factory=dict)

    @property
    def digest(self) -> Digest:
        """The digest of its manifest."""
        return self.manifest.digest

    @property
    def descriptor(self) -> Descriptor:
        """How an index names it."""
        return replace(
            self.manifest.descriptor, platform=self.platform, annotations=self.annotations
        )

    @property
    def size(self) -> int:
        """Bytes of its config and layers, each counted once."""
        return sum(blob.size for blob in self.manifest.blobs)

    def read(self, digest: Digest) -> bytes:
        """Return a blob in whole."""
        blob = self.blobs[digest]
        return blob.read_bytes() if isinstance(blob, Path) else blob


@dataclass(frozen=True, slots=True)
class ImageIndex:
    """An index and the images that it names."""

    index: Index
    images: tuple[Image, ...]

    @property
    def digest(self) -> Digest:
        """The digest of the index."""
        return self.index.digest

    @property
    def descriptor(self) -> Descriptor:
        """How others name it."""
        return self.index.descriptor

    @property
    def blobs(self) -> dict[Digest, Blob]:
        """The blobs of all its images."""
        return {digest: blob for image in self.images for digest, blob in image.blobs.items()}


def build_image(
    seed: str,
    *,
    layers: int = 3,
    layer_bytes: int = 300_000,
    platform: Platform = AMD64,
    compression: Compression | Sequence[Compression] = "gzip",
    media: Media = "oci",
    base: Image | None = None,
    repeated_layer: bool = False,
    empty_layer: bool = False,
    apart: bool = False,
    labels: Mapping[str, str] | None = None,
    directory: Path | None = None,
) -> Image:
    """Build an image.

    Args:
        seed: Other seeds, and other platforms, give other layers.
        layers: How many to make, apart from those asked for below.
        layer_bytes: About how long each is before it is compressed.
        platform: What the config says it runs on.
        compression: One for all layers, or several that take turns.
        media: Whose media types. Docker has none for zstd.
        base: Begin with the layers of this image, as FROM does.
        repeated_layer: End with the first layer once more.
        empty_layer: Add a layer whose tar has no entry.
        apart: Let no layer replace the files of another.
        labels: For the config.
        directory: Where to write layers; without it they are held in memory.
    """
    turns = [compression] if isinstance(compression, str) else compression
    if directory is not None:
        directory.mkdir(parents=True, exist_ok=True)
    unique = f"{seed}/{platform}"
    contents = [layer_files(unique, number, layer_bytes, apart=apart) for number in range(layers)]
    if empty_layer:
        contents.append(iter(()))
    made = [
        pack_layer(entries, turns[number % len(turns)], media, directory)
        for number, entries in enumerate(contents)
    ]
    if repeated_layer:
        made.append(made[0])
    descriptors = [*(base.manifest.layers if base else ()), *(layer.descriptor for layer in made)]
    diff_ids = (*(base.diff_ids if base else ()), *(layer.diff_id for layer in made))
    config = _json(_config(seed, platform, diff_ids, labels or {}))
    blobs: dict[Digest, Blob] = {Digest.of(config): config}
    if base is not None:
        blobs |= {layer.digest: base.blobs[layer.digest] for layer in base.manifest.layers}
    blobs |= {layer.descriptor.digest: layer.blob for layer in made}
    oci = media == "oci"
    manifest = _manifest(
        media_type=mediatypes.OCI_MANIFEST if oci else mediatypes.DOCKER_MANIFEST,
        config=_named(config, mediatypes.OCI_CONFIG if oci else mediatypes.DOCKER_CONFIG),
        layers=descriptors,
    )
    return Image(manifest, blobs, diff_ids, platform)


def big_image(
    directory: Path,
    total_bytes: int,
    layers: int = 4,
    *,
    seed: str = "big",
    compression: Compression = "gzip",
) -> Image:
    """Build an image whose layers have *total_bytes* before compression, in files in *directory*.

    Three quarters of each layer, where it is longer than 4 MiB, do not compress.
    """
    return build_image(
        seed,
        layers=layers,
        layer_bytes=total_bytes // layers,
        compression=compression,
        directory=directory,
    )


def build_artifact(
    content: bytes,
    *,
    artifact_type: str = "application/vnd.example.sbom.v1+json",
    subject: Descriptor | None = None,
    annotations: Mapping[str, str] | None = None,
) -> Image:
    """Build an artifact with the empty config, which refers to *subject* if there is one."""
    empty = b"{}"
    manifest = _manifest(
        media_type=mediatypes.OCI_MANIFEST,
        artifactType=artifact_type,
        config=_named(empty, mediatypes.OCI_EMPTY),
        layers=[_named(content, artifact_type)],
        subject=replace(subject, platform=None, annotations={}) if subject else None,
        annotations=dict(annotations) if annotations else None,
    )
    return Image(manifest, {Digest.of(empty): empty, Digest.of(content): content})


def build_attestation(image: Image) -> Image:
    """Build what BuildKit puts beside *image* in an index: a statement for no platform."""
    statement = _json({"_type": "https://in-toto.io/Statement/v0.1", "about": str(image.digest)})
    config = _json(_config("attestation", Platform("unknown", "unknown"), (), {}))
    manifest = _manifest(
        media_type=mediatypes.OCI_MANIFEST,
        config=_named(config, mediatypes.OCI_CONFIG),
        layers=[_named(statement, "application/vnd.in-toto+json")],
    )
    return Image(
        manifest,
        {Digest.of(config): config, Digest.of(statement): statement},
        platform=Platform("unknown", "unknown"),
        annotations={
            "vnd.docker.reference.digest": str(image.digest),
            "vnd.docker.reference.type": "attestation-manifest",
        },
    )


def build_index(
    images: Sequence[Image],
    *,
    media: Media = "oci",
    attestations: bool = False,
    annotations: Mapping[str, str] | None = None,
) -> ImageIndex:
    """Build an index of *images*, in that order, then an attestation for each if asked for."""
    members = [*images, *(map(build_attestation, images) if attestations else ())]
    raw = _json(
        {
            "schemaVersion": 2,
            "mediaType": mediatypes.OCI_INDEX if media == "oci" else mediatypes.DOCKER_LIST,
            "manifests": [image.descriptor.to_json() for image in members],
            **({"annotations": dict(annotations)} if annotations else {}),
        }
    )
    index = parse_manifest(raw)
    assert isinstance(index, Index)
    return ImageIndex(index, tuple(members))


def put_image(store: ContentStore, image: Image | ImageIndex) -> None:
    """Put an image into a content store: blobs and manifests."""
    for digest, blob in image.blobs.items():
        if isinstance(blob, bytes):
            store.put(blob)
            continue
        with store.ingest(digest, fence=1) as ingest, blob.open("rb") as file:
            while chunk := file.read(1024 * 1024):
                ingest.write(chunk)
            ingest.commit(size=ingest.offset, guard=lambda: None)
    if isinstance(image, ImageIndex):
        for member in image.images:
            store.put(member.manifest.raw)
        store.put(image.index.raw)
    else:
        store.put(image.manifest.raw)


# --- pushing -----------------------------------------------------------------------------------


def push_to_registry(
    base_url: str,
    repository: str,
    tag: str | None,
    image: Image,
    *,
    auth: tuple[str, str] | None = None,
    verify: ssl.SSLContext | bool = True,
) -> Digest:
    """Push *image*, by its digest alone where *tag* is None, and return that digest.

    Raises:
        httpx.HTTPStatusError: the registry refuses something.
    """
    with httpx.Client(base_url=base_url, auth=auth, verify=verify, timeout=60) as client:
        _push_blobs(client, repository, image.blobs)
        _push_manifest(client, repository, tag or str(image.digest), image.manifest)
    return image.digest


def push_index(
    base_url: str,
    repository: str,
    tag: str | None,
    index: ImageIndex,
    *,
    auth: tuple[str, str] | None = None,
    verify: ssl.SSLContext | bool = True,
) -> Digest:
    """Push *index* after the images that it names, these by digest; return the index's digest.

    Raises:
        httpx.HTTPStatusError: the registry refuses something.
    """
    with httpx.Client(base_url=base_url, auth=auth, verify=verify, timeout=60) as client:
        _push_blobs(client, repository, index.blobs)
        for image in index.images:
            _push_manifest(client, repository, str(image.digest), image.manifest)
        _push_manifest(client, repository, tag or str(index.digest), index.index)
    return index.digest


def _push_blobs(client: httpx.Client, repository: str, blobs: Mapping[Digest, Blob]) -> None:
    for digest, blob in blobs.items():
        if client.head(f"/v2/{repository}/blobs/{digest}").status_code == 200:
            continue
        opened = client.post(f"/v2/{repository}/blobs/uploads/").raise_for_status()
        location = opened.headers["Location"]
        target = f"{location}{'&' if '?' in location else '?'}digest={digest}"
        headers = {"Content-Type": "application/octet-stream"}
        if isinstance(blob, bytes):
            client.put(target, content=blob, headers=headers).raise_for_status()
            continue
        with blob.open("rb") as file:
            client.put(target, content=file, headers=headers).raise_for_status()


def _push_manifest(
    client: httpx.Client, repository: str, name: str, manifest: Manifest | Index
) -> None:
    client.put(
        f"/v2/{repository}/manifests/{name}",
        content=manifest.raw,
        headers={"Content-Type": manifest.media_type},
    ).raise_for_status()


# --- documents ---------------------------------------------------------------------------------


def _json(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, indent=2).encode()


def _named(raw: bytes, media_type: str) -> Descriptor:
    return Descriptor(media_type=media_type, digest=Digest.of(raw), size=len(raw))


def _manifest(**fields: Any) -> Manifest:
    document: dict[str, Any] = {"schemaVersion": 2, "mediaType": fields.pop("media_type")}
    for name, value in fields.items():
        if isinstance(value, Descriptor):
            document[name] = value.to_json()
        elif name == "layers":
            document[name] = [layer.to_json() for layer in value]
        elif value is not None:
            document[name] = value
    manifest = parse_manifest(_json(document))
    assert isinstance(manifest, Manifest)
    return manifest


def _config(
    seed: str, platform: Platform, diff_ids: Sequence[Digest], labels: Mapping[str, str]
) -> dict[str, Any]:
    layers = [
        {"created": CREATED, "created_by": f"COPY layer {number} of {seed}"}
        for number in range(len(diff_ids))
    ]
    return {
        **platform.to_json(),
        "created": CREATED,
        "config": {
            "Env": ["PATH=/usr/local/bin:/usr/bin:/bin"],
            "Cmd": ["python3"],
            "Labels": {"org.example.seed": seed, **labels},
        },
        "rootfs": {"type": "layers", "diff_ids": [str(diff_id) for diff_id in diff_ids]},
        "history": [
            *layers,
            {"created": CREATED, "created_by": 'CMD ["python3"]', "empty_layer": True},
        ],
    }
