"""Saving images, and loading what was saved."""

from __future__ import annotations

from typing import Any

from tests.oracle.inputs import docker_archive, layer
from tests.oracle.stage import Stage


def names(stage: Stage) -> None:
    """Which images, under which names, each way to ask for them saves."""
    with stage.case("forms"):
        made = stage.have_image("x", tags=["app:1", "app:2", "web:1", "localhost:5000/app:1"])
        stage.have_image("y", tags=["app:3"])
        stage.have_image("z", tags=["other:latest"])
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
            stage.save(*refs)
    with stage.case("by digest"):
        made = stage.have_image("x", load=False)
        stage.subject.pull(stage.have_pushed("app", "1", made))
        repository = stage.repository("app")
        stage.save(f"{repository}@{made.to_push().digest}")
        stage.save(f"{repository}:1@{made.to_push().digest}")
        stage.save(repository)
    with stage.case("parents"):
        base = stage.have_image("base", tags=["base:1"])
        stage.have_image("child", parent=base, tags=["app:1"])
        stage.save("app:1")
        stage.save("app:1", "base:1")
        stage.save("app:1", base.id)
    with stage.case("events"):
        stage.have_image("x", tags=["app:1", "app:2"], labels={"a": "1"})
        stage.have_image("y", tags=["web:1"])
        stage.listen()
        stage.subject.save("app:1", "app:2", "web:1")
        stage.events(in_order=False)  # Docker goes over the images as they lie in a map
        stage.save("web:1", "nothing")
        stage.events()


def again(stage: Stage) -> None:
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
        with stage.case(title):
            made = stage.have_image("x", tags=["app:1"], **how)
            archive = stage.save("app:1")
            stage.layers("app:1")
            assert archive is not None
            stage.rm(made.id)
            stage.load("what was saved", archive)
            stage.names()
            stage.layers("app:1")
    with stage.case("by ID, its name is not kept"):
        made = stage.have_image("x", tags=["app:1"])
        archive = stage.save(made.id)
        assert archive is not None
        stage.rm(made.id)
        stage.load("what was saved", archive)
        stage.names()
    with stage.case("imported, with bytes after the end of the tar"):
        stage.subject.import_(layer({"etc/a": b"a"}) + bytes(4096), "app:1")
        stage.know_made("x", "app:1")
        archive = stage.save("app:1")
        assert archive is not None
        stage.rm("app:1")
        stage.load("what was saved", archive)
        stage.names()
    with stage.case("no layer at all"):
        made = stage.have_image("x", load=False, layers=[], tags=["app:1"])
        stage.load("no layer", docker_archive(made))
        stage.names()
        stage.save("app:1")
