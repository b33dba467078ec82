"""What a docker-archive holds, as observations."""

from __future__ import annotations

import io
import json
import posixpath
import tarfile
from typing import Any

from tests.oracle.inputs import MTIME
from tests.oracle.subject import Json
from transship.store.oci.digest import Digest
from transship.store.oci.timestamps import rfc3339

_KINDS = {
    tarfile.REGTYPE: "file",
    tarfile.DIRTYPE: "directory",
    tarfile.SYMTYPE: "symlink",
    tarfile.LNKTYPE: "link",
    tarfile.CHRTYPE: "device",
    tarfile.FIFOTYPE: "fifo",
}


def images_of(archive: bytes) -> Json:
    """What its manifest says of its images, and what its `repositories` say of their names."""
    with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
        images = [
            {
                "id": str(Digest.of(_member(opened, entry["Config"]))),
                "tags": entry["RepoTags"],
                "layers": len(entry["Layers"]),
                **({"parent": entry["Parent"]} if "Parent" in entry else {}),
            }
            for entry in _json(opened, "manifest.json") or ()
        ]
        repositories = None
        if "repositories" in opened.getnames():
            named = _json(opened, "repositories").items()
            repositories = sorted(
                f"{repository}:{tag}" for repository, tags in named for tag in tags
            )
    return {"images": images, "repositories": repositories}


def layers_of(archive: bytes) -> list[list[str]]:
    """The entries of each layer of its one image, bottom up."""
    with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
        (entry,) = _json(opened, "manifest.json")
        return [entries_of(_member(opened, name)) for name in entry["Layers"]]


def entries_of(tar: bytes) -> list[str]:
    """A line an entry: what it is, mode, owner, size, path; in the order of the tar.

    Its time is told where that is not the one that all files of scenarios have.
    """
    if not tar:
        return []
    with tarfile.open(fileobj=io.BytesIO(tar)) as opened:
        return [_line(info) for info in opened]


def _line(info: tarfile.TarInfo) -> str:
    attributes = [
        f"{key}={value}"
        for key, value in sorted(info.pax_headers.items())
        if key.startswith("SCHILY.xattr.")
    ]
    # Docker writes the kind of a file into its mode as well.
    mode = f"{info.mode & 0o7777:04o}"
    link = ["->", info.linkname] if info.linkname else []
    owner = f"{info.uid}:{info.gid}"
    time = [] if info.mtime == MTIME else ["at", rfc3339(int(info.mtime))]
    parts = [_KINDS[info.type], mode, owner, str(info.size), info.name, *link, *attributes, *time]
    return " ".join(parts)


def _json(archive: tarfile.TarFile, name: str) -> Any:
    return json.loads(_member(archive, name))


def _member(archive: tarfile.TarFile, name: str) -> bytes:
    member = archive.getmember(name)
    # Docker stores a repeated layer as a symbolic link to the first.
    while member.issym():
        beside = posixpath.join(posixpath.dirname(member.name), member.linkname)
        member = archive.getmember(posixpath.normpath(beside))
    file = archive.extractfile(member)
    assert file is not None
    return file.read()
