"""What is said of one image: its fields, its history, its children."""

from __future__ import annotations

from tests.oracle.inputs import idle_program, layer, tar
from tests.oracle.stage import Stage


def fields(stage: Stage) -> None:
    """All fields of a loaded, an imported and a pulled image, and of one with a parent."""
    with stage.case("loaded, with much in its config"):
        stage.have_image(
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
        stage.inspect("app:1")
    with stage.case("with a parent"):
        base = stage.have_image("base")
        stage.have_image("child", parent=base, tags=["app:1"])
        stage.inspect("app:1")
        stage.inspect(base.id, "repo_tags", "repo_digests", "parent", "size")
    with stage.case("imported"):
        root = tar({"bin/idle": idle_program()})
        stage.subject.import_(root, "app:1", message="said", changes=["ENV A=1"])
        stage.know_made("x", "app:1")
        stage.inspect("app:1")
    with stage.case("pulled"):
        made = stage.have_image("x", load=False)
        stage.subject.pull(stage.have_pushed("app", "1", made))
        stage.inspect(made.id)
    with stage.case("made by others, with author, comment, variant and an empty layer"):
        stage.have_image(
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
        stage.inspect("app:1")
    with stage.case("unknown"):
        stage.inspect("app:1")
        stage.history("app:1")


def history(stage: Stage) -> None:
    """Each step, newest first, with the size of its layer."""
    with stage.case("no parent"):
        stage.have_image(
            "x",
            tags=["app:1", "web:1"],
            steps=[
                {"created_by": "ADD one", "layer": {"etc/one": b"1"}, "comment": "first"},
                {"created_by": "ENV A=1", "empty_layer": True},
                {"created_by": "COPY two", "layer": {"etc/two": b"22"}, "author": "Ann"},
                {"created_by": "CMD x", "empty_layer": True},
            ],
        )
        stage.history("app:1")
    with stage.case("parents here, with and without a name"):
        base = stage.have_image("base", tags=["base:1", "base:2"])
        middle = stage.have_image("middle", parent=base)
        stage.have_image("child", parent=middle, tags=["app:1"])
        stage.history("app:1")
        stage.history(middle.id)
    with stage.case("a parent removed meanwhile"):
        base = stage.have_image("base", tags=["base:1"])
        stage.have_image("child", parent=base, tags=["app:1"])
        stage.rm("base:1")
        stage.history("app:1")
    with stage.case("imported"):
        stage.subject.import_(layer({"etc/a": b"a"}), "app:1", message="said")
        stage.know_made("x", "app:1")
        stage.history("app:1")
    with stage.case("no history at all"):
        stage.have_image("x", tags=["app:1"], top={"history": None})
        stage.history("app:1")


def children(stage: Stage) -> None:
    """Only direct children count."""
    with stage.case("three generations"):
        base = stage.have_image("base", tags=["base:1"])
        first = stage.have_image("first", parent=base, tags=["first:1"])
        stage.have_image("second", parent=base)
        stage.have_image("grandchild", parent=first, tags=["app:1"])
        stage.children("base:1")
        stage.children(first.id)
        stage.children("app:1")
        stage.children("nothing")
