"""What is told of each operation on images."""

from __future__ import annotations

from tests.oracle.inputs import layer, tar
from tests.oracle.stage import Stage


def each(stage: Stage) -> None:
    """The events of one operation at a time."""
    with stage.case("load, tag, rm"):
        made = stage.have_image("x", tags=["app:1"], labels={"a": "1", "name": "label"})
        stage.events()
        stage.subject.tag("app:1", "app:2")
        stage.events()
        stage.subject.rm("app:2")
        stage.events()
        stage.subject.tag(made.id, "web:1")
        stage.events()
        stage.subject.rm(made.id, force=True)
        stage.events()
    with stage.case("rm with parents"):
        base = stage.have_image("base", labels={"a": "1"})
        stage.have_image("child", parent=base, tags=["app:1"], labels={"a": "2"})
        stage.listen()
        stage.subject.rm("app:1")
        stage.events()
    with stage.case("rm that is refused"):
        made = stage.have_image("x", tags=["app:1", "web:1"])
        stage.listen()
        stage.rm(made.id)
        stage.events()
    with stage.case("import"):
        stage.subject.import_(layer({"etc/a": b"a"}), "app:1", changes=["LABEL a=1"])
        stage.know_made("x", "app:1")
        stage.events()
    with stage.case("commit"):
        stage.have_image("x", tags=["app:1"], labels={"a": "1"})
        stage.have_workspace("work", "app:1")
        stage.subject.workspace_put("work", "/", tar({"etc/new": b"n"}))
        stage.listen()
        stage.workspace_commit("work", "new:1")
        stage.events()
    with stage.case("prune"):
        stage.have_image("x", labels={"a": "1"})
        stage.have_image("y", tags=["app:1"])
        stage.listen()
        stage.prune()
        stage.events()
        stage.prune({"dangling": ["false"]})
        stage.events()
        stage.prune()
        stage.events()
    with stage.case("pull"):
        made = stage.have_image("x", load=False, labels={"a": "1"})
        name = stage.have_pushed("app", "1", made)
        stage.have_pushed("app", "2", made)
        stage.pull(name)
        stage.events()
        stage.pull(name)
        stage.events()
        stage.pull(stage.repository("app"), all_tags=True)
        stage.events()
        stage.pull(f"{stage.repository('app')}@{made.to_push().digest}")
        stage.events()
        stage.pull(f"{stage.repository('app')}:nothing")
        stage.events()
    with stage.case("push"):
        stage.have_image("pushed", tags=["app:1"], labels={"a": "1"})
        stage.subject.tag("app:1", f"{stage.repository('app')}:1")
        stage.listen()
        stage.push(f"{stage.repository('app')}:1")
        stage.events()
        stage.push(f"{stage.repository('app')}:1")
        stage.events()
        stage.push(f"{stage.repository('app')}:nothing")
        stage.events()
    with stage.case("rm of the last tag of what was pulled"):
        made = stage.have_image("x", load=False, labels={"a": "1"})
        name = stage.have_pushed("app", "1", made)
        stage.subject.pull(name)
        stage.listen()
        stage.subject.rm(name)
        stage.events()


def filtered(stage: Stage) -> None:
    """Which events each filter leaves."""
    with stage.case("filters"):
        made = stage.have_image("x", tags=["app:1"], labels={"a": "1"})
        stage.have_image("y", tags=["web:1"])
        stage.subject.tag("app:1", "app:2")
        stage.subject.rm("app:2")
        for filters in (
            {"event": ["tag"]},
            {"event": ["tag", "untag"]},
            {"event": ["nothing"]},
            {"image": ["app:1"]},
            {"image": ["app:2"]},
            {"image": [made.id]},
            {"image": ["app"]},
            {"label": ["a"]},
            {"label": ["a=1"]},
            {"label": ["a=2"]},
            {"event": ["load"], "label": ["a=1"]},
        ):
            stage.events(filters, again=True)
