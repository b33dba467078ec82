"""Tars to test with, made by Python's own writer, and what umoci makes of images of them."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import shutil
import stat
import subprocess
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Literal, NamedTuple

import pytest

from transship.store.layers.codecs.formats import Readable
from transship.store.layers.sources import LayerSource
from transship.store.layers.tar.reader import Entry, TarReader
from transship.store.oci import mediatypes

needs_umoci = pytest.mark.skipif(
    shutil.which("umoci") is None or os.geteuid() != 0, reason="needs umoci, and to be root"
)

Format = Literal[0, 1, 2]  # tarfile's USTAR_FORMAT, GNU_FORMAT, PAX_FORMAT

MTIME = 1_700_000_000


class Member(NamedTuple):
    """An entry of a tar to be, and its content."""

    info: tarfile.TarInfo
    content: bytes = b""


def file(name: str, content: bytes = b"", **fields: object) -> Member:
    """A regular file."""
    return Member(_info(name, tarfile.REGTYPE, size=len(content), **fields), content)


def folder(name: str, **fields: object) -> Member:
    """A directory."""
    return Member(_info(name, tarfile.DIRTYPE, **{"mode": 0o755, **fields}))


def symlink(name: str, to: str, **fields: object) -> Member:
    """A symbolic link."""
    return Member(_info(name, tarfile.SYMTYPE, linkname=to, **{"mode": 0o777, **fields}))


def hardlink(name: str, to: str, **fields: object) -> Member:
    """A hard link."""
    return Member(_info(name, tarfile.LNKTYPE, linkname=to, **fields))


def special(name: str, type_: bytes, **fields: object) -> Member:
    """A device or a FIFO."""
    return Member(_info(name, type_, **fields))


def with_xattrs(member: Member, **xattrs: bytes) -> Member:
    """*member* with extended attributes, whose dots are written as double underscores."""
    for key, value in xattrs.items():
        # Latin-1 would be escaped: tarfile writes UTF-8, and undoes surrogates.
        text = value.decode("utf-8", "surrogateescape")
        records = {f"SCHILY.xattr.{key.replace('__', '.')}": text}
        member.info.pax_headers = {**member.info.pax_headers, **records}
    return member


def tar_of(*members: Member, format_: Format = tarfile.PAX_FORMAT) -> bytes:
    """A tar of *members*, as Python writes it but for the padding at its end."""
    out = io.BytesIO()
    for info, content in members:
        out.write(info.tobuf(format_, errors="surrogateescape"))
        out.write(content + bytes(-len(content) % 512))
    out.write(bytes(1024))
    return out.getvalue()


def extended(records: bytes, kind: bytes = b"x") -> bytes:
    """An extended header, or a long name, that goes before an entry."""
    return tar_of(file("header", records, type=kind), format_=tarfile.GNU_FORMAT)[:-1024]


def described(member: Member, **records: bytes) -> bytes:
    """A tar of *member* behind an extended header; double underscores stand for dots."""
    header = b""
    for key, value in records.items():
        record = key.replace("__", ".").encode() + b"=" + value + b"\n"
        length = next(
            n for n in range(len(record) + 2, len(record) + 9) if len(b"%d %b" % (n, record)) == n
        )
        header += b"%d %b" % (length, record)
    return extended(header) + tar_of(member)


def source_of(data: bytes) -> LayerSource:
    """A layer whose uncompressed tar is *data*."""

    def opened() -> AbstractContextManager[Readable]:
        return io.BytesIO(data)

    return opened


def entries_of(data: bytes) -> dict[str, tuple[Entry, bytes]]:
    """What our own reader finds in *data*, in its order."""
    reader = TarReader(io.BytesIO(data))
    return {entry.name: (entry, b"".join(iter(reader.read, b""))) for entry in reader}


def unpack(layers: Sequence[bytes], directory: Path) -> Path:
    """Let umoci unpack an image of *layers*, uncompressed tars, and return its root file system."""
    layout, bundle = directory / "layout", directory / "bundle"
    blobs = layout / "blobs" / "sha256"
    blobs.mkdir(parents=True)

    def put(data: bytes, media_type: str) -> dict[str, object]:
        digest = hashlib.sha256(data).hexdigest()
        (blobs / digest).write_bytes(data)
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(data)}

    descriptors = [
        put(gzip.compress(layer, 1, mtime=0), mediatypes.OCI_LAYER_GZIP) for layer in layers
    ]
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {},
        "rootfs": {
            "type": "layers",
            "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}" for layer in layers],
        },
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": mediatypes.OCI_MANIFEST,
        "config": put(json.dumps(config).encode(), mediatypes.OCI_CONFIG),
        "layers": descriptors,
    }
    root = put(json.dumps(manifest).encode(), mediatypes.OCI_MANIFEST)
    root["annotations"] = {"org.opencontainers.image.ref.name": "it"}
    (layout / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [root]}))
    (layout / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    done = subprocess.run(
        ["umoci", "unpack", "--image", f"{layout}:it", str(bundle)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return bundle / "rootfs"


class Facts(NamedTuple):
    """All that two copies of a file must have in common."""

    type: int
    mode: int
    owner: tuple[int, int]
    mtime: int
    device: int
    link: str
    content: str
    xattrs: Mapping[str, bytes]
    same_as: str  # the first name of its inode


def facts_of(root: Path) -> dict[str, Facts]:
    """What is below *root*, by path."""
    found: dict[str, Facts] = {}
    first: dict[int, str] = {}
    for path in _walk(root):
        name = os.fspath(path.relative_to(root))
        status = path.lstat()
        kind = stat.S_IFMT(status.st_mode)
        directory = kind == stat.S_IFDIR
        found[name] = Facts(
            kind,
            stat.S_IMODE(status.st_mode),
            (status.st_uid, status.st_gid),
            status.st_mtime_ns,
            status.st_rdev,
            os.fspath(path.readlink()) if kind == stat.S_IFLNK else "",
            hashlib.sha256(path.read_bytes()).hexdigest() if kind == stat.S_IFREG else "",
            {
                key: os.getxattr(path, key, follow_symlinks=False)
                for key in os.listxattr(path, follow_symlinks=False)
            },
            name if directory else first.setdefault(status.st_ino, name),
        )
    return found


def _walk(root: Path) -> Iterator[Path]:
    yield root
    for directory, folders, files in os.walk(root):
        folders.sort()
        for name in sorted(folders + files):
            yield Path(directory, name)


def _info(name: str, type_: bytes, **fields: object) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.mtime, info.mode = type_, MTIME, 0o644
    for key, value in fields.items():
        setattr(info, key, value)
    return info
