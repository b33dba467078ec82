"""Writable layers, and the images that are made of them."""

from __future__ import annotations

from typing import Any

from tests.oracle.inputs import PROGRAM, Files, directory, idle_program, tar
from tests.oracle.stage import Stage

_NEW: Files = {"etc/new": b"new\n", "srv": directory(), "srv/data": b"data\n"}


def commit(stage: Stage) -> None:
    """A workspace becomes an image."""
    with stage.case("files put"):
        made = stage.have_image("x", tags=["app:1"], labels={"a": "1"}, Env=["A=1"])
        stage.have_workspace("work", "app:1")
        stage.subject.workspace_put("work", "/", tar(_NEW))
        stage.workspace_diff("work")
        stage.workspace_size("work")
        stage.listen()
        stage.workspace_commit("work", "new:1", author="Ann", message="said")
        stage.events()
        stage.inspect("new:1")
        stage.history("new:1")
        stage.layers("new:1")
        stage.children(made.id)
        stage.inspect("app:1", "repo_tags", "parent")
    with stage.case("nothing changed"):
        stage.have_image("x", tags=["app:1"])
        stage.have_workspace("work", "app:1")
        stage.workspace_diff("work")
        stage.workspace_size("work")
        stage.workspace_commit("work", "new:1")
        stage.inspect("new:1")
        stage.history("new:1")
        stage.layers("new:1")
    with stage.case("a file replaced, one removed, while busy"):
        stage.have_image(
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
        stage.have_workspace("work", "app:1", busy=True)
        stage.subject.workspace_put("work", "/etc", tar({"other": b"newer\n"}))
        stage.subject.workspace_delete("work", "/etc/gone")
        stage.workspace_diff("work")
        stage.workspace_commit("work", "new:1", pause=False)
        stage.layers("new:1")
        stage.inspect("new:1", "size")
    with stage.case("no name"):
        stage.have_image("x", tags=["app:1"])
        stage.have_workspace("work", "app:1")
        stage.workspace_commit("work")
        stage.names()
    with stage.case("twice the same"):
        stage.have_image("x", tags=["app:1"])
        stage.have_workspace("work", "app:1")
        stage.subject.workspace_put("work", "/", tar(_NEW))
        stage.workspace_commit("work", "new:1")
        stage.workspace_commit("work", "new:2")
        stage.names()
    with stage.case("a commit of a commit"):
        stage.have_image("x", tags=["app:1"])
        stage.have_workspace("work", "app:1")
        stage.subject.workspace_put("work", "/", tar(_NEW))
        stage.subject.workspace_commit("work", "new:1")
        stage.know_made("new", "new:1")
        stage.have_workspace("next", "new:1")
        stage.subject.workspace_put("next", "/", tar({"etc/next": b"next\n"}))
        stage.workspace_commit("next", "newer:1")
        stage.inspect("newer:1", "parent", "root_fs", "size")
        stage.history("newer:1")


def change(stage: Stage) -> None:
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
        with stage.case(" then ".join(changes) or "nothing"):
            stage.have_image("x", tags=["app:1"], labels={"a": "1"}, **before)
            stage.have_workspace("work", "app:1")
            stage.workspace_commit("work", "new:1", changes=changes)
            stage.inspect("new:1", "config")


def use(stage: Stage) -> None:
    """Names of workspaces, and what is refused."""
    with stage.case("refused"):
        stage.have_image("x", tags=["app:1"])
        stage.workspace_create("work", "nothing:1")
        stage.have_workspace("work", "app:1")
        stage.workspace_create("work", "app:1")
        stage.workspace_commit("nothing", "new:1")
        stage.workspace_commit("work", "New:1")
        stage.workspace_commit("work", f"new@sha256:{64 * '0'}")
        stage.workspace_put("work", "/nowhere", "a tar", tar(_NEW))
        stage.workspace_put("work", "/", "no tar", b"nonsense" * 100)
        stage.workspace_put("nothing", "/", "a tar", tar(_NEW))
        stage.workspace_diff("nothing")
        stage.names()
    with stage.case("files taken out"):
        stage.have_image("x", tags=["app:1"], layers=[{"etc": directory(), "etc/a": b"a"}])
        stage.have_workspace("work", "app:1")
        stage.subject.workspace_put("work", "/", tar(_NEW))
        for path in ("/etc/a", "/srv", "/srv/", "etc/new", "/nowhere", "/etc/../srv/data"):
            stage.workspace_get("work", path)
    with stage.case("paths that lead out"):
        stage.have_image("x", tags=["app:1"])
        stage.have_workspace("work", "app:1")
        for path in ("../outside", "/etc/absolute"):
            stage.workspace_put("work", "/etc", path, tar({path: b"x"}))
        stage.workspace_diff("work")
    with stage.case("whiteouts are files here"):
        stage.have_image("x", tags=["app:1"])
        stage.have_workspace("work", "app:1")
        stage.workspace_put("work", "/", "a whiteout", tar({"etc/.wh.x": b""}))
        stage.workspace_diff("work")
        stage.workspace_commit("work", "new:1")
        stage.layers("new:1")
