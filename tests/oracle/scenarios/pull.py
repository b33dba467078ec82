"""Pulling from a registry."""

from __future__ import annotations

from tests.oracle.inputs import image
from tests.oracle.stage import Stage
from tests.support.images import AMD64
from transship.store.oci.platform import Platform


def plain(stage: Stage) -> None:
    """A tag, once and again, moved, by digest, all of them."""
    with stage.case("twice"):
        made = stage.have_image("x", load=False, tags=["app:1"])
        name = stage.have_pushed("app", "1", made)
        stage.pull(name)
        stage.names()
        stage.pull(name)
        stage.names()
    with stage.case("no tag"):
        made = stage.have_image("x", load=False)
        stage.have_pushed("app", "latest", made)
        stage.pull(stage.repository("app"))
        stage.names()
    with stage.case("a tag that has moved"):
        old = stage.have_image("old", load=False)
        name = stage.have_pushed("app", "1", old)
        stage.subject.pull(name)
        new = stage.have_image("new", load=False)
        name = stage.have_pushed("app", "1", new)
        stage.pull(name)
        stage.names()
    with stage.case("by digest, once and again, then by tag"):
        made = stage.have_image("x", load=False)
        name = stage.have_pushed("app", "1", made)
        digest = f"{stage.repository('app')}@{made.to_push().digest}"
        stage.pull(digest)
        stage.names()
        stage.pull(digest)
        stage.pull(name)
        stage.names()
        stage.pull(digest)
    with stage.case("all tags"):
        one = stage.have_image("one", load=False)
        two = stage.have_image("two", load=False)
        stage.have_pushed("app", "1", one)
        stage.have_pushed("app", "2", two)
        stage.have_pushed("app", "1a", one)
        stage.pull(stage.repository("app"), all_tags=True)
        stage.names()
        stage.pull(stage.repository("app"), all_tags=True)
    with stage.case("layers that are here already"):
        base = stage.have_image("base", load=False)
        child = image("child", base=base)
        stage.know("child", child)
        stage.subject.pull(stage.have_pushed("base", "1", base))
        stage.pull(stage.have_pushed("app", "1", child))
    with stage.case("an image that was loaded before"):
        made = stage.have_image("x", tags=["app:1"])
        stage.pull(stage.have_pushed("app", "1", made))
        stage.names()
    with stage.case("the same layer twice"):
        same = {"etc/same": b"same"}
        made = stage.have_image("x", load=False, layers=[same, {"etc/a": b"a"}, same])
        stage.pull(stage.have_pushed("app", "1", made))
    with stage.case("another platform"):
        made = stage.have_image("x", load=False, top={"architecture": "s390x"})
        name = stage.have_pushed("app", "1", made)
        stage.pull(name)
        stage.names()
        stage.pull(name, platform="linux/amd64")


def index(stage: Stage) -> None:
    """An index: the image for the platform that is asked for, or the host's."""
    arm = Platform("linux", "arm64")
    with stage.case("the host's platform, then another, then none that is there"):
        here = stage.have_image("here", load=False)
        there = stage.have_image("there", load=False, top={"architecture": "arm64"})
        name = stage.have_pushed_index("app", "1", {AMD64: here, arm: there})
        stage.pull(name)
        stage.names()
        stage.pull(name)
        stage.pull(name, platform="linux/arm64")
        stage.names()
        stage.pull(name, platform="linux/s390x")
        stage.inspect(name, "id", "architecture")
        stage.remote_inspect(name)
    with stage.case("the host's platform is not there"):
        there = stage.have_image("there", load=False, top={"architecture": "arm64"})
        stage.pull(stage.have_pushed_index("app", "1", {arm: there}))
        stage.names()


def wrong(stage: Stage) -> None:
    """What is not there, or may not be asked for."""
    with stage.case("names"):
        made = stage.have_image("x", load=False)
        stage.have_pushed("app", "1", made)
        repository = stage.repository("app")
        stage.pull(f"{repository}:nothing")
        stage.pull(f"{repository}@sha256:{64 * '0'}")
        stage.pull(stage.repository("nothing"))
        stage.pull(stage.repository("nothing"), all_tags=True)
        stage.pull("scratch")
        stage.pull("App")
        stage.pull(f"{repository}:-")
        stage.pull(f"{repository}@sha256:12")
        stage.pull(f"{repository}:1", platform="nonsense/nonsense/nonsense/nonsense")
        stage.names()
