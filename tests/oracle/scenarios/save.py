"""Saving images, and loading what was saved."""

from __future__ import annotations

from typing import Any

from tests.oracle.harness import Harness
from tests.oracle.inputs import docker_archive, idle_program, image, layer, tar


def names(harness: Harness) -> None:
    """Which images, under which names, each way to ask for them saves."""
    with harness.case("forms"):
        made = harness.have_image("x", tags=["app:1", "app:2", "web:1", "localhost:5000/app:1"])
        harness.have_image("y", tags=["app:3"])
        harness.have_image("z", tags=["other:latest"])
        for refs in (
            ["app:1"],
            ["app"],
            ["other"],
            ["localhost:5000/app"],
            ["docker.io/library/app:1"],
            [made.id],
            [made.id[7:]],
            [made.id[7:19]],
            [f"sha256:{made.id[7:19]}"],
            ["app:2", "app:1"],
            ["app:1", "app:1"],
            ["web:1", made.id],
            [made.id, "web:1"],
            ["app:1", "app:3"],
            ["app", "web"],
            ["app:1", "nothing"],
            ["nothing"],
            ["app:4"],
            ["App"],
            [f"sha256:{64 * '0'}"],
            [64 * "0"],
            [],
        ):
            harness.save(*refs)
    with harness.case("by digest"):
        made = harness.have_image("x", load=False)
        harness.subject.pull(harness.have_pushed("app", "1", made))
        repository = harness.repository("app")
        harness.save(f"{repository}@{made.to_push().digest}")
        harness.save(f"{repository}:1@{made.to_push().digest}")
        harness.save(repository)
    with harness.case("parents"):
        base = harness.have_image("base", tags=["base:1"])
        harness.have_image("child", parent=base, tags=["app:1"])
        harness.save("app:1")
        harness.save("app:1", "base:1")
        harness.save("app:1", base.id)
    with harness.case("events"):
        harness.have_image("x", tags=["app:1", "app:2"], labels={"a": "1"})
        harness.have_image("y", tags=["web:1"])
        harness.listen()
        harness.subject.save("app:1", "app:2", "web:1")
        harness.events(in_order=False)  # Docker goes over the images as they lie in a map
        harness.save("web:1", "nothing")
        harness.events()


def again(harness: Harness) -> None:
    """What was saved is the same image when it is loaded."""
    shared = {"etc/same": b"same"}
    images: dict[str, dict[str, Any]] = {
        "two layers": {},
        "the same layer twice": {"layers": [shared, {"etc/other": b"1"}, shared]},
        "a layer without files": {"layers": [{}, {"etc/a": b"a"}]},
        "a step without a layer": {
            "steps": [
                {"created_by": "COPY a", "layer": {"etc/a": b"a"}},
                {"created_by": "CMD b", "empty_layer": True},
            ]
        },
    }
    for title, how in images.items():
        with harness.case(title):
            made = harness.have_image("x", tags=["app:1"], **how)
            archive = harness.save("app:1")
            harness.layers("app:1")
            assert archive is not None
            harness.rm(made.id)
            harness.load("what was saved", archive)
            harness.names()
            harness.layers("app:1")
    with harness.case("by ID, its name is not kept"):
        made = harness.have_image("x", tags=["app:1"])
        archive = harness.save(made.id)
        assert archive is not None
        harness.rm(made.id)
        harness.load("what was saved", archive)
        harness.names()
    with harness.case("imported, with bytes after the end of the tar"):
        harness.subject.import_(layer({"etc/a": b"a"}) + bytes(4096), "app:1")
        harness.know_made("x", "app:1")
        archive = harness.save("app:1")
        assert archive is not None
        harness.rm("app:1")
        harness.load("what was saved", archive)
        harness.names()
    with harness.case("no layer at all"):
        made = harness.have_image("x", load=False, layers=[], tags=["app:1"])
        harness.load("no layer", docker_archive(made))
        harness.names()
        harness.save("app:1")


def together(harness: Harness) -> None:
    """Several images in an archive, and all of them back again."""
    with harness.case("shared layers"):
        base = harness.have_image("base", tags=["base:1"])
        one = image("one", base=base, tags=["one:1", "one:2"])
        two = image("two", base=base, tags=["two:1"])
        for name, made in (("one", one), ("two", two)):
            harness.know(name, made)
            harness.have_loaded(made)
        archive = harness.save("one", "two:1", base.id)
        assert archive is not None
        for name in ("one:1", "one:2", "two:1", "base:1"):
            harness.subject.rm(name)
        harness.subject.load(archive)  # Docker tells of them in the order of a map
        harness.names()
        harness.layers("one:2")
    with harness.case("a line of parents"):
        first = harness.have_image("first")
        second = harness.have_image("second", parent=first)
        harness.have_image("third", parent=second, tags=["app:1"])
        archive = harness.save("app:1", second.id, first.id)
        assert archive is not None
        harness.rm("app:1")
        harness.names()
        harness.subject.load(archive)  # Docker tells of them in the order of a map
        harness.inspect("app:1", "parent")
        harness.inspect(second.id, "parent")
        harness.names()
    with harness.case("without the parent in the middle"):
        first = harness.have_image("first", tags=["first:1"])
        second = harness.have_image("second", parent=first)
        harness.have_image("third", parent=second, tags=["app:1"])
        archive = harness.save("app:1", "first:1")
        assert archive is not None
        harness.rm("app:1")
        harness.rm("first:1")
        harness.subject.load(archive)  # Docker tells of them in the order of a map
        harness.inspect("app:1", "parent")
        harness.names()


def made(harness: Harness) -> None:
    """What was made here is saved and loaded as it was."""
    with harness.case("imported, tagged, committed, squashed"):
        root = layer({"etc/a": b"a", "bin/idle": idle_program()})
        harness.import_("root", root, "root:1", changes=['CMD ["/bin/idle"]'])
        harness.have_workspace("work", "root:1")
        harness.subject.workspace_put("work", "/", tar({"etc/b": b"b"}))
        harness.workspace_commit("work", "new:1", message="said")
        harness.squash("new:1", "squashed:1")
        for name in ("root", "new", "squashed"):
            archive = harness.save(f"{name}:1")
            assert archive is not None
            harness.load("what was saved", archive)
            harness.inspect(f"{name}:1", "id", "comment", "root_fs")
        harness.names()
    with harness.case("names that moved meanwhile"):
        harness.have_image("old", tags=["app:1", "app:2"])
        archive = harness.save("app")
        assert archive is not None
        harness.have_image("new", tags=["app:2"])
        harness.names()
        harness.load("what was saved", archive)
        harness.names()
