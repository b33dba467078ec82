"""Images and root file systems with fixed content, so that their IDs are the same everywhere."""

from __future__ import annotations

import copy
import json
import struct
import tarfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any, TypeAlias

from tests.support.images import Image
from tests.support.layers import Entry, pack_layer
from transship.store.oci import mediatypes
from transship.store.oci.descriptor import Descriptor
from transship.store.oci.digest import Digest
from transship.store.oci.manifest import Manifest, parse_manifest

MTIME = 1714564800
PROGRAM = "bin/idle"
Files: TypeAlias = Mapping[str, bytes | tarfile.TarInfo]

_ELF = struct.Struct("<16sHHIQQQIHHHHHH")
_SEGMENT = struct.Struct("<IIQQQQQQ")


@dataclass(frozen=True, slots=True)
class Made:
    """An image that no store has seen yet.

    *parent* is the image that its archive names as its parent.
    """

    config: bytes
    layers: tuple[bytes, ...]
    tags: tuple[str, ...] = ()
    parent: Made | None = None

    @property
    def id(self) -> str:
        """The image's ID, with its algorithm."""
        return str(Digest.of(self.config))

    def to_push(self) -> Image:
        """The image as registries hold it, its layers uncompressed."""
        layers = [_described(layer, mediatypes.DOCKER_LAYER) for layer in self.layers]
        raw = json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": mediatypes.DOCKER_MANIFEST,
                "config": _described(self.config, mediatypes.DOCKER_CONFIG).to_json(),
                "layers": [layer.to_json() for layer in layers],
            }
        ).encode()
        manifest = parse_manifest(raw)
        assert isinstance(manifest, Manifest)
        blobs = {Digest.of(blob): blob for blob in (self.config, *self.layers)}
        return Image(manifest, blobs)


def idle_program() -> bytes:
    """A static program for Linux on x86-64: removes the files it is given, or else waits.

    It stands in for a shell, so that images stay small and the same on every machine.
    """
    code = bytes.fromhex(
        "58 5b"  # pop rax (argc); pop rbx (argv[0])
        "ff c8 74 14"  # dec eax; jz wait
        "5f 48 85 ff 74 07"  # next: pop rdi; test rdi, rdi; jz exit
        "6a 57 58 0f 05 eb f3"  # unlink(rdi); jmp next
        "31 ff 6a 3c 58 0f 05"  # exit: exit(0)
        "6a 22 58 0f 05 eb f9"  # wait: pause(); jmp wait
    )
    base, headers = 0x400000, _ELF.size + _SEGMENT.size
    size = headers + len(code)
    executable, x86_64, version = 2, 62, 1
    header = _ELF.pack(
        *(b"\x7fELF\x02\x01\x01", executable, x86_64, version),
        *(base + headers, _ELF.size, 0, 0),  # where it begins; the segments; no sections
        *(_ELF.size, _SEGMENT.size, 1, 0, 0, 0),
    )
    load, read_and_execute, page = 1, 5, 0x1000
    segment = _SEGMENT.pack(load, read_and_execute, 0, base, base, size, size, page)
    return header + segment + code


def entry(
    *, kind: bytes = tarfile.REGTYPE, link: str = "", mode: int = 0o644, xattrs: Any = None
) -> tarfile.TarInfo:
    """What a path is, where it is no plain file: for `layer`."""
    info = tarfile.TarInfo()
    info.type, info.linkname, info.mode = kind, link, mode
    info.pax_headers = {f"SCHILY.xattr.{name}": value for name, value in (xattrs or {}).items()}
    return info


def directory(mode: int = 0o755) -> tarfile.TarInfo:
    """A directory, for `layer`."""
    return entry(kind=tarfile.DIRTYPE, mode=mode)


def layer(files: Files) -> bytes:
    """A layer's tar: *files* by path, each its content or, for other kinds, an entry."""
    blob = pack_layer(_entries(files), "none", "docker", None).blob
    assert isinstance(blob, bytes)
    return blob


def _entries(files: Files) -> Iterator[Entry]:
    for path, what in files.items():
        content = what if isinstance(what, bytes) else b""
        info = tarfile.TarInfo() if isinstance(what, bytes) else copy.copy(what)
        info.name = path
        info.size, info.mtime = len(content), MTIME
        if path.startswith("bin/"):
            info.mode = 0o755
        yield info, (content,)


def image(
    seed: str,
    *,
    layers: Sequence[Files] | None = None,
    steps: Sequence[Mapping[str, Any]] | None = None,
    tags: Iterable[str] = (),
    parent: Made | None = None,
    base: Made | None = None,
    created: str = "2024-05-01T12:00:00Z",
    labels: Mapping[str, str] | None = None,
    top: Mapping[str, Any] | None = None,
    **config: Any,
) -> Made:
    """Make an image.

    Args:
        seed: Other seeds give other layers.
        layers: Their files; by default one that holds a file named after *seed*, and below it, if
            there is no parent, one that holds a program.
        steps: Its own history instead; the files of a step's layer stand in `layer`.
        tags: What the archive calls it.
        parent: Whose layers and history it begins with; the archive says so, and Docker wants it to
            have one step more.
        base: The same, but the archive does not name it.
        created: When.
        labels: For the config.
        top: More fields of the document, or others.
        config: More fields of the config that a container gets.
    """
    below = parent or base
    if layers is None:
        layers = [{f"etc/{seed}": f"{seed}\n".encode()}]
        if below is None:
            layers = [{PROGRAM: idle_program(), "etc/seed": seed.encode()}, *layers]
    if steps is None:
        steps = [
            {"created_by": f"COPY layer {number} of {seed}", "layer": files}
            for number, files in enumerate(layers, 1)
        ]
    own = [layer(step["layer"]) for step in steps if "layer" in step]
    blobs = (*(below.layers if below else ()), *own)
    steps_below = json.loads(below.config)["history"] if below else []
    document = {
        "architecture": "amd64",
        "os": "linux",
        "created": created,
        "config": {"Cmd": [f"/{PROGRAM}"], "Labels": dict(labels or {}), **config},
        "rootfs": {"type": "layers", "diff_ids": [str(Digest.of(blob)) for blob in blobs]},
        "history": [
            *steps_below,
            *(
                {"created": created, **{k: v for k, v in step.items() if k != "layer"}}
                for step in steps
            ),
        ],
        **(top or {}),
    }
    raw = json.dumps({key: value for key, value in document.items() if value is not None})
    return Made(raw.encode(), blobs, tuple(tags), parent)


def docker_archive(*images: Made, manifest: Any = None, without: Iterable[str] = ()) -> bytes:
    """Lay *images* out as `docker save` does, but for the legacy files.

    Args:
        images: In that order.
        manifest: What `manifest.json` says instead.
        without: Names of files to leave out.
    """
    files: dict[str, bytes] = {}
    entries = []
    for made in images:
        config = f"{Digest.parse(made.id).hex}.json"
        names = [f"{Digest.of(blob).hex}.tar" for blob in made.layers]
        files |= {config: made.config, **dict(zip(names, made.layers, strict=True))}
        named = {"Config": config, "RepoTags": list(made.tags) or None, "Layers": names}
        entries.append({**named, **({"Parent": made.parent.id} if made.parent else {})})
    files["manifest.json"] = json.dumps(entries if manifest is None else manifest).encode()
    return tar({name: content for name, content in files.items() if name not in set(without)})


def tar(files: Files) -> bytes:
    """A tar with record padding, as programs write it."""
    written = BytesIO()
    with tarfile.open(fileobj=written, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for info, content in _entries(files):
            archive.addfile(info, BytesIO(b"".join(content)))
    return written.getvalue()


def _described(raw: bytes, media_type: str) -> Descriptor:
    return Descriptor(media_type=media_type, digest=Digest.of(raw), size=len(raw))
