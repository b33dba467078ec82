"""Writable layers, and the images that are made of them."""

from __future__ import annotations

import json
import tarfile
from typing import Any

from tests.oracle.harness import Harness
from tests.oracle.inputs import PROGRAM, Files, directory, entry, idle_program, tar
from tests.oracle.instructions import INSTRUCTIONS

_EVERY_FIELD: dict[str, Any] = {
    "Cmd": ["/bin/idle", "a"],
    "Entrypoint": ["/bin/idle"],
    "Env": ["A=1", "B=2"],
    "ExposedPorts": {"80/tcp": {}},
    "Volumes": {"/data": {}},
    "WorkingDir": "/srv",
    "User": "1",
    "StopSignal": "SIGINT",
    "OnBuild": ["RUN one"],
    "Shell": ["/bin/other", "-c"],
    "Healthcheck": {
        "Test": ["CMD", "/bin/idle"],
        "Interval": 7_000_000_000,
        "Timeout": 6_000_000_000,
        "StartPeriod": 5_000_000_000,
        "Retries": 4,
    },
}
_COMMITS: tuple[tuple[dict[str, Any] | None, tuple[str, ...]], ...] = (
    (None, ()),
    (None, ("CMD a",)),
    (None, ("ENTRYPOINT a",)),
    (None, ("ENV A=3",)),
    (None, ("LABEL a=2",)),
    (None, ("EXPOSE 90",)),
    (None, ("VOLUME /more",)),
    (None, ("WORKDIR sub",)),
    (None, ("USER 2",)),
    (None, ("ONBUILD RUN two",)),
    (None, ("HEALTHCHECK NONE",)),
    (None, ("HEALTHCHECK CMD x",)),
    (None, ("HEALTHCHECK --interval=9s --retries=2 CMD x",)),
    (None, ("HEALTHCHECK --start-period=0s --timeout=0s CMD x",)),
    ({"Cmd": ["c"]}, ()),
    ({"Cmd": []}, ()),
    ({"Entrypoint": ["e"]}, ()),
    ({"Entrypoint": []}, ()),
    ({"Entrypoint": ["e"], "Cmd": ["c"]}, ()),
    ({"Entrypoint": [], "Cmd": ["c"]}, ()),
    ({"Env": ["B=9", "C=3"]}, ()),
    ({"Env": []}, ()),
    ({"Labels": {"b": "2"}}, ()),
    ({"Labels": {}}, ()),
    ({"ExposedPorts": {"90/udp": {}}}, ()),
    ({"Volumes": {"/more": {}}}, ()),
    ({"User": "5"}, ()),
    ({"WorkingDir": "/w"}, ()),
    ({"StopSignal": "SIGHUP"}, ()),
    ({"OnBuild": ["RUN two"]}, ()),
    ({"Shell": ["/bin/sh"]}, ()),
    ({"Healthcheck": {"Interval": 9_000_000_000}}, ()),
    ({"Healthcheck": {"Test": ["CMD", "x"]}}, ()),
    ({"Healthcheck": {"Test": ["NONE"]}}, ()),
    ({"Healthcheck": {"Retries": 0, "Test": []}}, ()),
    ({"Cmd": ["c"]}, ("ENV Z=1", "ONBUILD RUN two")),
    ({"Entrypoint": ["e"]}, ("CMD c",)),
    ({"OnBuild": ["RUN two"]}, ("ONBUILD RUN three",)),
    ({"Healthcheck": {"Retries": 9}}, ("HEALTHCHECK --interval=9s CMD x",)),
)
_NEW: Files = {"etc/new": b"new\n", "srv": directory(), "srv/data": b"data\n"}


def commit(harness: Harness) -> None:
    """A workspace becomes an image."""
    with harness.case("files put"):
        made = harness.have_image("x", tags=["app:1"], labels={"a": "1"}, Env=["A=1"])
        harness.have_workspace("work", "app:1")
        harness.subject.workspace_put("work", "/", tar(_NEW))
        harness.workspace_diff("work")
        harness.workspace_size("work")
        harness.listen()
        harness.workspace_commit("work", "new:1", author="Ann", message="said")
        harness.events()
        harness.inspect("new:1")
        harness.history("new:1")
        harness.layers("new:1")
        harness.children(made.id)
        harness.inspect("app:1", "repo_tags", "parent")
    with harness.case("nothing changed"):
        harness.have_image("x", tags=["app:1"])
        harness.have_workspace("work", "app:1")
        harness.workspace_diff("work")
        harness.workspace_size("work")
        harness.workspace_commit("work", "new:1")
        harness.inspect("new:1")
        harness.history("new:1")
        harness.layers("new:1")
    with harness.case("a file replaced, one removed, while busy"):
        harness.have_image(
            "x",
            tags=["app:1"],
            layers=[
                {
                    PROGRAM: idle_program(),
                    "etc": directory(),
                    "etc/kept": b"kept\n",
                    "etc/gone": b"gone\n",
                    "etc/other": b"old\n",
                }
            ],
        )
        harness.have_workspace("work", "app:1", busy=True)
        harness.subject.workspace_put("work", "/etc", tar({"other": b"newer\n"}))
        harness.subject.workspace_delete("work", "/etc/gone")
        harness.workspace_diff("work")
        harness.workspace_commit("work", "new:1", pause=False)
        harness.layers("new:1")
        harness.inspect("new:1", "size")
    with harness.case("no name"):
        harness.have_image("x", tags=["app:1"])
        harness.have_workspace("work", "app:1")
        harness.workspace_commit("work")
        harness.names()
    with harness.case("twice the same"):
        harness.have_image("x", tags=["app:1"])
        harness.have_workspace("work", "app:1")
        harness.subject.workspace_put("work", "/", tar(_NEW))
        harness.workspace_commit("work", "new:1")
        harness.workspace_commit("work", "new:2")
        harness.names()
    with harness.case("a commit of a commit"):
        harness.have_image("x", tags=["app:1"])
        harness.have_workspace("work", "app:1")
        harness.subject.workspace_put("work", "/", tar(_NEW))
        harness.subject.workspace_commit("work", "new:1")
        harness.know_made("new", "new:1")
        harness.have_workspace("next", "new:1")
        harness.subject.workspace_put("next", "/", tar({"etc/next": b"next\n"}))
        harness.workspace_commit("next", "newer:1")
        harness.inspect("newer:1", "parent", "root_fs", "size")
        harness.history("newer:1")


def change(harness: Harness) -> None:
    """What a commit takes over from the image, and how instructions change it."""
    before: dict[str, Any] = {
        "Cmd": ["/bin/idle"],
        "Env": ["A=1", "B=2"],
        "ExposedPorts": {"80/tcp": {}},
        "Volumes": {"/data": {}},
        "WorkingDir": "/srv",
        "User": "1",
        "Entrypoint": ["/bin/idle"],
    }
    for changes in (
        [],
        ["CMD a"],
        ["ENTRYPOINT a"],
        ["ENTRYPOINT a", "CMD b"],
        ["CMD b", "ENTRYPOINT a"],
        ["ENV A=3 C=4"],
        ["LABEL a=2 b=3"],
        ["EXPOSE 90"],
        ["VOLUME /more"],
        ["WORKDIR sub"],
        ["USER 2"],
        ["HEALTHCHECK NONE"],
        ["RUN x"],
    ):
        with harness.case(" then ".join(changes) or "nothing"):
            harness.have_image("x", tags=["app:1"], labels={"a": "1"}, **before)
            harness.have_workspace("work", "app:1")
            harness.workspace_commit("work", "new:1", changes=changes)
            harness.inspect("new:1", "config")


def inherit(harness: Harness) -> None:
    """What a commit takes over from an image that has every field, with a config and without."""
    for given, changes in _COMMITS:
        said = "nothing" if given is None else json.dumps(given)
        with harness.case(" then ".join((said, *changes))):
            harness.have_image("x", tags=["app:1"], labels={"a": "1"}, **_EVERY_FIELD)
            harness.have_workspace("work", "app:1")
            harness.workspace_commit("work", "new:1", changes=list(changes), config=given)
            harness.inspect("new:1", "config")


def instructions(harness: Harness) -> None:
    """What each instruction makes of a config, and which are refused."""
    with harness.case("one at a time"):
        harness.have_image("x", tags=["app:1"], labels={"a": "1"}, **_EVERY_FIELD)
        harness.have_workspace("work", "app:1")
        for change in INSTRUCTIONS:
            harness.changed_config("work", change)


def use(harness: Harness) -> None:
    """Names of workspaces, and what is refused."""
    with harness.case("refused"):
        harness.have_image("x", tags=["app:1"])
        harness.workspace_create("work", "nothing:1")
        harness.have_workspace("work", "app:1")
        harness.workspace_create("work", "app:1")
        harness.workspace_commit("nothing", "new:1")
        harness.workspace_commit("work", "New:1")
        harness.workspace_commit("work", f"new@sha256:{64 * '0'}")
        harness.workspace_put("work", "/nowhere", "a tar", tar(_NEW))
        harness.workspace_put("work", "/", "no tar", b"nonsense" * 100)
        harness.workspace_put("nothing", "/", "a tar", tar(_NEW))
        harness.workspace_diff("nothing")
        harness.names()
    with harness.case("files taken out"):
        harness.have_image("x", tags=["app:1"], layers=[{"etc": directory(), "etc/a": b"a"}])
        harness.have_workspace("work", "app:1")
        harness.subject.workspace_put("work", "/", tar(_NEW))
        for path in ("/etc/a", "/srv", "/srv/", "etc/new", "/nowhere", "/etc/../srv/data"):
            harness.workspace_get("work", path)
    with harness.case("paths that lead out"):
        harness.have_image("x", tags=["app:1"])
        harness.have_workspace("work", "app:1")
        for path in ("../outside", "/etc/absolute"):
            harness.workspace_put("work", "/etc", path, tar({path: b"x"}))
        harness.workspace_diff("work")
    with harness.case("whiteouts are files here"):
        harness.have_image("x", tags=["app:1"])
        harness.have_workspace("work", "app:1")
        harness.workspace_put("work", "/", "a whiteout", tar({"etc/.wh.x": b""}))
        harness.workspace_diff("work")
        harness.workspace_commit("work", "new:1")
        harness.layers("new:1")


def files(harness: Harness) -> None:
    """Files are put, replaced and taken out, through links and with slashes."""
    with harness.case("paths with slashes and links"):
        harness.have_image(
            "x",
            tags=["app:1"],
            layers=[
                {
                    PROGRAM: idle_program(),
                    "d": directory(),
                    "d/real": directory(),
                    "d/real/f": b"x",
                    "d/file": b"1",
                    "d/l": entry(kind=tarfile.SYMTYPE, link="real", mode=0o777),
                    "d/fl": entry(kind=tarfile.SYMTYPE, link="file", mode=0o777),
                    "d/broken": entry(kind=tarfile.SYMTYPE, link="nowhere", mode=0o777),
                }
            ],
        )
        harness.have_workspace("work", "app:1")
        for path in (
            "/d/real", "/d/real/", "/d/real/.", "/d/l", "/d/l/", "/d/l/f", "/d/file", "/d/fl",
            "/d/broken", "/d/real/f", "/d/./real", "//d//real", "/d/l/../file",
        ):  # fmt: skip
            harness.workspace_get("work", path)
    with harness.case("put through a link"):
        harness.have_image(
            "x",
            tags=["app:1"],
            layers=[
                {
                    PROGRAM: idle_program(),
                    "real": directory(),
                    "real/a": b"a",
                    "link": entry(kind=tarfile.SYMTYPE, link="real", mode=0o777),
                }
            ],
        )
        harness.have_workspace("work", "app:1")
        harness.workspace_put("work", "/link", "a tar", tar({"b": b"b"}))
        harness.workspace_put("work", "/link/a", "a tar", tar({"b": b"b"}))
        harness.workspace_diff("work")
        harness.workspace_get("work", "/real")


def replaced(harness: Harness) -> None:
    """Files that become directories, and the other way round, and what is put twice."""
    for title, below, above in (
        ("a file by a file", {"a": b"1"}, {"a": b"2"}),
        ("a file by a link", {"a": b"1"}, {"a": entry(kind=tarfile.SYMTYPE, link="b", mode=0o777)}),
        ("a link by a file", {"a": entry(kind=tarfile.SYMTYPE, link="b", mode=0o777)}, {"a": b"1"}),
        ("a directory by its like", {"a": directory(), "a/b": b"1"}, {"a": directory(0o700)}),
        ("more below a directory", {"a": directory(), "a/b": b"1"}, {"a/c": b"2"}),
        ("a mode alone", {"a": b"1"}, {"a": entry(mode=0o600)}),
    ):
        with harness.case(title):
            layers = [{PROGRAM: idle_program(), **below}]
            harness.have_image("x", tags=["app:1"], layers=layers)
            harness.have_workspace("work", "app:1")
            harness.workspace_put("work", "/", "above", tar(above))
            harness.workspace_diff("work")
            harness.workspace_commit("work", "new:1")
            harness.layers("new:1")
    with harness.case("a file put twice"):
        harness.have_image("x", tags=["app:1"])
        harness.have_workspace("work", "app:1")
        for content in (b"1", b"22"):
            harness.workspace_put("work", "/", "a file", tar({"etc/a": content}))
        harness.workspace_diff("work")
        harness.workspace_commit("work", "new:1")
        harness.layers("new:1")


def words(harness: Harness) -> None:
    """Authors, messages and names of what is committed."""
    for author, message in (
        ("Ann <ann@example.test>", ""),
        ("", "two\nlines"),
        ("gr\u00fc\u00df", "\u4e16\u754c"),
        (" ", " "),
        (200 * "a", 500 * "m"),
    ):
        with harness.case(f"{author[:12]!r} says {message[:12]!r}"):
            harness.have_image("x", tags=["app:1"])
            harness.have_workspace("work", "app:1")
            harness.workspace_commit("work", "new:1", author=author, message=message)
            harness.inspect("new:1", "author", "comment")
            harness.history("new:1")
    with harness.case("names"):
        harness.have_image("x", tags=["app:1", "taken:1"])
        harness.have_workspace("work", "app:1")
        for name in ("new", "team/new:1", "localhost:5000/new:1", "taken:1", "New:1", "new:-", ""):
            harness.workspace_commit("work", name)
        harness.names()


def stacked(harness: Harness) -> None:
    """Workspaces over images that are made of workspaces."""
    with harness.case("three, one on the other"):
        harness.have_image("x", tags=["new:0"])
        for number in (1, 2, 3):
            harness.have_workspace(f"work-{number}", f"new:{number - 1}")
            files = {f"etc/{number}": b"n", "etc/same": str(number).encode()}
            harness.subject.workspace_put(f"work-{number}", "/", tar(files))
            harness.subject.workspace_commit(f"work-{number}", f"new:{number}")
            harness.know_made(f"new-{number}", f"new:{number}")
        harness.history("new:3")
        harness.layers("new:3")
        harness.rm("new:1")
        harness.rm("new:3")
        harness.names()
        for number in (3, 2, 1):
            harness.subject.workspace_rm(f"work-{number}")
        harness.prune({"dangling": ["false"]})
        harness.names()
    with harness.case("its image loses its name"):
        made = harness.have_image("x", tags=["app:1"])
        harness.have_workspace("work", "app:1")
        harness.rm("app:1")
        harness.rm("app:1", force=True)
        harness.names()
        harness.subject.workspace_put("work", "/", tar({"etc/new": b"n"}))
        harness.workspace_commit("work", "new:1")
        harness.inspect("new:1", "parent")
        harness.rm(made.id, force=True)
        harness.names()
