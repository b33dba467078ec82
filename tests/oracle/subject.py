"""What the scenarios ask for, by the names that Transship gives the operations.

Answers are JSON values in one form, whoever gives them: Docker's field names in snake case, names
in their familiar form, times and IDs as they are; the harness labels these. What is
refused raises `RefusedError`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

Kind: TypeAlias = Literal["invalid", "forbidden", "not-found", "conflict", "failed"]
Filters: TypeAlias = Mapping[str, Sequence[str]]
Json: TypeAlias = Any


class RefusedError(Exception):
    """The operation was not done.

    Attributes:
        kind: What was wrong; "failed" where the subject gives no kind.
        says: The subject's own words.
    """

    def __init__(self, kind: Kind, says: str) -> None:
        super().__init__(f"{kind}: {says}")
        self.kind: Kind = kind
        self.says = says


class Subject(ABC):
    """An image service. A *ref* is a name, a digest, an ID or the beginning of one.

    Attributes:
        counts_blobs: Whether sizes are of blobs and configs as held, and not of files unpacked.
    """

    counts_blobs = False

    @abstractmethod
    def wipe(self) -> None:
        """Remove all images and workspaces."""

    def blobs(self, id_: str) -> list[bytes]:
        """Of a subject that counts blobs: the config of an image and its layers, as held."""
        raise NotImplementedError

    def workspace_blobs(self, name: str) -> tuple[list[bytes], list[bytes]]:
        """Of a subject that counts blobs: the layers below a workspace, and its own."""
        raise NotImplementedError

    # --- look

    @abstractmethod
    def images(
        self, pattern: str | None = None, *, all_: bool = False, filters: Filters | None = None
    ) -> list[Json]:
        """List images: `id parent_id created size labels repo_tags repo_digests`."""

    @abstractmethod
    def inspect(self, ref: str) -> Json:
        """Return `id repo_tags repo_digests parent comment created author config architecture`.

        Also `variant os os_version size root_fs metadata`; the config's fields that are empty are
        left out.
        """

    @abstractmethod
    def history(self, ref: str) -> list[Json]:
        """Return `id created created_by tags size comment` of each step, newest first."""

    @abstractmethod
    def children(self, ref: str) -> list[str]:
        """Return the IDs of the images whose parent this is, sorted."""

    @abstractmethod
    def usage(self) -> Json:
        """Return `layers_size` and for each of `images` its `id size shared_size containers`."""

    # --- name and remove

    @abstractmethod
    def tag(self, ref: str, new: str) -> None:
        """Give an image one more name."""

    @abstractmethod
    def rm(self, ref: str, *, force: bool = False, noprune: bool = False) -> list[Json]:
        """Remove a name or an image; return `{"untagged": …}` and `{"deleted": …}` in order."""

    @abstractmethod
    def prune(self, filters: Filters | None = None) -> Json:
        """Remove what is not used: `deleted`, the items, and `space_reclaimed`."""

    # --- archives

    @abstractmethod
    def load(self, archive: bytes, *, quiet: bool = True) -> Json:
        """Load images; return `loaded`, their names or IDs.

        Also, where there are any, the names `moved` away from other images, and the `words` said of
        layers.
        """

    @abstractmethod
    def save(self, *refs: str) -> bytes:
        """Return a docker-archive."""

    @abstractmethod
    def import_(
        self,
        tar: bytes,
        ref: str | None = None,
        *,
        changes: Sequence[str] = (),
        message: str | None = None,
        platform: str | None = None,
    ) -> str:
        """Make an image of a root file system; return its ID."""

    # --- make

    @abstractmethod
    def squash(self, ref: str, target: str, *, parent: str | None = None) -> str:
        """Merge the layers above *parent*, or all, into one; return the new image's ID."""

    @abstractmethod
    def workspace_create(self, name: str, ref: str, *, busy: bool = False) -> str:
        """Make a writable layer on an image, busy as long as it exists; return its ID."""

    @abstractmethod
    def workspace_put(self, name: str, path: str, tar: bytes) -> None:
        """Unpack a tar below *path*."""

    @abstractmethod
    def workspace_get(self, name: str, path: str) -> bytes:
        """Return a tar of what is at *path*."""

    @abstractmethod
    def workspace_delete(self, name: str, path: str) -> None:
        """Remove a file from the workspace."""

    @abstractmethod
    def workspace_diff(self, name: str) -> list[Json]:
        """Return what differs from the image: `kind` and `path`, sorted by path."""

    @abstractmethod
    def workspace_size(self, name: str) -> Json:
        """Return `size_rw` and `size_root_fs`."""

    @abstractmethod
    def workspace_commit(
        self,
        name: str,
        ref: str | None = None,
        *,
        author: str | None = None,
        message: str | None = None,
        changes: Sequence[str] = (),
        config: Json | None = None,
        pause: bool = True,
    ) -> str:
        """Make an image of it; return the image's ID."""

    @abstractmethod
    def workspace_rm(self, name: str) -> None:
        """Remove it."""

    # --- registries

    @abstractmethod
    def pull(self, ref: str, *, all_tags: bool = False, platform: str | None = None) -> Json:
        """Return the `words` said of layers, the `digests` and the closing `status`."""

    @abstractmethod
    def push(self, ref: str, *, all_tags: bool = False) -> Json:
        """Return the `words` said of layers and the `digests` of the tags."""

    @abstractmethod
    def search(
        self, term: str, *, filters: Filters | None = None, limit: int | None = None
    ) -> list[Json]:
        """Return `name description star_count is_official is_automated` of what is found."""

    @abstractmethod
    def remote_inspect(self, ref: str) -> Json:
        """Return `descriptor` and `platforms` of what a registry has."""

    # --- records

    @abstractmethod
    def clock(self) -> str:
        """Return a moment to ask for events since."""

    @abstractmethod
    def events(self, since: str, filters: Filters | None = None) -> list[Json]:
        """Return the image events from then to now: `action id attributes`."""
