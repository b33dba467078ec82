"""What is said of one image: its fields, its history, its children."""

from __future__ import annotations

from tests.oracle.harness import Harness
from tests.oracle.inputs import docker_archive, idle_program, layer, tar


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


def sparse(harness: Harness) -> None:
    """Images whose documents lack much, or have what only others write."""
    for title, top in {
        "no time": {"created": None},
        "no config": {"config": None},
        "a config that is null in places": {"config": {"Env": None, "Labels": None, "Cmd": None}},
        "no system": {"os": None, "architecture": None},
        "a container": {
            "container": 64 * "c",
            "container_config": {"Cmd": ["/bin/sh", "-c", "#(nop) CMD"], "Env": ["A=1"]},
            "docker_version": "17.03",
        },
        "what nobody knows": {"x.unknown": {"a": 1}, "moby.buildkit.cache.v0": "x"},
    }.items():
        with harness.case(title):
            made = harness.have_image("x", load=False, tags=["app:1"], top=top)
            harness.load(title, docker_archive(made))
            harness.inspect("app:1", "id", "created", "config", "os", "architecture", "author")
            harness.history("app:1")
            harness.listed({})


def order(harness: Harness) -> None:
    """In which order names, variables and labels are told."""
    with harness.case("many names"):
        tags = ["web:2", "app:2", "app:10", "app:1", "localhost:5000/app:1", "team/app:1"]
        harness.have_image("x", tags=tags, Env=["Z=1", "A=2", "Z=3"], labels={"z": "1", "a": "2"})
        harness.inspect("app:1", "repo_tags", "config")
        harness.images()
    with harness.case("digests of two repositories"):
        made = harness.have_image("x", load=False)
        for name in ("b", "a"):
            harness.subject.pull(harness.have_pushed(name, "1", made))
        harness.inspect(made.id, "repo_tags", "repo_digests")
        harness.rm(f"{harness.repository('a')}:1")
        harness.inspect(made.id, "repo_tags", "repo_digests")


def steps(harness: Harness) -> None:
    """Histories with odd steps."""
    for title, made in {
        "all empty above a layer": [
            {"created_by": "ADD a", "layer": {"etc/a": b"a"}},
            *({"created_by": f"ENV {n}", "empty_layer": True} for n in range(3)),
        ],
        "no words": [{"layer": {"etc/a": b"a"}}, {"empty_layer": True}],
        "times of their own": [
            {"created": "2020-01-01T00:00:00Z", "layer": {"etc/a": b"a"}},
            {"created": "2024-02-29T12:34:56.789+02:00", "layer": {"etc/b": b"b"}},
        ],
        "two lines and a tab": [{"created_by": "RUN a \\\n\tb", "layer": {"etc/a": b"a"}}],
        "letters of the world": [
            {"created_by": "RUN gr\u00fc\u00df", "comment": "\u4e16", "layer": {"a": b""}}
        ],
    }.items():
        with harness.case(title):
            harness.have_image("x", tags=["app:1"], steps=made)
            harness.history("app:1")


def descent(harness: Harness) -> None:
    """Children as they come and go."""
    with harness.case("a child is removed"):
        base = harness.have_image("base", tags=["base:1"])
        harness.have_image("child", parent=base, tags=["app:1"])
        harness.children("base:1")
        harness.rm("app:1")
        harness.children("base:1")
    with harness.case("a commit is a child, an import is none"):
        harness.have_image("base", tags=["base:1"])
        harness.have_workspace("work", "base:1")
        harness.subject.workspace_put("work", "/", tar({"etc/new": b"n"}))
        harness.workspace_commit("work", "new:1")
        harness.import_("root", layer({"etc/a": b"a"}), "root:1")
        harness.children("base:1")
        harness.inspect("root:1", "parent")
        harness.inspect("new:1", "parent")
    with harness.case("a squash is a child of what it is squashed onto"):
        base = harness.have_image("base", tags=["base:1"])
        harness.have_image("x", parent=base, tags=["app:1"])
        harness.squash("app:1", "squashed:1", parent="base:1")
        harness.children("base:1")
        harness.children("app:1")
        harness.inspect("squashed:1", "parent")
