"""The files of an archive, as they are once its bytes are in the store."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from transship.store.errors import InvalidArchiveError
from transship.store.layers.codecs.formats import Compression
from transship.store.oci.digest import Digest

_LONGEST_PATH = 1024  # the longest that is used is that of a sha512 blob
_MAX_LINKS = 40  # in a row, as Linux allows


class Content(Protocol):
    """Where the bytes are. Every content store is one."""

    def read(self, digest: Digest, *, max_bytes: int) -> bytes:
        """A small blob in whole, hashed again.

        Raises:
            BlobMissingError: it is absent.
            SizeMismatchError: it is longer than *max_bytes*.
        """


@dataclass(frozen=True, slots=True)
class Member:
    """One regular file. *diff_id* is the sha256 of what it decompresses to.

    Where there is none, *fault* says why. That is no matter unless the file is used as a layer.
    """

    digest: Digest
    size: int
    compression: Compression
    diff_id: Digest | None
    fault: str = ""


@dataclass(slots=True)
class Members:
    """Files and links by their paths; a path is relative, without `.` and `..`."""

    files: dict[str, Member] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)

    def file(self, path: str) -> Member | None:
        """The regular file at *path*.

        Raises:
            InvalidArchiveError: a link is there; only what `manifest.json` names may be one.
        """
        if path in self.links:
            raise InvalidArchiveError("is a link, and must be a file", subject=shown(path))
        return self.files.get(path)

    def find(self, path: str) -> Member | None:
        """The regular file at *path*, or at the end of the links that begin there.

        Raises:
            InvalidArchiveError: the links go in a circle.
        """
        at = path
        for _ in range(_MAX_LINKS):
            if at not in self.links:
                return self.files.get(at)
            at = self.links[at]
        raise InvalidArchiveError("links to itself, or through too many links", subject=shown(path))

    def to_json(self) -> dict[str, Any]:
        """What another process needs to go on from here."""
        return {
            "files": {
                path: [str(one.digest), one.size, one.compression, _text(one.diff_id), one.fault]
                for path, one in self.files.items()
            },
            "links": self.links,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Members:
        """What `to_json` gave."""
        files = {
            path: Member(
                Digest.parse(digest),
                size,
                Compression(compression),
                Digest.parse(diff_id) if diff_id else None,
                fault,
            )
            for path, (digest, size, compression, diff_id, fault) in value["files"].items()
        }
        return cls(files, dict(value["links"]))


def member_path(name: str) -> str:
    """The path that an entry's *name* stands for; '' for the archive's own directory.

    Raises:
        InvalidArchiveError: it leads out of the archive, or is too long to remember.
    """
    if len(name) > _LONGEST_PATH:
        raise InvalidArchiveError(
            f"a name of more than {_LONGEST_PATH} characters", subject=shown(name)
        )
    path = posixpath.normpath(name) if name else ""
    if name.startswith("/") or path == ".." or path.startswith("../") or "\0" in name:
        raise InvalidArchiveError("leads out of the archive", subject=shown(name))
    return "" if path == "." else path


def link_target(path: str, target: str) -> str:
    """The path that a symbolic link at *path* leads to.

    Raises:
        InvalidArchiveError: that is outside the archive.
    """
    if target.startswith("/"):
        raise InvalidArchiveError("links to a place outside the archive", subject=shown(path))
    joined = posixpath.join(posixpath.dirname(path), target)
    try:
        return member_path(joined)
    except InvalidArchiveError:
        raise InvalidArchiveError(
            "links to a place outside the archive", subject=shown(path)
        ) from None


def shown(name: str) -> str:
    """*name* as an error may show it."""
    return name[:160].encode("unicode_escape").decode()


def _text(digest: Digest | None) -> str:
    return "" if digest is None else str(digest)
