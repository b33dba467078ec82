"""Loading archives: good ones, and those that are refused."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import tarfile
from contextlib import suppress
from typing import Any

import zstandard

from tests.oracle.harness import Harness
from tests.oracle.inputs import Made, docker_archive, entry, image, tar
from tests.oracle.subject import RefusedError
from transship.store.oci.digest import Digest


def good(harness: Harness) -> None:
    """Images with several names, one, none; compressed; what is there already."""
    with harness.case("one name"):
        made = harness.have_image("x", load=False, tags=["app:1"])
        harness.load("app:1", docker_archive(made))
        harness.load("app:1 again", docker_archive(made))
        harness.names()
        harness.events()
    with harness.case("not quiet"):
        made = harness.have_image("x", load=False, tags=["app:1"])
        harness.load("app:1", docker_archive(made), quiet=False)
    with harness.case("several names"):
        made = harness.have_image("x", load=False, tags=["app:2", "app:1", "localhost:5000/web:1"])
        harness.load("three names", docker_archive(made))
        harness.names()
    with harness.case("no name"):
        made = harness.have_image("x", load=False)
        harness.load("no name", docker_archive(made))
        harness.names()
    with harness.case("two images"):
        one = harness.have_image("one", load=False, tags=["app:1"])
        two = harness.have_image("two", load=False)
        harness.load("a name, then none", docker_archive(one, two))
        harness.names()
    with harness.case("two images, the other way round"):
        one = harness.have_image("one", load=False, tags=["app:1"])
        two = harness.have_image("two", load=False)
        harness.load("no name, then one", docker_archive(two, one))
        harness.names()
    with harness.case("a name that another image has"):
        harness.have_image("old", tags=["app:1"])
        new = harness.have_image("new", load=False, tags=["app:1"])
        harness.load("app:1", docker_archive(new))
        harness.names()
    with harness.case("a manifest without an image"):
        harness.load("[]", docker_archive(manifest=[]))
    archive = docker_archive(image("x", tags=["app:1"]))
    for name, compressed in {
        "gzip": gzip.compress(archive),
        "bzip2": bz2.compress(archive),
        "xz": lzma.compress(archive),
        "zstd": zstandard.compress(archive),
    }.items():
        with harness.case(f"compressed by {name}"):
            harness.have_image("x", load=False, tags=["app:1"])
            harness.load(name, compressed)
            harness.names()
    with harness.case("layers compressed by gzip"):
        made = harness.have_image("x", load=False, tags=["app:1"])
        packed = Made(made.config, tuple(map(gzip.compress, made.layers)), made.tags)
        harness.load("gzip layers", docker_archive(packed))
        harness.names()
    with harness.case("layers that are here already may be left out"):
        made = harness.have_image("x", tags=["app:1"])
        other = image("x", tags=["app:2"], labels={"a": "1"})
        harness.know("other", other)
        without = [f"{Digest.of(blob).hex}.tar" for blob in other.layers]
        harness.load("no layer", docker_archive(other, without=without))
        harness.names()
        harness.rm(made.id)
    with harness.case("another platform"):
        made = harness.have_image("x", load=False, tags=["app:1"], top={"architecture": "s390x"})
        harness.load("s390x", docker_archive(made))
        harness.inspect("app:1", "architecture")


def parents(harness: Harness) -> None:
    """Images that name a parent."""
    with harness.case("in the archive, before and after"):
        base = harness.have_image("base", load=False, tags=["base:1"])
        child = harness.have_image("child", load=False, parent=base, tags=["app:1"])
        harness.load("parent first", docker_archive(base, child))
        harness.inspect("app:1", "parent")
        harness.subject.wipe()
        harness.load("child first", docker_archive(child, base))
        harness.inspect("app:1", "parent")
    with harness.case("not in the archive"):
        base = harness.have_image("base", load=False, tags=["base:1"])
        child = harness.have_image("child", load=False, parent=base, tags=["app:1"])
        harness.load("child alone", docker_archive(child))
        harness.inspect("app:1", "parent")
    with harness.case("not in the archive, but here"):
        base = harness.have_image("base", tags=["base:1"])
        child = harness.have_image("child", load=False, parent=base, tags=["app:1"])
        harness.load("child alone", docker_archive(child))
        harness.inspect("app:1", "parent")
    with harness.case("a parent with another history"):
        base = harness.have_image("base", load=False, tags=["base:1"])
        child = harness.have_image("child", load=False, parent=base, tags=["app:1"])
        stranger = image("stranger", tags=["stranger:1"])
        harness.know("stranger", stranger)
        lying = Made(child.config, child.layers, child.tags, stranger)
        harness.load("a stranger for a parent", docker_archive(stranger, lying))
        harness.names()
    with harness.case("a grandparent for a parent"):
        base = harness.have_image("base", load=False, tags=["base:1"])
        middle = harness.have_image("middle", load=False, parent=base)
        child = harness.have_image("child", load=False, parent=middle, tags=["app:1"])
        lying = Made(child.config, child.layers, child.tags, base)
        harness.load("a grandparent for a parent", docker_archive(base, lying))
        harness.names()


def bad(harness: Harness) -> None:
    """Archives that are refused, and what stays of them."""

    def wrong(what: str, archive: bytes) -> None:
        harness.load(what, archive)
        harness.names()

    with harness.case("no archive"):
        wrong("nothing", b"")
        wrong("no tar", b"no tar at all")
        wrong("an empty tar", tar({}))
        wrong("cut short", docker_archive(image("x", tags=["app:1"]))[:700])
        wrong("an OCI layout alone", tar({"oci-layout": b'{"imageLayoutVersion": "1.0.0"}'}))
    with harness.case("a manifest that is none"):
        for raw in (b"null", b"{}", b"[", b'"x"', b"[{}]", b'[{"Config": "x.json"}]'):
            wrong(raw.decode(), tar({"manifest.json": raw}))
    made = image("x", tags=["app:1"])
    config = f"{Digest.parse(made.id).hex}.json"
    layers = [f"{Digest.of(blob).hex}.tar" for blob in made.layers]
    with harness.case("parts missing"):
        harness.know("x", made)
        wrong("no config", docker_archive(made, without=[config]))
        wrong("no layer 1", docker_archive(made, without=layers[:1]))
        wrong("no layer 2", docker_archive(made, without=layers[1:]))
        wrong("the same, of two images", docker_archive(image("y"), made, without=layers[1:]))

    def manifest(**other: Any) -> list[dict[str, Any]]:
        return [{"Config": config, "RepoTags": ["app:1"], "Layers": layers, **other}]

    with harness.case("a manifest that lies"):
        harness.know("x", made)
        wrong("a layer too few", docker_archive(made, manifest=manifest(Layers=layers[:1])))
        wrong("a layer too many", docker_archive(made, manifest=manifest(Layers=[*layers, "x"])))
        wrong("layers exchanged", docker_archive(made, manifest=manifest(Layers=layers[::-1])))
        for tag in ("app", "App:1", "app:1:2", "", f"app@sha256:{64 * '0'}", 64 * "a" + ":1"):
            wrong(f"tag {tag!r}", docker_archive(made, manifest=manifest(RepoTags=[tag])))
            harness.subject.wipe()
        wrong("config outside", docker_archive(made, manifest=manifest(Config="../../etc/passwd")))
        outside = manifest(Layers=["../../etc/passwd", layers[1]])
        wrong("layer outside", docker_archive(made, manifest=outside))
    with harness.case("a config that lies"):
        harness.know("x", made)

        def other(**fields: Any) -> Made:
            document = json.loads(made.config) | fields
            kept = {key: value for key, value in document.items() if value is not None}
            return Made(json.dumps(kept).encode(), made.layers, made.tags)

        diff_ids = [f"sha256:{64 * '0'}", str(Digest.of(made.layers[1]))]
        wrong(
            "another diffID", docker_archive(other(rootfs={"type": "layers", "diff_ids": diff_ids}))
        )
        wrong("no rootfs", docker_archive(other(rootfs=None)))
        wrong("no layers", docker_archive(other(rootfs={"type": "layers"})))
        wrong("another system", docker_archive(other(os="windows")))
        wrong("no system", docker_archive(other(os=None)))
        step = {"created_by": "x"}
        wrong("too much history", docker_archive(other(history=[step, step, step])))
        harness.subject.wipe()
        wrong("too little history", docker_archive(other(history=[step])))
        harness.subject.wipe()
        wrong("no JSON", docker_archive(Made(b"nonsense", made.layers, made.tags)))
        wrong(
            "cut layer", docker_archive(Made(made.config, (made.layers[0][:600], made.layers[1])))
        )
    with harness.case("a hard link to a file of the layer below"):
        across = {"etc/across": entry(kind=tarfile.LNKTYPE, link="etc/below")}
        linked = image("x", layers=[{"etc/below": b"b"}, across], tags=["app:1"])
        harness.know("x", linked)
        wrong("a link across layers", docker_archive(linked))
    with harness.case("symbolic links"):
        harness.know("x", made)
        files = {
            "manifest.json": json.dumps(manifest(Config="link.json")).encode(),
            config: made.config,
            **dict(zip(layers, made.layers, strict=True)),
        }
        inside = entry(kind=tarfile.SYMTYPE, link=config)
        wrong("config by a link", tar({**files, "link.json": inside}))
        harness.subject.wipe()
        hostname = entry(kind=tarfile.SYMTYPE, link="/etc/hostname")
        wrong("config by a link to the outside", tar({**files, "link.json": hostname}))


def odd(harness: Harness) -> None:
    """Archives as other programs write them."""
    made = image("x", tags=["app:1"])
    config = f"{Digest.parse(made.id).hex}.json"
    layers = [f"{Digest.of(blob).hex}.tar" for blob in made.layers]
    files = {config: made.config, **dict(zip(layers, made.layers, strict=True))}

    def loaded(what: str, **changes: Any) -> None:
        entry = {"Config": config, "RepoTags": ["app:1"], "Layers": layers}
        named = changes.pop("entry", {**entry, **changes})
        _load_odd(harness, what, {**files, "manifest.json": json.dumps([named]).encode()})

    forms: dict[str, dict[str, Any]] = {
        "layers from the root": {"Layers": [f"/{name}" for name in layers]},
        "layers with a dot": {"Layers": [f"./{name}" for name in layers]},
        "layers by a way round": {"Layers": [f"d/../{name}" for name in layers]},
        "layers with a slash at the end": {"Layers": [f"{name}/" for name in layers]},
        "a config from the root": {"Config": f"/{config}"},
        "keys in small letters": {
            "entry": {"config": config, "repotags": ["app:1"], "layers": layers}
        },
        "keys in capitals": {"entry": {"CONFIG": config, "REPOTAGS": ["app:1"], "LAYERS": layers}},
        "a key in both": {"config": "nothing.json"},
        "names that are null": {"RepoTags": None},
        "more fields": {"LayerSources": {}, "Other": [1]},
    }
    for what, changes in forms.items():
        with harness.case(what):
            harness.know("x", made)
            loaded(what, **changes)
    for name, packed_layers in {
        "gzip": [gzip.compress(layer) for layer in made.layers],
        "bzip2": [bz2.compress(layer) for layer in made.layers],
        "xz": [lzma.compress(layer) for layer in made.layers],
        "zstd": [zstandard.compress(layer) for layer in made.layers],
    }.items():
        with harness.case(f"layers compressed by {name}"):
            harness.know("x", made)
            packed = Made(made.config, tuple(packed_layers), made.tags)
            harness.load(name, docker_archive(packed))
            harness.inspect("app:1", "id", "root_fs")
    with harness.case("half a surrogate in a label"):
        raw = json.dumps({**json.loads(made.config), "config": {"Labels": {"a": "x\ud800y"}}})
        half = Made(raw.encode(), made.layers, made.tags)
        harness.know("x", half)
        harness.load("half a surrogate", docker_archive(half))
        harness.inspect("app:1", "id", "config")
    for what, cut in (("no blocks at the end", 1024), ("one block at the end", 512)):
        with harness.case(what):
            harness.know("x", made)
            whole = docker_archive(made)
            end = len(whole.rstrip(b"\0"))
            end += -end % 512
            harness.load(what, whole[:end] + bytes(1024 - cut))
            harness.inspect("app:1", "id")


def legacy(harness: Harness) -> None:
    """The layout from before there was a manifest."""
    with harness.case("one image"):
        made = image("x", layers=[{"etc/a": b"a"}])
        v1 = {"id": "1" * 64, "created": "2024-05-01T12:00:00Z", "os": "linux"}
        files = {
            "repositories": json.dumps({"app": {"1": v1["id"]}}).encode(),
            f"{v1['id']}/VERSION": b"1.0",
            f"{v1['id']}/json": json.dumps({**v1, "config": {"Cmd": ["x"]}}).encode(),
            f"{v1['id']}/layer.tar": made.layers[0],
        }
        harness.load("legacy", tar(files))
        with suppress(RefusedError):  # not everyone reads it
            harness.know_made("x", "app:1")
        harness.inspect("app:1")
        harness.load(
            "legacy without a layer", tar({k: v for k, v in files.items() if "tar" not in k})
        )
    line = _line()
    with harness.case("a line of parents, several names"):
        names = {
            "app": {"1": "c" * 64, "2": "b" * 64, "3": "a" * 64},
            "localhost:5000/web": {"1": "c" * 64},
        }
        harness.load("legacy", tar({**line, "repositories": json.dumps(names).encode()}))
        for ref in ("app:1", "app:2"):
            harness.image_id(ref)
            harness.inspect(ref, "id", "parent", "root_fs", "config", "created", "author")
            harness.history(ref)
        harness.names()
    with harness.case("no names"):
        harness.load("legacy", tar(line))
        harness.names()
    for what, changed in (
        ("the document as it is, from 1.8.3 on", {"docker_version": "1.9.1", "Extra": [1, 2.50]}),
        ("older", {"docker_version": "1.8.2", "Extra": [1]}),
        ("no version", {"docker_version": None}),
        ("letters that Go escapes", {"docker_version": "1.9.0", "comment": "a<b>&\u2028\u00e9"}),
        ("letters that Go escapes, older", {"comment": "a<b>&\u2028\u00e9"}),
        ("times", {"created": "2015-03-20T10:20:30.120000000+02:00"}),
        ("no time", {"created": None}),
        ("what was dropped", {"docker_version": "1.9.0", "Size": 5, "throwaway": True}),
        ("every field", {"config": _OLD_CONFIG, "author": "Ann", "container": "d" * 64}),
        ("a text for a command", {"config": {"Cmd": "x", "Entrypoint": "y"}}),
        ("no system", {"os": None}),
    ):
        with harness.case(what):
            old = {**_OLD, "id": "a" * 64, **changed}
            files = {
                f"{'a' * 64}/VERSION": b"1.0",
                f"{'a' * 64}/json": json.dumps(
                    {key: value for key, value in old.items() if value is not None}, indent=1
                ).encode(),
                f"{'a' * 64}/layer.tar": line[f"{'a' * 64}/layer.tar"],
                "repositories": json.dumps({"app": {"1": "a" * 64}}).encode(),
            }
            harness.load(what, tar(files))
            harness.image_id("app:1")


def legacy_bad(harness: Harness) -> None:
    """What is wrong in the layout from before there was a manifest."""
    line = _line()
    names = json.dumps({"app": {"1": "c" * 64, "2": "b" * 64, "3": "a" * 64}}).encode()
    document = json.loads(line[f"{'a' * 64}/json"])
    for what, changed in (
        ("a name of nothing", {"repositories": json.dumps({"app": {"1": "9" * 64}}).encode()}),
        ("a name that is none", {"repositories": json.dumps({"App": {"1": "c" * 64}}).encode()}),
        ("a parent that is not there", {f"{'b' * 64}/json": None, f"{'b' * 64}/layer.tar": None}),
        ("a layer that is not there", {f"{'b' * 64}/layer.tar": None}),
        ("a layer that is no tar", {f"{'b' * 64}/layer.tar": b"no tar " * 100}),
        ("a document that is none", {f"{'a' * 64}/json": b"["}),
        ("a document of another kind", {f"{'a' * 64}/json": b"[]"}),
        ("a time that is none", {f"{'a' * 64}/json": _changed(document, created="yesterday")}),
        ("a command that is none", {f"{'a' * 64}/json": _changed(document, config={"Cmd": 5})}),
    ):
        with harness.case(what):
            files: dict[str, bytes | None] = {**line, "repositories": names, **changed}
            harness.load(what, tar({k: v for k, v in files.items() if v is not None}))
            harness.inspect("app:1", "id")


_OLD: dict[str, Any] = {
    "created": "2015-03-20T10:20:30.123456789Z",
    "container": "e" * 64,
    "container_config": {"Hostname": "h", "Cmd": ["/bin/sh", "-c", "make it"]},
    "docker_version": "1.5.0",
    "config": {"Hostname": "h", "Env": ["A=1"], "Cmd": ["/x"]},
    "architecture": "amd64",
    "os": "linux",
    "Size": 7,
}
_OLD_CONFIG: dict[str, Any] = {
    "Hostname": "h",
    "Domainname": "d",
    "User": "u",
    "AttachStdin": True,
    "ExposedPorts": {"80/tcp": {}, "443/tcp": {}},
    "Tty": True,
    "OpenStdin": True,
    "StdinOnce": True,
    "Env": ["B=2", "A=1"],
    "Cmd": ["/x", "<y>"],
    "Image": "f" * 64,
    "Volumes": {"/b": {}, "/a": {}},
    "WorkingDir": "/w",
    "Entrypoint": [],
    "NetworkDisabled": True,
    "MacAddress": "02:00",
    "OnBuild": ["RUN x"],
    "Labels": {"z": "1", "a": "2"},
    "StopSignal": "9",
    "Memory": 5,
    "PortSpecs": None,
}


def _line() -> dict[str, bytes]:
    """Three images, each the parent of the next."""
    files: dict[str, bytes] = {}
    parent = None
    for number, letter in enumerate("abc"):
        old = {**_OLD, "id": letter * 64, "comment": f"step {number}"}
        old |= {} if parent is None else {"parent": parent}
        parent = letter * 64
        files[f"{parent}/VERSION"] = b"1.0"
        files[f"{parent}/json"] = json.dumps(old).encode()
        files[f"{parent}/layer.tar"] = tar({f"etc/{letter}": letter.encode()})
    return files


def _changed(document: dict[str, Any], **changes: Any) -> bytes:
    return json.dumps({**document, **changes}).encode()


def _load_odd(harness: Harness, what: str, files: dict[str, bytes]) -> None:
    harness.load(what, tar(files))
    harness.inspect("app:1", "id")
    harness.names()
