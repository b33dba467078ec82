"""Removal: every way to name an image, its names, who uses it, and force."""

from __future__ import annotations

from collections.abc import Sequence

from tests.oracle.inputs import Made
from tests.oracle.stage import Stage

_NAMES: dict[str, Sequence[str]] = {
    "no name": (),
    "one name": ("app:1",),
    "two names in a repository": ("app:1", "app:2"),
    "two repositories": ("app:1", "web:1"),
}


def _given(made: Made) -> list[str]:
    """By name if there is one, by short ID and by whole ID."""
    return [*made.tags[:1], made.id[7:19], made.id]


def _table(stage: Stage, use: str) -> None:
    for names, tags in _NAMES.items():
        for way in range(3 if tags else 2):
            for force in (False, True):
                how = ["by name", "by short ID", "by ID"][way if tags else way + 1]
                with stage.case(f"{names}, {how}, {'by force' if force else 'without force'}"):
                    made = stage.have_image("x", tags=tags)
                    if use == "child":
                        stage.have_image("child", parent=made, tags=["child:1"])
                    elif use:
                        stage.have_workspace(f"{use}-one", made.id, busy=use == "busy")
                    stage.rm(_given(made)[way], force=force)
                    stage.names()


def unused(stage: Stage) -> None:
    """An image that nobody uses is removed."""
    _table(stage, "")


def with_child(stage: Stage) -> None:
    """An image is removed that another was made from."""
    _table(stage, "child")


def with_idle_workspace(stage: Stage) -> None:
    """An image is removed that a stopped container, an idle workspace, stands on."""
    _table(stage, "idle")


def with_busy_workspace(stage: Stage) -> None:
    """An image is removed that a running container, a busy workspace, stands on."""
    _table(stage, "busy")


def with_digest(stage: Stage) -> None:
    """An image is removed that was pulled, and so has a name by digest too."""
    for use in ("", "idle"):
        for force in (False, True):
            for way in ("tag", "digest", "ID"):
                title = f"{use or 'unused'}, by {way}, {'by force' if force else 'without force'}"
                with stage.case(title):
                    made = stage.have_image("x", load=False)
                    name = stage.have_pushed("app", "1", made)
                    stage.subject.pull(name)
                    if use:
                        stage.have_workspace("idle-one", made.id)
                    digest = f"{stage.repository('app')}@{made.to_push().digest}"
                    stage.rm({"tag": name, "digest": digest, "ID": made.id}[way], force=force)
                    stage.names()
    with stage.case("two tags in the repository, one by one"):
        made = stage.have_image("x", load=False)
        names = [stage.have_pushed("app", tag, made) for tag in ("1", "2")]
        for name in names:
            stage.subject.pull(name)
        stage.names()
        for name in names:
            stage.rm(name)
            stage.names()
    with stage.case("a tag in another repository keeps the image, not the digest"):
        made = stage.have_image("x", load=False)
        name = stage.have_pushed("app", "1", made)
        stage.subject.pull(name)
        stage.subject.tag(name, "web:1")
        stage.rm(name)
        stage.names()
    with stage.case("only a digest is left"):
        made = stage.have_image("x", load=False)
        stage.have_pushed("app", "1", made)
        digest = f"{stage.repository('app')}@{made.to_push().digest}"
        stage.subject.pull(digest)
        stage.names()
        stage.rm(digest)
        stage.names()


def parents(stage: Stage) -> None:
    """What an image was made from goes with it, if nothing else holds it."""
    for noprune in (False, True):
        with stage.case("nothing else, but --no-prune" if noprune else "nothing else"):
            first = stage.have_image("first")
            second = stage.have_image("second", parent=first)
            stage.have_image("third", parent=second, tags=["app:1"])
            stage.rm("app:1", noprune=noprune)
            stage.names()
    with stage.case("a parent has a name"):
        first = stage.have_image("first", tags=["base:1"])
        second = stage.have_image("second", parent=first)
        stage.have_image("third", parent=second, tags=["app:1"])
        stage.rm("app:1")
        stage.names()
    with stage.case("a parent has another child"):
        first = stage.have_image("first")
        second = stage.have_image("second", parent=first)
        stage.have_image("third", parent=second, tags=["app:1"])
        stage.have_image("other", parent=first, tags=["other:1"])
        stage.rm("app:1")
        stage.names()
    for busy in (False, True):
        with stage.case(f"a parent has {'a busy' if busy else 'an idle'} workspace"):
            first = stage.have_image("first")
            second = stage.have_image("second", parent=first)
            stage.have_image("third", parent=second, tags=["app:1"])
            stage.have_workspace("user", first.id, busy=busy)
            stage.rm("app:1", force=True)
            stage.names()
    with stage.case("layers stay that another image has"):
        first = stage.have_image("first")
        stage.have_image("second", parent=first, tags=["app:1"])
        stage.have_image("alone", layers=[{"etc/alone": b"alone\n"}], tags=["alone:1"])
        stage.rm("alone:1")
        stage.rm("app:1")


def wrong(stage: Stage) -> None:
    """Names that are not there, or are none."""
    with stage.case("names"):
        made = stage.have_image("x", tags=["app:1"])
        for ref in ("nothing", "app", "app:2", "APP:1", "app:1:2", f"sha256:{64 * '0'}", 64 * "0"):
            stage.rm(ref)
        stage.rm(f"app@sha256:{64 * '0'}")
        stage.rm("nothing", force=True)
        stage.rm(made.id[:9])
        stage.names()
    with stage.case("a name that begins the ID of its image counts as ID"):
        made = stage.have_image("x")
        stage.subject.tag(made.id, f"{made.id[7:15]}:latest")
        stage.subject.tag(made.id, "app:1")
        stage.rm(made.id[7:15])
        stage.names()
