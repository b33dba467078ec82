"""What is said of one image: its fields, its history, its children."""

from __future__ import annotations

from tests.oracle.harness import Harness
from tests.oracle.inputs import idle_program, layer, tar


def fields(harness: Harness) -> None:
    """All fields of a loaded, an imported and a pulled image, and of one with a parent."""
    with harness.case("loaded, with much in its config"):
        harness.have_image(
            "x",
            tags=["app:1", "web:1"],
            labels={"a": "1"},
            User="1000:1000",
            Env=["A=1", "B=two words"],
            Entrypoint=["/bin/idle"],
            WorkingDir="/srv",
            ExposedPorts={"80/tcp": {}},
            Volumes={"/data": {}},
            StopSignal="SIGINT",
            Healthcheck={"Test": ["CMD", "true"], "Interval": 1000000000},
            Shell=["/bin/idle", "-c"],
            OnBuild=["RUN x"],
        )
        harness.inspect("app:1")
    with harness.case("with a parent"):
        base = harness.have_image("base")
        harness.have_image("child", parent=base, tags=["app:1"])
        harness.inspect("app:1")
        harness.inspect(base.id, "repo_tags", "repo_digests", "parent", "size")
    with harness.case("imported"):
        root = tar({"bin/idle": idle_program()})
        harness.subject.import_(root, "app:1", message="said", changes=["ENV A=1"])
        harness.know_made("x", "app:1")
        harness.inspect("app:1")
    with harness.case("pulled"):
        made = harness.have_image("x", load=False)
        harness.subject.pull(harness.have_pushed("app", "1", made))
        harness.inspect(made.id)
    with harness.case("made by others, with author, comment, variant and an empty layer"):
        harness.have_image(
            "x",
            layers=[{"etc/a": b"a"}, {}],
            tags=["app:1"],
            top={
                "author": "Ann",
                "comment": "said",
                "architecture": "arm",
                "variant": "v7",
                "os.version": "1.2",
                "docker_version": "1.0",
            },
        )
        harness.inspect("app:1")
    with harness.case("unknown"):
        harness.inspect("app:1")
        harness.history("app:1")


def history(harness: Harness) -> None:
    """Each step, newest first, with the size of its layer."""
    with harness.case("no parent"):
        harness.have_image(
            "x",
            tags=["app:1", "web:1"],
            steps=[
                {"created_by": "ADD one", "layer": {"etc/one": b"1"}, "comment": "first"},
                {"created_by": "ENV A=1", "empty_layer": True},
                {"created_by": "COPY two", "layer": {"etc/two": b"22"}, "author": "Ann"},
                {"created_by": "CMD x", "empty_layer": True},
            ],
        )
        harness.history("app:1")
    with harness.case("parents here, with and without a name"):
        base = harness.have_image("base", tags=["base:1", "base:2"])
        middle = harness.have_image("middle", parent=base)
        harness.have_image("child", parent=middle, tags=["app:1"])
        harness.history("app:1")
        harness.history(middle.id)
    with harness.case("a parent removed meanwhile"):
        base = harness.have_image("base", tags=["base:1"])
        harness.have_image("child", parent=base, tags=["app:1"])
        harness.rm("base:1")
        harness.history("app:1")
    with harness.case("imported"):
        harness.subject.import_(layer({"etc/a": b"a"}), "app:1", message="said")
        harness.know_made("x", "app:1")
        harness.history("app:1")
    with harness.case("no history at all"):
        harness.have_image("x", tags=["app:1"], top={"history": None})
        harness.history("app:1")


def children(harness: Harness) -> None:
    """Only direct children count."""
    with harness.case("three generations"):
        base = harness.have_image("base", tags=["base:1"])
        first = harness.have_image("first", parent=base, tags=["first:1"])
        harness.have_image("second", parent=base)
        harness.have_image("grandchild", parent=first, tags=["app:1"])
        harness.children("base:1")
        harness.children(first.id)
        harness.children("app:1")
        harness.children("nothing")
