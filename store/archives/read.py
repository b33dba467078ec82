"""Reading an archive: its bytes go to the store as they come, then its own lists say what it is.

The two halves may run in different processes: `receive_archive` needs the stream, `interpret`
only what the first half found, and the store.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from transship.store.archives import docker, layout, legacy
from transship.store.archives.archive import Archive, ArchivedImage, Root, descend
from transship.store.archives.documents import Documents
from transship.store.archives.limits import ArchiveLimits
from transship.store.archives.members import Content, Members
from transship.store.archives.receive import BlobSink, receive_archive
from transship.store.errors import InvalidArchiveError
from transship.store.layers.codecs.formats import Readable
from transship.store.oci import mediatypes
from transship.store.oci.digest import Digest
from transship.store.oci.reference import Reference


class ArchiveSink(BlobSink, Content, Protocol):
    """Takes the blobs of an archive, and gives back its small ones."""


def read_archive(
    stream: Readable,
    sink: ArchiveSink,
    *,
    repository: Reference | None = None,
    stripped: bool = False,
    limits: ArchiveLimits = ArchiveLimits(),  # noqa: B008 -- it is frozen
    check: Callable[[], None] = lambda: None,
) -> Archive:
    """Receive an archive and say what is in it: `receive_archive`, then `interpret`."""
    members = receive_archive(stream, sink, limits=limits, check=check)
    return interpret(members, sink, repository=repository, stripped=stripped, limits=limits)


def interpret(
    members: Members,
    content: Content,
    *,
    repository: Reference | None = None,
    stripped: bool = False,
    limits: ArchiveLimits = ArchiveLimits(),  # noqa: B008
) -> Archive:
    """What the files of an archive are.

    An `oci-layout` makes it an OCI layout; a `manifest.json` beside it only adds names, and images
    that `index.json` does not have. Without, `manifest.json` is all there is. Of a name that is
    given twice the last counts, as with Docker. What nothing names is ignored.

    Args:
        members: What `receive_archive` found.
        content: Gives back the documents among the blobs.
        repository: What a bare tag in `index.json` is a tag of; without it, it is no name.
        stripped: Layers may be missing: see `ArchivedImage.missing`. Without it, only those may
            that are not for distribution. Whoever allows it must know that the owner of the
            archive may use those layers, for an archive can name any.
        limits: How much to read.

    Raises:
        InvalidArchiveError: it is neither, or does not hold together; nothing of it is to be used.
    """
    documents = Documents(content, budget=limits.max_documents_bytes)
    if members.file(layout.MARKER) is not None:
        roots = layout.read_layout(members, documents, repository=repository)
        roots = _with_docker(roots, members, documents)
    elif members.file(docker.MANIFEST) is not None:
        entries = docker.read_entries(members, documents)
        roots = docker.merged([docker.read_image(one, members, documents) for one in entries])
    elif legacy.is_legacy(members):
        roots = docker.merged(legacy.read_legacy(members, documents))
    else:
        raise InvalidArchiveError(
            "neither a docker-archive nor an OCI layout: no manifest.json, no oci-layout",
            hint="`transship import` takes the tar of a file system",
        )
    archive = Archive(_named_once(docker.with_parents(roots)))
    for image in archive.images:
        _check_whole(image, stripped=stripped)
    return archive


def _with_docker(
    roots: tuple[Root, ...], members: Members, documents: Documents
) -> tuple[Root, ...]:
    """*roots* with the names, parents and images that only `manifest.json` has."""
    named = {name for root in roots for name in root.names}
    found = list(roots)
    where: dict[Digest | None, int] = {}
    for number, root in enumerate(roots):
        for image in descend((root,)):
            if isinstance(image, ArchivedImage):
                where.setdefault(image.image_id, number)
    extra: list[ArchivedImage] = []
    for entry in docker.read_entries(members, documents):
        config = docker.read_config(entry.config, members, documents)
        at = where.get(config.digest)
        if at is None:
            extra.append(docker.read_image(entry, members, documents))
            continue
        root = found[at]
        names = dict.fromkeys((*root.names, *(n for n in entry.names if n not in named)))
        root = replace(root, names=tuple(names))
        if isinstance(root, ArchivedImage):
            root = replace(root, parent=entry.parent)
        found[at] = root
    return (*found, *docker.merged(extra))


def _named_once(roots: tuple[Root, ...]) -> tuple[Root, ...]:
    last = {name: number for number, root in enumerate(roots) for name in root.names}
    return tuple(
        replace(root, names=tuple(name for name in root.names if last[name] == number))
        for number, root in enumerate(roots)
    )


def _check_whole(image: ArchivedImage, *, stripped: bool) -> None:
    for number, layer in enumerate(image.layers):
        if layer.blob is not None or (stripped and layer.diff_id is not None):
            continue
        described = image.manifest.layers[number] if image.manifest else None
        if described is None or not mediatypes.is_nondistributable(described.media_type):
            digest = image.manifest.digest if image.manifest else image.image_id
            raise InvalidArchiveError(
                f"the archive does not hold layer {number + 1} of {digest}",
                subject=str(described.digest if described else layer.diff_id),
            )
