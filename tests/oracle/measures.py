"""Sizes of what a scenario has made, in Docker's measure and in that of another subject.

Docker tells how much the files of a layer take, unpacked; others tell how long its blob is. What is
known of an image's layers says what each is to tell, so that the two can be compared by value: for
single images, for what they share, for what a removal gives back.
"""

from __future__ import annotations

import tarfile
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Any

from tests.oracle.inputs import Made
from tests.oracle.subject import Json
from transship.store.oci.digest import Digest

SIZES = frozenset(
    {
        *("size", "shared_size", "layers_size", "space_reclaimed", "reclaimed"),
        *("size_rw", "size_root_fs"),
    }
)
SOME = "some"  # of what a subject has made, and nobody knows the layers of


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

    def __init__(self, *, counts_blobs: bool) -> None:
        """Leave the sizes of a subject alone that does not count blobs."""
        self._counts_blobs = counts_blobs
        self._images: dict[str, Measured] = {}
        self._reclaimed: dict[str, str] = {}  # what was told of prunes, and what was made of it
        self._layers: dict[str, Size] = {}

    def know(self, made: Made) -> None:
        """Learn how large an image is."""
        chain, found = "", []
        for blob in made.layers:
            diff_id = str(Digest.of(blob))
            chain = str(Digest.of(f"{chain} {diff_id}".encode())) if chain else diff_id
            found.append((chain, Size(unpacked_bytes(blob), len(blob))))
        self._images[made.id] = Measured(tuple(found), len(made.config))
        self._layers |= dict(found)

    def images(self, listed: Iterable[Mapping[str, Any]]) -> list[Json]:
        """A list of images, or of what they take, with Docker's sizes."""
        shown = [dict(one) for one in listed]
        uses = Counter(
            chain
            for one in shown
            if one["id"] in self._images
            for chain, _ in self._images[one["id"]].layers
        )
        for one in shown:
            known = self._images.get(one["id"])
            whole, shared = None, None
            if known is not None:
                whole = known.size
                shared = total(size for chain, size in known.layers if uses[chain] > 1)
            one["size"] = self._turned(one["size"], whole)
            if "shared_size" in one:
                one["shared_size"] = self._turned(one["shared_size"], shared)
        return shown

    def all_layers(self, told: int, listed: Iterable[Mapping[str, Any]]) -> Json:
        """How much the layers of all images take together."""
        ids = [one["id"] for one in listed]
        if not all(id_ in self._images for id_ in ids):
            return self._turned(told, None)
        layers = {chain: size for id_ in ids for chain, size in self._images[id_].layers}
        return self._turned(told, total(layers.values()))

    def image(self, view: Mapping[str, Any]) -> Json:
        """One image, looked at."""
        return self.images([view])[0]

    def steps(self, history: Iterable[Mapping[str, Any]]) -> list[Json]:
        """The steps of an image, the newest first, whose ID is that of the first."""
        shown = [dict(step) for step in history]
        known = self._images.get(shown[0]["id"]) if shown else None
        left = [] if known is None else [size for _, size in known.layers]
        for step in shown:
            size = left.pop() if left and step["size"] else None
            step["size"] = self._turned(step["size"], size)
        return shown

    def reclaimed(self, told: int, deleted: Iterable[Mapping[str, str]]) -> Json:
        """What the layers take that a removal names."""
        gone = [one["deleted"] for one in deleted if "deleted" in one]
        layers = [id_ for id_ in gone if id_ not in self._images]
        known = None
        if all(one in self._layers for one in layers):
            known = total(self._layers[one] for one in layers)
        turned = self._turned(told, known)
        self._reclaimed[str(told)] = str(turned)
        return turned

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

    def workspace(self, told: Mapping[str, int]) -> Json:
        """A workspace, into which anything may have been put."""
        return {key: self._turned(size, None) for key, size in told.items()}

    def _turned(self, told: int, known: Size | None) -> Json:
        """Docker's number where what was told is right; as it is where it is wrong."""
        if not self._counts_blobs:
            return told
        if known is None:
            return SOME if told > 0 else told
        return known.docker if told == known.blob else told


def total(sizes: Iterable[Size]) -> Size:
    """The sum."""
    return sum(sizes, Size())


def unpacked_bytes(layer: bytes) -> int:
    """What the files of a layer take, as Docker's overlay2 counts them."""
    with tarfile.open(fileobj=BytesIO(layer)) as archive:
        return sum(
            len(member.linkname) if member.issym() else member.size
            for member in archive
            if member.isreg() or member.issym()
        )
