"""Digests: image-spec, descriptor.md §Digests."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from transship.store.errors import InvalidDigestError

if TYPE_CHECKING:
    from hashlib import _Hash

# Algorithms that content can be checked with; anything else could only be believed.
_LENGTHS = {"sha256": 64, "sha512": 128}
_HEX = re.compile(r"[0-9a-f]+")


@dataclass(frozen=True, slots=True, order=True)
class Digest:
    """An algorithm and the lower-case hex of its value. If you hold one, it is well formed."""

    algorithm: str
    hex: str

    @classmethod
    def parse(cls, text: str) -> Digest:
        """Read `algorithm:hex`.

        Raises:
            InvalidDigestError: an unknown algorithm, a wrong length, anything but lower-case hex.
        """
        algorithm, _, value = text.partition(":")
        if len(value) != _LENGTHS.get(algorithm) or _HEX.fullmatch(value) is None:
            raise InvalidDigestError(
                "not a digest of a known algorithm",
                subject=text[:160].encode("unicode_escape").decode(),
                hint="sha256:<64 hex>",
            )
        return cls(algorithm, value)

    @classmethod
    def of(cls, data: bytes, algorithm: str = "sha256") -> Digest:
        """The digest of *data*."""
        return cls(algorithm, hashlib.new(algorithm, data).hexdigest())

    @classmethod
    def from_hash(cls, hasher: _Hash) -> Digest:
        """What a hash object of `hasher` has come to."""
        return cls(hasher.name, hasher.hexdigest())

    def hasher(self) -> _Hash:
        """A new hash object of this digest's algorithm."""
        return hashlib.new(self.algorithm)

    @property
    def short(self) -> str:
        """Enough of it for a person to tell it from others."""
        return f"{self.algorithm}:{self.hex[:12]}"

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.hex}"
