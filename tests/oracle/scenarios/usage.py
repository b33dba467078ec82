"""How much disk images take, alone and together."""

from __future__ import annotations

from tests.oracle.inputs import tar
from tests.oracle.stage import Stage


def sizes(stage: Stage) -> None:
    """Sizes of images that share layers, or do not."""
    with stage.case("nothing"):
        stage.usage()
    with stage.case("shared and unshared layers"):
        base = stage.have_image("base", tags=["base:1"])
        stage.have_image("one", parent=base, tags=["one:1", "one:2"])
        stage.have_image("two", parent=base)
        stage.have_image("alone", layers=[{"etc/alone": b"12345"}], tags=["alone:1"])
        stage.usage()
    with stage.case("a parent without a name"):
        base = stage.have_image("base")
        stage.have_image("one", parent=base, tags=["one:1"])
        stage.usage()
    with stage.case("the same layers, another config"):
        files = [{"etc/a": b"a"}, {"etc/b": b"bb"}]
        stage.have_image("one", layers=files, tags=["one:1"])
        stage.have_image("two", layers=files, tags=["two:1"], labels={"a": "1"})
        stage.usage()
    with stage.case("workspaces"):
        stage.have_image("x", tags=["app:1"])
        stage.have_workspace("first", "app:1")
        stage.have_workspace("second", "app:1", busy=True)
        stage.subject.workspace_put("first", "/", tar({"etc/new": b"1234567"}))
        stage.usage()
        stage.workspace_size("first")
        stage.workspace_size("nothing")
