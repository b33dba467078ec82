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


def moves(harness: Harness) -> None:
    """A name goes from image to image, and what it leaves behind is still there."""
    with harness.case("an image loses its only name"):
        old = harness.have_image("old", tags=["app:1"])
        harness.have_image("new", tags=["app:2"])
        harness.tag("app:2", "app:1")
        harness.names()
        harness.inspect(old.id, "repo_tags", "repo_digests")
        harness.listed({"dangling": ["true"]})
        harness.tag(old.id, "app:1")
        harness.names()
    with harness.case("an image loses one of two"):
        harness.have_image("old", tags=["app:1", "web:1"])
        harness.have_image("new", tags=["app:2"])
        harness.tag("app:2", "web:1")
        harness.names()
        harness.rm("web:1")
        harness.names()
    with harness.case("a parent takes the name of its child"):
        base = harness.have_image("base")
        child = harness.have_image("child", parent=base, tags=["app:1"])
        harness.tag(base.id, "app:1")
        harness.names()
        harness.rm(child.id)
        harness.names()
    with harness.case("the same again"):
        harness.have_image("x", tags=["app:1"])
        harness.listen()
        harness.tag("app:1", "app:1")
        harness.tag("app:1", "docker.io/library/app:1")
        harness.events()


def pulled(harness: Harness) -> None:
    """Names for what was pulled, given by its tag, its digest and its ID."""
    with harness.case("by digest"):
        made = harness.have_image("x", load=False)
        name = harness.have_pushed("app", "1", made)
        harness.subject.pull(name)
        digest = f"{harness.repository('app')}@{made.to_push().digest}"
        harness.tag(digest, "by-digest:1")
        harness.tag(f"{name}@{made.to_push().digest}", "by-both:1")
        harness.tag(made.id, f"{harness.repository('app')}:2")
        harness.names()
        harness.rm(name)
        harness.names()
    with harness.case("a digest alone, which gets its first tag"):
        made = harness.have_image("x", load=False)
        harness.have_pushed("app", "1", made)
        digest = f"{harness.repository('app')}@{made.to_push().digest}"
        harness.subject.pull(digest)
        harness.images()
        harness.tag(digest, f"{harness.repository('app')}:mine")
        harness.images()
        harness.rm(f"{harness.repository('app')}:mine")
        harness.names()


def forms(harness: Harness) -> None:
    """Which hosts, paths and tags a name can have."""
    with harness.case("names"):
        harness.have_image("x", tags=["app:1"])
        for new in (
            "a.b/c:1",
            "a_b:1",
            "a__b:1",
            "a___b:1",
            "a-b:1",
            "a--b:1",
            "a..b:1",
            "a-:1",
            "host:80/a:1",
            "host:0/a:1",
            "host:/a:1",
            "HOST/a:1",
            "127.0.0.1/a:1",
            "127.0.0.1:5000/a/b/c/d:1",
            "host.test//a:1",
            "/a:1",
            "a/:1",
            "a:_",
            "a:.x",
            "a:A.b_c-D",
            f"a:{128 * 'a'}",
            f"{120 * 'a'}/{120 * 'b'}:1",
            "docker.io:1",
            "library:1",
            "localhost:1",
            "a:1:2",
            "a@b:1",
        ):
            harness.tag("app:1", new)
        harness.names()
