"""Archives to read, built by the standard library, and a sink to read them into."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator, Mapping
from typing import Any

from tests.support.images import Image, ImageIndex
from tests.support.memory_store import MemoryStore
from transship.store.archives.archive import Archive
from transship.store.archives.read import read_archive
from transship.store.errors import DigestMismatchError
from transship.store.oci import mediatypes
from transship.store.oci.digest import Digest

Files = dict[str, bytes]


class MemorySink(MemoryStore):
    """A sink that keeps blobs in memory."""

    def receive(self, pieces: Iterator[bytes], *, size: int, expected: Digest | None) -> Digest:
        if expected is not None and expected.algorithm != "sha256":
            return self._receive_named(pieces, size, expected)
        with self.draft("load") as draft:
            for piece in pieces:
                draft.write(piece)
            assert draft.size == size
            digest = draft.commit()
        if expected not in (None, digest):
            raise DigestMismatchError(expected=str(expected), actual=str(digest))
        return digest

    def _receive_named(self, pieces: Iterator[bytes], size: int, expected: Digest) -> Digest:
        with self.ingest(expected, fence=1) as ingest:
            for piece in pieces:
                ingest.write(piece)
            ingest.commit(size=size, guard=lambda: None)
        return expected


def tar(files: Mapping[str, bytes], *, links: Mapping[str, str] | None = None) -> bytes:
    """A tar of *files*, and of symbolic links from names to targets."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        for name, target in (links or {}).items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, target
            archive.addfile(info)
    return packed.getvalue()


def encoded(value: Any) -> bytes:
    return json.dumps(value).encode()


def docker_files(*images: Image, tags: tuple[str, ...] | None = ("app:1",)) -> Files:
    """The files of a docker-archive of *images*, each under *tags*."""
    files: Files = {}
    entries = []
    for image in images:
        config = image.manifest.config.digest
        files[f"{config.hex}.json"] = image.read(config)
        layers = []
        for number, layer in enumerate(image.manifest.layers):
            path = f"{number}-{layer.digest.hex[:12]}/layer.tar"
            files[path] = image.read(layer.digest)
            layers.append(path)
        entries.append({"Config": f"{config.hex}.json", "RepoTags": tags, "Layers": layers})
    files["manifest.json"] = encoded(entries)
    return files


def blob_name(digest: Digest) -> str:
    return f"blobs/{digest.algorithm}/{digest.hex}"


def layout_files(*roots: Image | ImageIndex, annotations: Mapping[str, str] | None = None) -> Files:
    """The files of an OCI layout of *roots*, each with *annotations*."""
    files: Files = {"oci-layout": encoded({"imageLayoutVersion": "1.0.0"})}
    entries = []
    for root in roots:
        files |= {blob_name(image.digest): image.manifest.raw for image in members_of(root)}
        for digest, blob in root.blobs.items():
            assert isinstance(blob, bytes)
            files[blob_name(digest)] = blob
        if isinstance(root, ImageIndex):
            files[blob_name(root.digest)] = root.index.raw
        entries.append({**root.descriptor.to_json(), "annotations": dict(annotations or {})})
    files["index.json"] = encoded(
        {"schemaVersion": 2, "mediaType": mediatypes.OCI_INDEX, "manifests": entries}
    )
    return files


def members_of(root: Image | ImageIndex) -> tuple[Image, ...]:
    return root.images if isinstance(root, ImageIndex) else (root,)


def read(
    files: Mapping[str, bytes] | bytes, sink: MemorySink | None = None, **options: Any
) -> Archive:
    """Read an archive of *files*."""
    packed = files if isinstance(files, bytes) else tar(files)
    return read_archive(io.BytesIO(packed), sink or MemorySink(), **options)
