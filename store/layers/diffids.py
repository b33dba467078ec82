"""DiffIDs: the digests of layers as they are uncompressed (image-spec, config.md)."""

from __future__ import annotations

import hashlib
from typing import Final, NamedTuple

from transship.store.layers.codecs.formats import Readable
from transship.store.layers.sources import Check, never
from transship.store.oci.digest import Digest

_READ_BYTES: Final = 1024 * 1024


class Measured(NamedTuple):
    """A layer's diffID, and how many bytes it has uncompressed."""

    diff_id: Digest
    size: int


def measure(source: Readable, *, check: Check = never) -> Measured:
    """Read *source*, which is uncompressed, to its end.

    What a manifest or a config says of a layer is a claim; this is what holds. Nothing of the tar
    is looked at: its padding and all that follows it counts.
    """
    hasher = hashlib.sha256()
    size = 0
    while data := source.read(_READ_BYTES):
        check()
        hasher.update(data)
        size += len(data)
    return Measured(Digest.from_hash(hasher), size)
