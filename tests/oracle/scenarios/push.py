"""Pushing to a registry. Each case has its own layers: Docker remembers where it saw one."""

from __future__ import annotations

from tests.oracle.stage import Stage


def plain(stage: Stage) -> None:
    """A tag, once and again; elsewhere; all tags."""
    with stage.case("twice"):
        stage.have_image("twice", tags=["app:1"])
        name = f"{stage.repository('app')}:1"
        stage.subject.tag("app:1", name)
        stage.push(name)
        stage.names()
        stage.push(name)
        stage.names()
    with stage.case("what was pulled, to another repository"):
        made = stage.have_image("pulled", load=False)
        name = stage.have_pushed("app", "1", made)
        stage.subject.pull(name)
        other = f"{stage.repository('other')}:1"
        stage.subject.tag(name, other)
        stage.push(other)
        stage.names()
    with stage.case("all tags"):
        stage.have_image("one", tags=["app:1"])
        stage.have_image("two", tags=["app:2"])
        for tag in ("1", "2"):
            stage.subject.tag(f"app:{tag}", f"{stage.repository('app')}:{tag}")
        stage.push(stage.repository("app"), all_tags=True)
        stage.names()
    with stage.case("the same layer twice, and one without files"):
        same = {"etc/same": b"same"}
        stage.have_image("x", tags=["app:1"], layers=[same, {}, same])
        name = f"{stage.repository('app')}:1"
        stage.subject.tag("app:1", name)
        stage.push(name)
    with stage.case("and back: the ID stays"):
        made = stage.have_image("back", tags=["app:1"])
        name = f"{stage.repository('app')}:1"
        stage.subject.tag("app:1", name)
        stage.subject.push(name)
        stage.subject.rm(made.id, force=True)
        stage.names()
        stage.pull(name)
        stage.inspect(name, "id", "repo_tags")


def wrong(stage: Stage) -> None:
    """What is not there, or cannot be pushed."""
    with stage.case("names"):
        made = stage.have_image("x", load=False)
        name = stage.have_pushed("app", "1", made)
        stage.subject.pull(name)
        repository = stage.repository("app")
        stage.push(f"{repository}:nothing")
        stage.push(stage.repository("nothing"))
        stage.push(stage.repository("nothing"), all_tags=True)
        stage.push(f"{repository}@{made.to_push().digest}")
        stage.push(made.id)
        stage.push("App")
        stage.push(f"{repository}:-")
    with stage.case("only a digest is here"):
        made = stage.have_image("x", load=False)
        stage.have_pushed("app", "1", made)
        repository = stage.repository("app")
        stage.subject.pull(f"{repository}@{made.to_push().digest}")
        stage.push(repository, all_tags=True)
        stage.push(f"{repository}:1")
