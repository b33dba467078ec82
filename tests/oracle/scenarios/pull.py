"""Pulling from a registry."""

from __future__ import annotations

from tests.oracle.harness import Harness
from tests.oracle.inputs import image
from tests.support.images import AMD64
from transship.store.oci.platform import Platform


def plain(harness: Harness) -> None:
    """A tag, once and again, moved, by digest, all of them."""
    with harness.case("twice"):
        made = harness.have_image("x", load=False, tags=["app:1"])
        name = harness.have_pushed("app", "1", made)
        harness.pull(name)
        harness.names()
        harness.pull(name)
        harness.names()
    with harness.case("no tag"):
        made = harness.have_image("x", load=False)
        harness.have_pushed("app", "latest", made)
        harness.pull(harness.repository("app"))
        harness.names()
    with harness.case("a tag that has moved"):
        old = harness.have_image("old", load=False)
        name = harness.have_pushed("app", "1", old)
        harness.subject.pull(name)
        new = harness.have_image("new", load=False)
        name = harness.have_pushed("app", "1", new)
        harness.pull(name)
        harness.names()
    with harness.case("by digest, once and again, then by tag"):
        made = harness.have_image("x", load=False)
        name = harness.have_pushed("app", "1", made)
        digest = f"{harness.repository('app')}@{made.to_push().digest}"
        harness.pull(digest)
        harness.names()
        harness.pull(digest)
        harness.pull(name)
        harness.names()
        harness.pull(digest)
    with harness.case("all tags"):
        one = harness.have_image("one", load=False)
        two = harness.have_image("two", load=False)
        harness.have_pushed("app", "1", one)
        harness.have_pushed("app", "2", two)
        harness.have_pushed("app", "1a", one)
        harness.pull(harness.repository("app"), all_tags=True)
        harness.names()
        harness.pull(harness.repository("app"), all_tags=True)
    with harness.case("layers that are here already"):
        base = harness.have_image("base", load=False)
        child = image("child", base=base)
        harness.know("child", child)
        harness.subject.pull(harness.have_pushed("base", "1", base))
        harness.pull(harness.have_pushed("app", "1", child))
    with harness.case("an image that was loaded before"):
        made = harness.have_image("x", tags=["app:1"])
        harness.pull(harness.have_pushed("app", "1", made))
        harness.names()
    with harness.case("the same layer twice"):
        same = {"etc/same": b"same"}
        made = harness.have_image("x", load=False, layers=[same, {"etc/a": b"a"}, same])
        harness.pull(harness.have_pushed("app", "1", made))
    with harness.case("another platform"):
        made = harness.have_image("x", load=False, top={"architecture": "s390x"})
        name = harness.have_pushed("app", "1", made)
        harness.pull(name)
        harness.names()
        harness.pull(name, platform="linux/amd64")


def index(harness: Harness) -> None:
    """An index: the image for the platform that is asked for, or the host's."""
    arm = Platform("linux", "arm64")
    with harness.case("the host's platform, then another, then none that is there"):
        here = harness.have_image("here", load=False)
        there = harness.have_image("there", load=False, top={"architecture": "arm64"})
        name = harness.have_pushed_index("app", "1", {AMD64: here, arm: there})
        harness.pull(name)
        harness.names()
        harness.pull(name)
        harness.pull(name, platform="linux/arm64")
        harness.names()
        harness.pull(name, platform="linux/s390x")
        harness.inspect(name, "id", "architecture")
        harness.remote_inspect(name)
    with harness.case("the host's platform is not there"):
        there = harness.have_image("there", load=False, top={"architecture": "arm64"})
        harness.pull(harness.have_pushed_index("app", "1", {arm: there}))
        harness.names()


def wrong(harness: Harness) -> None:
    """What is not there, or may not be asked for."""
    with harness.case("names"):
        made = harness.have_image("x", load=False)
        harness.have_pushed("app", "1", made)
        repository = harness.repository("app")
        harness.pull(f"{repository}:nothing")
        harness.pull(f"{repository}@sha256:{64 * '0'}")
        harness.pull(harness.repository("nothing"))
        harness.pull(harness.repository("nothing"), all_tags=True)
        harness.pull("scratch")
        harness.pull("App")
        harness.pull(f"{repository}:-")
        harness.pull(f"{repository}@sha256:12")
        harness.pull(f"{repository}:1", platform="nonsense/nonsense/nonsense/nonsense")
        harness.names()


def again(harness: Harness) -> None:
    """What was removed or renamed here is pulled again."""
    with harness.case("after its name went"):
        made = harness.have_image("x", load=False)
        name = harness.have_pushed("app", "1", made)
        harness.subject.pull(name)
        harness.subject.tag(name, "mine:1")
        harness.rm(name)
        harness.names()
        harness.pull(name)
        harness.names()
    with harness.case("after all of it went"):
        made = harness.have_image("x", load=False)
        name = harness.have_pushed("app", "1", made)
        harness.subject.pull(name)
        harness.subject.rm(made.id, force=True)
        harness.pull(name)
        harness.names()
    with harness.case("two tags of one image"):
        made = harness.have_image("x", load=False)
        names = [harness.have_pushed("app", tag, made) for tag in ("1", "2")]
        for name in (*names, *names):
            harness.pull(name)
        harness.names()
    with harness.case("two images on one base"):
        base = harness.have_image("base", load=False)
        for number in (1, 2):
            made = image(f"n{number}", base=base)
            harness.know(f"n{number}", made)
            harness.pull(harness.have_pushed("app", str(number), made))
        harness.names()
        harness.rm(f"{harness.repository('app')}:1")


def moved(harness: Harness) -> None:
    """Tags that go from image to image at the registry, and back."""
    with harness.case("there and back"):
        one = harness.have_image("one", load=False)
        two = harness.have_image("two", load=False)
        for made in (one, two, one):
            name = harness.have_pushed("app", "1", made)
            harness.pull(name)
            harness.names()
        harness.prune()
        harness.names()
    with harness.case("onto a name that was given here"):
        harness.have_image("mine", tags=["app:1"])
        theirs = harness.have_image("theirs", load=False)
        name = harness.have_pushed("app", "1", theirs)
        harness.subject.tag("app:1", name)
        harness.names()
        harness.pull(name)
        harness.names()
