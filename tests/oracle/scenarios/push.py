"""Pushing to a registry. Each case has its own layers: Docker remembers where it saw one."""

from __future__ import annotations

from tests.oracle.harness import Harness
from tests.oracle.inputs import layer, tar


def plain(harness: Harness) -> None:
    """A tag, once and again; elsewhere; all tags."""
    with harness.case("twice"):
        harness.have_image("twice", tags=["app:1"])
        name = f"{harness.repository('app')}:1"
        harness.subject.tag("app:1", name)
        harness.push(name)
        harness.names()
        harness.push(name)
        harness.names()
    with harness.case("what was pulled, to another repository"):
        made = harness.have_image("pulled", load=False)
        name = harness.have_pushed("app", "1", made)
        harness.subject.pull(name)
        other = f"{harness.repository('other')}:1"
        harness.subject.tag(name, other)
        harness.push(other)
        harness.names()
    with harness.case("all tags"):
        harness.have_image("one", tags=["app:1"])
        harness.have_image("two", tags=["app:2"])
        for tag in ("1", "2"):
            harness.subject.tag(f"app:{tag}", f"{harness.repository('app')}:{tag}")
        harness.push(harness.repository("app"), all_tags=True)
        harness.names()
    with harness.case("the same layer twice, and one without files"):
        same = {"etc/same": b"same"}
        harness.have_image("x", tags=["app:1"], layers=[same, {}, same])
        name = f"{harness.repository('app')}:1"
        harness.subject.tag("app:1", name)
        harness.push(name)
    with harness.case("and back: the ID stays"):
        made = harness.have_image("back", tags=["app:1"])
        name = f"{harness.repository('app')}:1"
        harness.subject.tag("app:1", name)
        harness.subject.push(name)
        harness.subject.rm(made.id, force=True)
        harness.names()
        harness.pull(name)
        harness.inspect(name, "id", "repo_tags")


def wrong(harness: Harness) -> None:
    """What is not there, or cannot be pushed."""
    with harness.case("names"):
        made = harness.have_image("x", load=False)
        name = harness.have_pushed("app", "1", made)
        harness.subject.pull(name)
        repository = harness.repository("app")
        harness.push(f"{repository}:nothing")
        harness.push(harness.repository("nothing"))
        harness.push(harness.repository("nothing"), all_tags=True)
        harness.push(f"{repository}@{made.to_push().digest}")
        harness.push(made.id)
        harness.push("App")
        harness.push(f"{repository}:-")
    with harness.case("only a digest is here"):
        made = harness.have_image("x", load=False)
        harness.have_pushed("app", "1", made)
        repository = harness.repository("app")
        harness.subject.pull(f"{repository}@{made.to_push().digest}")
        harness.push(repository, all_tags=True)
        harness.push(f"{repository}:1")


def several(harness: Harness) -> None:
    """One image under several names, and several images of one repository."""
    with harness.case("two tags, one after the other"):
        harness.have_image("tags", tags=["app:1"])
        for tag in ("1", "2"):
            name = f"{harness.repository('app')}:{tag}"
            harness.subject.tag("app:1", name)
            harness.push(name)
        harness.names()
    with harness.case("two repositories"):
        harness.have_image("repositories", tags=["app:1"])
        for repository in ("one", "two"):
            name = f"{harness.repository(repository)}:1"
            harness.subject.tag("app:1", name)
            harness.push(name)
        harness.names()
        harness.rm(f"{harness.repository('one')}:1")
        harness.names()
    with harness.case("a tag that moves"):
        harness.have_image("before", tags=["app:1"])
        harness.have_image("after", tags=["app:2"])
        name = f"{harness.repository('app')}:1"
        for tag in ("1", "2"):
            harness.subject.tag(f"app:{tag}", name)
            harness.push(name)
        harness.names()


def made(harness: Harness) -> None:
    """What was made here is pushed, and comes back as it was."""
    with harness.case("committed"):
        harness.have_image("pushed-base", tags=["base:1"])
        harness.have_workspace("work", "base:1")
        harness.subject.workspace_put("work", "/", tar({"etc/new": b"n"}))
        harness.workspace_commit("work", "new:1")
        name = f"{harness.repository('app')}:1"
        harness.subject.tag("new:1", name)
        harness.subject.push(name)
        harness.subject.rm(name)
        harness.pull(name)
        harness.inspect(name, "id", "repo_tags")
    with harness.case("imported"):
        harness.import_("root", layer({"etc/pushed": b"a"}), f"{harness.repository('app')}:1")
        name = f"{harness.repository('app')}:1"
        harness.subject.push(name)
        harness.subject.rm(name)
        harness.pull(name)
        harness.inspect(name, "id", "repo_tags", "root_fs")
