"""Squashing: what becomes of layers, history and config."""

from __future__ import annotations

import tarfile

from tests.oracle.harness import Harness
from tests.oracle.inputs import Made, directory, entry

_EMPTY = b""
_REPLACED = {"etc/replaced": b"new\n"}


def _base(harness: Harness) -> Made:
    return harness.have_image(
        "base",
        tags=["base:1"],
        layers=[
            {
                "etc": directory(),
                "etc/kept": b"kept\n",
                "etc/gone": b"gone\n",
                "etc/replaced": b"old\n",
                "srv": directory(),
                "srv/one": b"1",
                "srv/sub": directory(),
                "srv/sub/two": b"2",
                "var": directory(),
                "var/file": b"f",
            }
        ],
    )


def onto_parent(harness: Harness) -> None:
    """The layers above a parent become one."""
    with harness.case("files added, replaced, removed"):
        base = _base(harness)
        harness.have_image(
            "x",
            base=base,
            tags=["app:1"],
            labels={"a": "1"},
            steps=[
                {"created_by": "one", "layer": {"etc/new": b"new\n", "etc/passing": b"p"}},
                {"created_by": "two", "empty_layer": True, "comment": "said", "author": "Ann"},
                {
                    "created_by": "three",
                    "layer": {
                        "etc/.wh.gone": _EMPTY,
                        "etc/.wh.passing": _EMPTY,
                        "etc/replaced": b"newer\n",
                    },
                },
            ],
        )
        harness.squash("app:1", "squashed:1", parent="base:1")
        harness.inspect("squashed:1")
        harness.history("squashed:1")
        harness.layers("squashed:1")
        harness.inspect("app:1", "repo_tags")
    with harness.case("a file replaced by one of the same size and time"):
        base = _base(harness)
        harness.have_image("x", base=base, tags=["app:1"], layers=[{"etc/a": b"a"}, _REPLACED])
        harness.squash("app:1", "squashed:1", parent="base:1")
        harness.layers("squashed:1")
    with harness.case("a directory removed, and one made anew"):
        base = _base(harness)
        harness.have_image(
            "x",
            base=base,
            tags=["app:1"],
            layers=[
                {".wh.var": _EMPTY},
                {"srv": directory(), "srv/.wh..wh..opq": _EMPTY, "srv/new": b"n"},
            ],
        )
        harness.squash("app:1", "squashed:1", parent="base:1")
        harness.layers("squashed:1")
    with harness.case("file and directory change places"):
        base = _base(harness)
        harness.have_image(
            "x",
            base=base,
            tags=["app:1"],
            layers=[
                {"etc/.wh.kept": _EMPTY, "srv/.wh.sub": _EMPTY},
                {"etc/kept": directory(), "etc/kept/in": b"in", "srv/sub": b"file"},
            ],
        )
        harness.squash("app:1", "squashed:1", parent="base:1")
        harness.layers("squashed:1")
    with harness.case("links, modes, attributes"):
        base = _base(harness)
        harness.have_image(
            "x",
            base=base,
            tags=["app:1"],
            layers=[
                {"etc/new": b"new\n", "etc/hard": entry(kind=tarfile.LNKTYPE, link="etc/new")},
                {
                    "etc/soft": entry(kind=tarfile.SYMTYPE, link="new", mode=0o777),
                    "etc/set": entry(mode=0o4755),
                    "etc/fifo": entry(kind=tarfile.FIFOTYPE),
                    "srv": directory(mode=0o700),
                },
            ],
        )
        harness.squash("app:1", "squashed:1", parent="base:1")
        harness.layers("squashed:1")
    with harness.case("one layer: its parent is the direct parent"):
        base = _base(harness)
        harness.have_image(
            "x",
            base=base,
            tags=["app:1"],
            layers=[{"etc/.wh.gone": _EMPTY, "etc/new": b"n", "srv/.wh..wh..opq": _EMPTY}],
        )
        harness.squash("app:1", "squashed:1", parent="base:1")
        harness.history("squashed:1")
        harness.layers("squashed:1")
    with harness.case("no layer above the parent"):
        base = _base(harness)
        harness.have_image(
            "x",
            base=base,
            tags=["app:1"],
            steps=[{"created_by": "one", "empty_layer": True}],
        )
        harness.squash("app:1", "squashed:1", parent="base:1")


def whole(harness: Harness) -> None:
    """All layers become one, without a parent."""
    with harness.case("files added, replaced, removed"):
        harness.have_image(
            "x",
            tags=["app:1"],
            steps=[
                {"created_by": "one", "layer": {"etc": directory(), "etc/a": b"a", "etc/b": b"b"}},
                {"created_by": "two", "empty_layer": True},
                {"created_by": "three", "layer": {"etc/.wh.a": _EMPTY, "etc/c": b"c"}},
            ],
        )
        harness.squash("app:1", "squashed:1")
        harness.inspect("squashed:1")
        harness.history("squashed:1")
        harness.layers("squashed:1")
    with harness.case("one layer"):
        harness.have_image("x", tags=["app:1"], layers=[{"etc/a": b"a"}])
        harness.squash("app:1", "squashed:1")
        harness.history("squashed:1")
        harness.layers("squashed:1")


def names(harness: Harness) -> None:
    """What is squashed, onto what, and what it is called then."""
    with harness.case("forms"):
        base = _base(harness)
        made = harness.have_image("x", parent=base, tags=["app:1"], labels={"a": "1"})
        harness.have_image("old", tags=["taken:1"])
        harness.listen()
        for ref, target, parent in (
            (made.id, "by-id:1", None),
            (made.id[7:19], "by-short-id:1", base.id[7:19]),
            ("app:1", "no-tag", None),
            ("app:1", "team/app:2", None),
            ("app:1", "taken:1", None),
            ("nothing", "x:1", None),
            ("app:1", "x:1", "nothing"),
            ("app", "x:1", None),
        ):
            harness.squash(ref, target, parent=parent)
        harness.names()


def repeated(harness: Harness) -> None:
    """Squashed images are squashed again."""
    with harness.case("a squash of a squash"):
        _base(harness)
        base = harness.have_image("lower", tags=["lower:1"], layers=[{"etc/a": b"a"}])
        harness.have_image(
            "x", base=base, tags=["app:1"], layers=[{"etc/b": b"b"}, {"etc/.wh.a": b""}]
        )
        harness.squash("app:1", "squashed:1", parent="lower:1")
        harness.squash("squashed:1", "again:1")
        harness.layers("again:1")
        harness.history("again:1")
        harness.squash("again:1", "once-more:1")
        harness.layers("once-more:1")
    with harness.case("nothing is left"):
        harness.have_image(
            "x", tags=["app:1"], layers=[{"a": b"a"}, {".wh.a": b""}], labels={"a": "1"}
        )
        harness.squash("app:1", "squashed:1")
        harness.layers("squashed:1")
        harness.inspect("squashed:1", "config", "size")


def configs(harness: Harness) -> None:
    """What of a config a squash keeps."""
    with harness.case("every field"):
        harness.have_image(
            "x",
            tags=["app:1"],
            layers=[{"etc/a": b"a"}, {"etc/b": b"b"}],
            labels={"a": "1"},
            User="1",
            Env=["A=1"],
            Entrypoint=["/bin/idle"],
            WorkingDir="/srv",
            ExposedPorts={"80/tcp": {}},
            Volumes={"/data": {}},
            StopSignal="SIGINT",
            Shell=["/bin/idle", "-c"],
            OnBuild=["RUN x"],
            top={"author": "Ann", "comment": "said", "variant": "v8", "architecture": "arm64"},
        )
        harness.squash("app:1", "squashed:1")
        harness.inspect("squashed:1")
    with harness.case("steps without layers"):
        harness.have_image(
            "x",
            tags=["app:1"],
            steps=[
                {"created_by": "one", "layer": {"etc/a": b"a"}},
                {"created_by": "two", "empty_layer": True},
                {"created_by": "three", "empty_layer": True, "comment": "said"},
            ],
        )
        harness.squash("app:1", "squashed:1")
        harness.history("squashed:1")
