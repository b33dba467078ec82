"""Squashing: what becomes of layers, history and config."""

from __future__ import annotations

import tarfile

from tests.oracle.inputs import Made, directory, entry
from tests.oracle.stage import Stage

_EMPTY = b""
_REPLACED = {"etc/replaced": b"new\n"}


def _base(stage: Stage) -> Made:
    return stage.have_image(
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


def onto_parent(stage: Stage) -> None:
    """The layers above a parent become one."""
    with stage.case("files added, replaced, removed"):
        base = _base(stage)
        stage.have_image(
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
        stage.squash("app:1", "squashed:1", parent="base:1")
        stage.inspect("squashed:1")
        stage.history("squashed:1")
        stage.layers("squashed:1")
        stage.inspect("app:1", "repo_tags")
    with stage.case("a file replaced by one of the same size and time"):
        base = _base(stage)
        stage.have_image("x", base=base, tags=["app:1"], layers=[{"etc/a": b"a"}, _REPLACED])
        stage.squash("app:1", "squashed:1", parent="base:1")
        stage.layers("squashed:1")
    with stage.case("a directory removed, and one made anew"):
        base = _base(stage)
        stage.have_image(
            "x",
            base=base,
            tags=["app:1"],
            layers=[
                {".wh.var": _EMPTY},
                {"srv": directory(), "srv/.wh..wh..opq": _EMPTY, "srv/new": b"n"},
            ],
        )
        stage.squash("app:1", "squashed:1", parent="base:1")
        stage.layers("squashed:1")
    with stage.case("file and directory change places"):
        base = _base(stage)
        stage.have_image(
            "x",
            base=base,
            tags=["app:1"],
            layers=[
                {"etc/.wh.kept": _EMPTY, "srv/.wh.sub": _EMPTY},
                {"etc/kept": directory(), "etc/kept/in": b"in", "srv/sub": b"file"},
            ],
        )
        stage.squash("app:1", "squashed:1", parent="base:1")
        stage.layers("squashed:1")
    with stage.case("links, modes, attributes"):
        base = _base(stage)
        stage.have_image(
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
        stage.squash("app:1", "squashed:1", parent="base:1")
        stage.layers("squashed:1")
    with stage.case("one layer: its parent is the direct parent"):
        base = _base(stage)
        stage.have_image(
            "x",
            base=base,
            tags=["app:1"],
            layers=[{"etc/.wh.gone": _EMPTY, "etc/new": b"n", "srv/.wh..wh..opq": _EMPTY}],
        )
        stage.squash("app:1", "squashed:1", parent="base:1")
        stage.history("squashed:1")
        stage.layers("squashed:1")
    with stage.case("no layer above the parent"):
        base = _base(stage)
        stage.have_image(
            "x",
            base=base,
            tags=["app:1"],
            steps=[{"created_by": "one", "empty_layer": True}],
        )
        stage.squash("app:1", "squashed:1", parent="base:1")


def whole(stage: Stage) -> None:
    """All layers become one, without a parent."""
    with stage.case("files added, replaced, removed"):
        stage.have_image(
            "x",
            tags=["app:1"],
            steps=[
                {"created_by": "one", "layer": {"etc": directory(), "etc/a": b"a", "etc/b": b"b"}},
                {"created_by": "two", "empty_layer": True},
                {"created_by": "three", "layer": {"etc/.wh.a": _EMPTY, "etc/c": b"c"}},
            ],
        )
        stage.squash("app:1", "squashed:1")
        stage.inspect("squashed:1")
        stage.history("squashed:1")
        stage.layers("squashed:1")
    with stage.case("one layer"):
        stage.have_image("x", tags=["app:1"], layers=[{"etc/a": b"a"}])
        stage.squash("app:1", "squashed:1")
        stage.history("squashed:1")
        stage.layers("squashed:1")
