"""How much disk images take, alone and together."""

from __future__ import annotations

from tests.oracle.harness import Harness
from tests.oracle.inputs import tar


def sizes(harness: Harness) -> None:
    """Sizes of images that share layers, or do not."""
    with harness.case("nothing"):
        harness.usage()
    with harness.case("shared and unshared layers"):
        base = harness.have_image("base", tags=["base:1"])
        harness.have_image("one", parent=base, tags=["one:1", "one:2"])
        harness.have_image("two", parent=base)
        harness.have_image("alone", layers=[{"etc/alone": b"12345"}], tags=["alone:1"])
        harness.usage()
    with harness.case("a parent without a name"):
        base = harness.have_image("base")
        harness.have_image("one", parent=base, tags=["one:1"])
        harness.usage()
    with harness.case("the same layers, another config"):
        files = [{"etc/a": b"a"}, {"etc/b": b"bb"}]
        harness.have_image("one", layers=files, tags=["one:1"])
        harness.have_image("two", layers=files, tags=["two:1"], labels={"a": "1"})
        harness.usage()
    with harness.case("workspaces"):
        harness.have_image("x", tags=["app:1"])
        harness.have_workspace("first", "app:1")
        harness.have_workspace("second", "app:1", busy=True)
        harness.subject.workspace_put("first", "/", tar({"etc/new": b"1234567"}))
        harness.usage()
        harness.workspace_size("first")
        harness.workspace_size("nothing")
