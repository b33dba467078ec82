"""Naming images."""

from __future__ import annotations

from tests.oracle.stage import Stage


def names(stage: Stage) -> None:
    """A name is given, taken from another image, and refused."""
    with stage.case("a name in every form"):
        made = stage.have_image("x", tags=["app:1"])
        for new in (
            "web",
            "web:2",
            "team/web:1",
            "docker.io/library/hub:1",
            "index.docker.io/hub:2",
            "localhost:5000/web:1",
            "localhost/web",
        ):
            stage.tag("app:1", new)
        stage.tag(made.id, "by-id:1")
        stage.tag(made.id[7:19], "by-short-id:1")
        stage.tag("app:1", "app:1")
        stage.names()
    with stage.case("a name that another image has"):
        stage.have_image("x", tags=["app:1"])
        stage.have_image("y", tags=["app:2"])
        stage.tag("app:1", "app:2")
        stage.names()
        stage.events()
    with stage.case("what is refused"):
        made = stage.have_image("x", tags=["app:1"])
        stage.tag("nothing", "web:1")
        stage.tag("app:2", "web:1")
        for new in (
            f"web@sha256:{64 * '0'}",
            f"web:1@sha256:{64 * '0'}",
            "sha256",
            "sha256:1",
            "team/sha256:1",
            "Web:1",
            "web:-1",
            f"web:{129 * 'a'}",
            "-web:1",
            "we  b",
            f"{64 * 'a'}:1",
            f"{made.id[7:19]}:1",
            "scratch",
        ):
            stage.tag("app:1", new)
        stage.names()


def time(stage: Stage) -> None:
    """When an image was named last."""
    with stage.case("loaded, then tagged"):
        stage.have_image("x", tags=["app:1"])
        stage.inspect("app:1", "metadata")
        stage.subject.tag("app:1", "app:2")
        stage.inspect("app:1", "metadata")
        stage.subject.rm("app:2")
        stage.inspect("app:1", "metadata")
