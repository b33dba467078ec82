"""Sizes of what a scenario has made, in Docker's measure and in that of another subject.

Docker tells how much the files of a layer take, unpacked; others tell how long its blob is. What a
layer holds says what each is to tell, so that the two can be compared by value: for single images,
for what they share, for what a removal gives back. Layers that a subject has made itself are read
where it holds them.
"""

from __future__ import annotations

import gzip
import tarfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import zstandard

from tests.oracle.inputs import Made
from tests.oracle.subject import Json, Subject
from transship.store.oci.digest import Digest

_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"


@dataclass(frozen=True, slots=True)
class Size:
    """How large something is, for Docker and as a blob."""

    docker: int = 0
    blob: int = 0

    def __add__(self, other: Size) -> Size:
        return Size(self.docker + other.docker, self.blob + other.blob)


@dataclass(frozen=True, slots=True)
class Measured:
    """An image: its layers from the bottom up by chainID, and its config."""

    layers: tuple[tuple[str, Size], ...]
    config: int

    @property
    def size(self) -> Size:
        """All of it; Docker counts no config."""
        return total(size for _, size in self.layers) + Size(0, self.config)


class Measures:
    """What is known of sizes; turns those of a subject that counts blobs into Docker's."""

    def __init__(self, subject: Subject) -> None:
        """Leave the sizes of a subject alone that does not count blobs."""
        self._subject = subject
        self._images: dict[str, Measured] = {}
        self._reclaimed: dict[str, str] = {}  # what was told of prunes, and what was made of it
        self._layers: dict[str, Size] = {}

    def know(self, made: Made) -> None:
        """Learn how large an image is, before it is in the store."""
        self._learn(made.id, made.config, made.layers)

    def know_held(self, id_: str) -> None:
        """Learn how large an image is that the subject has made or loaded."""
        if self._subject.counts_blobs and id_ not in self._images:
            config, *layers = self._subject.blobs(id_)
            self._learn(id_, config, layers)

    def _learn(self, id_: str, config: bytes, layers: Sequence[bytes]) -> None:
        chain, found = "", []
        for blob in layers:
            plain = decompressed(blob)
            diff_id = str(Digest.of(plain))
            chain = str(Digest.of(f"{chain} {diff_id}".encode())) if chain else diff_id
            found.append((chain, Size(unpacked_bytes(plain), len(blob))))
        self._images[id_] = Measured(tuple(found), len(config))
        self._layers |= dict(found)

    def images(self, listed: Iterable[Mapping[str, Any]]) -> list[Json]:
        """A list of images, or of what they take, with Docker's sizes."""
        shown = [dict(one) for one in listed]
        if not self._subject.counts_blobs:
            return shown
        measured = [self._measured(one["id"]) for one in shown]
        uses = Counter(chain for known in measured for chain, _ in known.layers)
        for one, known in zip(shown, measured, strict=True):
            one["size"] = turned(one["size"], known.size)
            if "shared_size" in one:
                shared = total(size for chain, size in known.layers if uses[chain] > 1)
                one["shared_size"] = turned(one["shared_size"], shared)
        return shown

    def all_layers(self, told: int, listed: Iterable[Mapping[str, Any]]) -> Json:
        """How much the layers of all images take together."""
        if not self._subject.counts_blobs:
            return told
        measured = [self._measured(one["id"]) for one in listed]
        layers = {chain: size for known in measured for chain, size in known.layers}
        return turned(told, total(layers.values()))

    def image(self, view: Mapping[str, Any]) -> Json:
        """One image, looked at."""
        return self.images([view])[0]

    def steps(self, history: Iterable[Mapping[str, Any]]) -> list[Json]:
        """The steps of an image, the newest first, whose ID is that of the first."""
        shown = [dict(step) for step in history]
        if not self._subject.counts_blobs or not shown:
            return shown
        left = [size for _, size in self._measured(shown[0]["id"]).layers]
        for step in shown:
            if step["size"] and left:
                step["size"] = turned(step["size"], left.pop())
        return shown

    def reclaimed(self, told: int, deleted: Iterable[Mapping[str, str]]) -> Json:
        """What the layers take that a removal names."""
        if not self._subject.counts_blobs:
            return told
        gone = [one["deleted"] for one in deleted if "deleted" in one]
        known = total(self._layers[id_] for id_ in gone if id_ not in self._images)
        shown = turned(told, known)
        self._reclaimed[str(told)] = str(shown)
        return shown

    def events(self, told: Iterable[Mapping[str, Any]]) -> list[Json]:
        """Events, of which those of prunes say what was reclaimed."""
        shown = []
        for event in told:
            attributes = dict(event["attributes"])
            if "reclaimed" in attributes:
                reclaimed = attributes["reclaimed"]
                attributes["reclaimed"] = self._reclaimed.get(reclaimed, reclaimed)
            shown.append({**event, "attributes": attributes})
        return shown

    def workspace(self, name: str, told: Mapping[str, int]) -> Json:
        """A workspace, into which no file was put twice."""
        if not self._subject.counts_blobs:
            return dict(told)
        below, own = (
            total(Size(unpacked_bytes(decompressed(blob)), len(blob)) for blob in layers)
            for layers in self._subject.workspace_blobs(name)
        )
        return {
            "size_rw": turned(told["size_rw"], own),
            "size_root_fs": turned(told["size_root_fs"], below + own),
        }

    def _measured(self, id_: str) -> Measured:
        self.know_held(id_)
        return self._images[id_]


def turned(told: int, known: Size) -> int:
    """Docker's number where what was told is right; as it is where it is wrong."""
    return known.docker if told == known.blob else told


def total(sizes: Iterable[Size]) -> Size:
    """The sum."""
    return sum(sizes, Size())


def decompressed(blob: bytes) -> bytes:
    """The tar of a layer."""
    if blob.startswith(_GZIP):
        return gzip.decompress(blob)
    if blob.startswith(_ZSTD):
        return zstandard.ZstdDecompressor().decompressobj().decompress(blob)
    return blob


def unpacked_bytes(layer: bytes) -> int:
    """What the files of a layer take, as Docker's overlay2 counts them."""
    with tarfile.open(fileobj=BytesIO(layer)) as archive:
        return sum(
            len(member.linkname) if member.issym() else member.size
            for member in archive
            if member.isreg() or member.issym()
        )
