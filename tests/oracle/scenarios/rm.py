"""Removal: every way to name an image, its names, who uses it, and force."""

from __future__ import annotations

from collections.abc import Sequence

from tests.oracle.harness import Harness
from tests.oracle.inputs import Made

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
