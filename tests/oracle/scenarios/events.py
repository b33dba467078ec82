"""What is told of each operation on images."""

from __future__ import annotations

from tests.oracle.harness import Harness
from tests.oracle.inputs import layer, tar


def each(harness: Harness) -> None:
    """The events of one operation at a time."""
    with harness.case("load, tag, rm"):
        made = harness.have_image("x", tags=["app:1"], labels={"a": "1", "name": "label"})
        harness.events()
        harness.subject.tag("app:1", "app:2")
        harness.events()
        harness.subject.rm("app:2")
        harness.events()
        harness.subject.tag(made.id, "web:1")
        harness.events()
        harness.subject.rm(made.id, force=True)
        harness.events()
    with harness.case("rm with parents"):
        base = harness.have_image("base", labels={"a": "1"})
        harness.have_image("child", parent=base, tags=["app:1"], labels={"a": "2"})
        harness.listen()
        harness.subject.rm("app:1")
        harness.events()
    with harness.case("rm that is refused"):
        made = harness.have_image("x", tags=["app:1", "web:1"])
        harness.listen()
        harness.rm(made.id)
        harness.events()
    with harness.case("import"):
        harness.subject.import_(layer({"etc/a": b"a"}), "app:1", changes=["LABEL a=1"])
        harness.know_made("x", "app:1")
        harness.events()
    with harness.case("commit"):
        harness.have_image("x", tags=["app:1"], labels={"a": "1"})
        harness.have_workspace("work", "app:1")
        harness.subject.workspace_put("work", "/", tar({"etc/new": b"n"}))
        harness.listen()
        harness.workspace_commit("work", "new:1")
        harness.events()
    with harness.case("prune"):
        harness.have_image("x", labels={"a": "1"})
        harness.have_image("y", tags=["app:1"])
        harness.listen()
        harness.prune()
        harness.events()
        harness.prune({"dangling": ["false"]})
        harness.events()
        harness.prune()
        harness.events()
    with harness.case("pull"):
        made = harness.have_image("x", load=False, labels={"a": "1"})
        name = harness.have_pushed("app", "1", made)
        harness.have_pushed("app", "2", made)
        harness.pull(name)
        harness.events()
        harness.pull(name)
        harness.events()
        harness.pull(harness.repository("app"), all_tags=True)
        harness.events()
        harness.pull(f"{harness.repository('app')}@{made.to_push().digest}")
        harness.events()
        harness.pull(f"{harness.repository('app')}:nothing")
        harness.events()
    with harness.case("push"):
        harness.have_image("pushed", tags=["app:1"], labels={"a": "1"})
        harness.subject.tag("app:1", f"{harness.repository('app')}:1")
        harness.listen()
        harness.push(f"{harness.repository('app')}:1")
        harness.events()
        harness.push(f"{harness.repository('app')}:1")
        harness.events()
        harness.push(f"{harness.repository('app')}:nothing")
        harness.events()
    with harness.case("rm of the last tag of what was pulled"):
        made = harness.have_image("x", load=False, labels={"a": "1"})
        name = harness.have_pushed("app", "1", made)
        harness.subject.pull(name)
        harness.listen()
        harness.subject.rm(name)
        harness.events()


def filtered(harness: Harness) -> None:
    """Which events each filter leaves."""
    with harness.case("filters"):
        made = harness.have_image("x", tags=["app:1"], labels={"a": "1"})
        harness.have_image("y", tags=["web:1"])
        harness.subject.tag("app:1", "app:2")
        harness.subject.rm("app:2")
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
            harness.events(filters, again=True)


def kinds(harness: Harness) -> None:
    """Filters for what else Docker has events of: they are compared with an image's ID and name."""
    with harness.case("filters"):
        made = harness.have_image("x", tags=["app:1"], labels={"a": "1", "container": "c"})
        harness.subject.tag("app:1", "app:2")
        for filters in (
            {"type": ["image"]},
            {"type": ["container"]},
            {"type": ["image", "container"]},
            {"scope": ["local"]},
            {"scope": ["swarm"]},
            {"container": ["app"]},
            {"container": ["pp"]},
            {"network": [made.id]},
            {"volume": [made.id[:12]]},
            {"daemon": ["nothing"]},
            {"plugin": ["app:2", "nothing"]},
            {"node": ["app"], "event": ["tag"]},
            {"label": ["container"]},
            {"label": ["a=1", "container=c"]},
            {"label": ["a=1", "container=x"]},
        ):
            harness.events(filters, again=True)


def moved(harness: Harness) -> None:
    """What is told where names move, and where several go at once."""
    with harness.case("a name is taken from another image"):
        harness.have_image("old", tags=["app:1"], labels={"of": "old"})
        harness.have_image("new", tags=["app:2"], labels={"of": "new"})
        harness.listen()
        harness.subject.tag("app:2", "app:1")
        harness.events()
        harness.have_image("newer", tags=["app:1"], labels={"of": "newer"})
        harness.events()
    with harness.case("by ID, all names"):
        made = harness.have_image("x", tags=["app:1", "app:2", "web:1"])
        harness.listen()
        harness.subject.rm(made.id, force=True)
        harness.events()
    with harness.case("squash and save"):
        base = harness.have_image("base", tags=["base:1"])
        harness.have_image("x", base=base, tags=["app:1"], labels={"a": "1"})
        harness.listen()
        harness.squash("app:1", "squashed:1", parent="base:1")
        harness.events()
        harness.save("app:1")
        harness.events()
        harness.squash("app:1", "squashed:1")
        harness.events()


def refused(harness: Harness) -> None:
    """Of what is refused nothing is told."""
    with harness.case("refusals"):
        made = harness.have_image("x", tags=["app:1", "web:1"])
        harness.have_image("child", parent=made, tags=["child:1"])
        harness.have_workspace("idle-one", "child:1")
        harness.listen()
        harness.rm(made.id)
        harness.rm("child:1")
        harness.rm("nothing")
        harness.tag("nothing", "x:1")
        harness.tag("app:1", "X:1")
        harness.load("no tar", b"nonsense" * 100)
        harness.import_("no tar", b"nonsense" * 100, "app:2")
        harness.save("nothing")
        harness.squash("nothing", "x:1")
        harness.prune({"nonsense": ["1"]})
        harness.events()
