"""Naming images."""

from __future__ import annotations

from tests.oracle.harness import Harness


def names(harness: Harness) -> None:
    """A name is given, taken from another image, and refused."""
    with harness.case("a name in every form"):
        made = harness.have_image("x", tags=["app:1"])
        for new in (
            "web",
            "web:2",
            "team/web:1",
            "docker.io/library/hub:1",
            "index.docker.io/hub:2",
            "localhost:5000/web:1",
            "localhost/web",
        ):
            harness.tag("app:1", new)
        harness.tag(made.id, "by-id:1")
        harness.tag(made.id[7:19], "by-short-id:1")
        harness.tag("app:1", "app:1")
        harness.names()
    with harness.case("a name that another image has"):
        harness.have_image("x", tags=["app:1"])
        harness.have_image("y", tags=["app:2"])
        harness.tag("app:1", "app:2")
        harness.names()
        harness.events()
    with harness.case("what is refused"):
        made = harness.have_image("x", tags=["app:1"])
        harness.tag("nothing", "web:1")
        harness.tag("app:2", "web:1")
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
            harness.tag("app:1", new)
        harness.names()


def time(harness: Harness) -> None:
    """When an image was named last."""
    with harness.case("loaded, then tagged"):
        harness.have_image("x", tags=["app:1"])
        harness.inspect("app:1", "metadata")
        harness.subject.tag("app:1", "app:2")
        harness.inspect("app:1", "metadata")
        harness.subject.rm("app:2")
        harness.inspect("app:1", "metadata")
