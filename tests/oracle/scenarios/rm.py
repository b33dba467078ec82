"""Removal: every way to name an image, its names, who uses it, and force."""

from __future__ import annotations

from collections.abc import Sequence

from tests.oracle.harness import Harness
from tests.oracle.inputs import Made, image

_NAMES: dict[str, Sequence[str]] = {
    "no name": (),
    "one name": ("app:1",),
    "two names in a repository": ("app:1", "app:2"),
    "two repositories": ("app:1", "web:1"),
}


def _given(made: Made) -> list[str]:
    """By name if there is one, by short ID and by whole ID."""
    return [*made.tags[:1], made.id[7:19], made.id]


def _table(harness: Harness, use: str) -> None:
    for names, tags in _NAMES.items():
        for way in range(3 if tags else 2):
            for force in (False, True):
                how = ["by name", "by short ID", "by ID"][way if tags else way + 1]
                with harness.case(f"{names}, {how}, {'by force' if force else 'without force'}"):
                    made = harness.have_image("x", tags=tags)
                    if use == "child":
                        harness.have_image("child", parent=made, tags=["child:1"])
                    elif use:
                        harness.have_workspace(f"{use}-one", made.id, busy=use == "busy")
                    harness.rm(_given(made)[way], force=force)
                    harness.names()


def unused(harness: Harness) -> None:
    """An image that nobody uses is removed."""
    _table(harness, "")


def with_child(harness: Harness) -> None:
    """An image is removed that another was made from."""
    _table(harness, "child")


def with_idle_workspace(harness: Harness) -> None:
    """An image is removed that a stopped container, an idle workspace, stands on."""
    _table(harness, "idle")


def with_busy_workspace(harness: Harness) -> None:
    """An image is removed that a running container, a busy workspace, stands on."""
    _table(harness, "busy")


def with_digest(harness: Harness) -> None:
    """An image is removed that was pulled, and so has a name by digest too."""
    for use in ("", "idle"):
        for force in (False, True):
            for way in ("tag", "digest", "ID"):
                title = f"{use or 'unused'}, by {way}, {'by force' if force else 'without force'}"
                with harness.case(title):
                    made = harness.have_image("x", load=False)
                    name = harness.have_pushed("app", "1", made)
                    harness.subject.pull(name)
                    if use:
                        harness.have_workspace("idle-one", made.id)
                    digest = f"{harness.repository('app')}@{made.to_push().digest}"
                    harness.rm({"tag": name, "digest": digest, "ID": made.id}[way], force=force)
                    harness.names()
    with harness.case("two tags in the repository, one by one"):
        made = harness.have_image("x", load=False)
        names = [harness.have_pushed("app", tag, made) for tag in ("1", "2")]
        for name in names:
            harness.subject.pull(name)
        harness.names()
        for name in names:
            harness.rm(name)
            harness.names()
    with harness.case("a tag in another repository keeps the image, not the digest"):
        made = harness.have_image("x", load=False)
        name = harness.have_pushed("app", "1", made)
        harness.subject.pull(name)
        harness.subject.tag(name, "web:1")
        harness.rm(name)
        harness.names()
    with harness.case("only a digest is left"):
        made = harness.have_image("x", load=False)
        harness.have_pushed("app", "1", made)
        digest = f"{harness.repository('app')}@{made.to_push().digest}"
        harness.subject.pull(digest)
        harness.names()
        harness.rm(digest)
        harness.names()


def parents(harness: Harness) -> None:
    """What an image was made from goes with it, if nothing else holds it."""
    for noprune in (False, True):
        with harness.case("nothing else, but --no-prune" if noprune else "nothing else"):
            first = harness.have_image("first")
            second = harness.have_image("second", parent=first)
            harness.have_image("third", parent=second, tags=["app:1"])
            harness.rm("app:1", noprune=noprune)
            harness.names()
    with harness.case("a parent has a name"):
        first = harness.have_image("first", tags=["base:1"])
        second = harness.have_image("second", parent=first)
        harness.have_image("third", parent=second, tags=["app:1"])
        harness.rm("app:1")
        harness.names()
    with harness.case("a parent has another child"):
        first = harness.have_image("first")
        second = harness.have_image("second", parent=first)
        harness.have_image("third", parent=second, tags=["app:1"])
        harness.have_image("other", parent=first, tags=["other:1"])
        harness.rm("app:1")
        harness.names()
    for busy in (False, True):
        with harness.case(f"a parent has {'a busy' if busy else 'an idle'} workspace"):
            first = harness.have_image("first")
            second = harness.have_image("second", parent=first)
            harness.have_image("third", parent=second, tags=["app:1"])
            harness.have_workspace("user", first.id, busy=busy)
            harness.rm("app:1", force=True)
            harness.names()
    with harness.case("layers stay that another image has"):
        first = harness.have_image("first")
        harness.have_image("second", parent=first, tags=["app:1"])
        harness.have_image("alone", layers=[{"etc/alone": b"alone\n"}], tags=["alone:1"])
        harness.rm("alone:1")
        harness.rm("app:1")


def wrong(harness: Harness) -> None:
    """Names that are not there, or are none."""
    with harness.case("names"):
        made = harness.have_image("x", tags=["app:1"])
        for ref in ("nothing", "app", "app:2", "APP:1", "app:1:2", f"sha256:{64 * '0'}", 64 * "0"):
            harness.rm(ref)
        harness.rm(f"app@sha256:{64 * '0'}")
        harness.rm("nothing", force=True)
        harness.rm(made.id[:9])
        harness.names()
    with harness.case("a name that begins the ID of its image counts as ID"):
        made = harness.have_image("x")
        harness.subject.tag(made.id, f"{made.id[7:15]}:latest")
        harness.subject.tag(made.id, "app:1")
        harness.rm(made.id[7:15])
        harness.names()


def again(harness: Harness) -> None:
    """One name after the other, and what is gone already."""
    with harness.case("each of three names"):
        harness.have_image("x", tags=["app:1", "app:2", "web:1"])
        for name in ("app:1", "app:1", "web:1", "app:2", "app:2"):
            harness.rm(name)
            harness.names()
    with harness.case("by ID, then by name"):
        made = harness.have_image("x", tags=["app:1", "app:2"])
        harness.rm(made.id)
        harness.rm("app:1", force=True)
        harness.rm(made.id, force=True)
        harness.names()
    with harness.case("a name that was moved"):
        old = harness.have_image("old", tags=["app:1"])
        harness.have_image("new", tags=["app:2"])
        harness.subject.tag("app:2", "app:1")
        harness.rm("app:1")
        harness.rm(old.id)
        harness.names()


def layers(harness: Harness) -> None:
    """Which layers go with an image, from the top down."""
    with harness.case("three images on one base"):
        base = harness.have_image("base", tags=["base:1"])
        one = image("one", base=base, tags=["one:1"])
        two = image("two", base=one, tags=["two:1"])
        for name, made in (("one", one), ("two", two)):
            harness.know(name, made)
            harness.have_loaded(made)
        for name in ("one:1", "base:1", "two:1"):
            harness.rm(name)
    with harness.case("the same layers under another config"):
        files = [{"etc/a": b"a"}, {"etc/b": b"b"}]
        harness.have_image("one", layers=files, tags=["one:1"])
        harness.have_image("two", layers=files, tags=["two:1"], labels={"a": "1"})
        harness.rm("one:1")
        harness.rm("two:1")
    with harness.case("a layer twice in an image"):
        same = {"etc/same": b"same"}
        harness.have_image("x", layers=[same, {"etc/a": b"a"}, same], tags=["app:1"])
        harness.rm("app:1")
    with harness.case("the first layer of another image is its third"):
        files = [{f"etc/{n}": b"1"} for n in "abc"]
        harness.have_image("long", layers=files, tags=["long:1"])
        harness.have_image("short", layers=files[2:], tags=["short:1"])
        harness.rm("long:1")
        harness.rm("short:1")


def generations(harness: Harness) -> None:
    """A line of parents of which some have names, children or workspaces."""
    for named in ((), ("second",), ("first", "third")):
        for noprune in (False, True):
            title = f"{' and '.join(named) or 'none'} named, {'--no-prune' if noprune else 'prune'}"
            with harness.case(title):
                below = None
                for name in ("first", "second", "third"):
                    tags = [f"{name}:1"] if name in named else ()
                    below = harness.have_image(name, parent=below, tags=tags)
                harness.have_image("last", parent=below, tags=["app:1"])
                harness.rm("app:1", noprune=noprune)
                harness.names()
    with harness.case("a parent by ID, then by force"):
        base = harness.have_image("base")
        harness.have_image("child", parent=base, tags=["app:1"])
        harness.rm(base.id)
        harness.rm(base.id, force=True)
        harness.rm("app:1")
        harness.rm(base.id)
        harness.names()
    with harness.case("two children, one after the other"):
        base = harness.have_image("base")
        harness.have_image("one", parent=base, tags=["one:1"])
        harness.have_image("two", parent=base, tags=["two:1"])
        harness.rm("one:1")
        harness.rm("two:1")
        harness.names()


def with_both(harness: Harness) -> None:
    """An image with a child and a workspace, or an idle and a busy workspace."""
    for force in (False, True):
        how = "by force" if force else "without force"
        with harness.case(f"a child and an idle workspace, {how}"):
            made = harness.have_image("x", tags=["app:1"])
            harness.have_image("child", parent=made, tags=["child:1"])
            harness.have_workspace("idle-one", made.id)
            harness.rm("app:1", force=force)
            harness.rm(made.id, force=force)
            harness.names()
        with harness.case(f"two names and an idle workspace over one, {how}"):
            made = harness.have_image("x", tags=["app:1", "web:1"])
            harness.have_workspace("idle-one", "app:1")
            harness.rm("web:1", force=force)
            harness.rm("app:1", force=force)
            harness.names()
        with harness.case(f"a workspace over the child, {how}"):
            made = harness.have_image("x", tags=["app:1"])
            child = harness.have_image("child", parent=made, tags=["child:1"])
            harness.have_workspace("idle-one", child.id)
            harness.rm("app:1", force=force)
            harness.rm("child:1", force=force)
            harness.names()
