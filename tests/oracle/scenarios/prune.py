"""Pruning: which images go under which filters, and what is said of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tests.oracle.stage import Stage, filter_words

_EVERYTHING: Mapping[str, Sequence[str]] = {"dangling": ["false"]}


def _title(filters: Mapping[str, Sequence[str]] | None) -> str:
    return " ".join(filter_words(filters)) or "no filter"


def dangling(stage: Stage) -> None:
    """By default only images without a name and without a child go; otherwise all unused ones."""
    wanted: list[Mapping[str, Sequence[str]] | None] = [
        None,
        {"dangling": ["true"]},
        {"dangling": ["1"]},
        {"dangling": ["false"]},
        {"dangling": ["0"]},
        {"dangling": ["maybe"]},
        {"dangling": ["true", "false"]},
        {"nonsense": ["1"]},
        {"reference": ["app"]},
    ]
    for filters in wanted:
        with stage.case(_title(filters)):
            parent = stage.have_image("parent")
            stage.have_image("child", parent=parent, tags=["child:1"])
            stage.have_image("dangling")
            stage.have_image("unused", tags=["app:1"])
            stage.prune(filters)
            stage.names()


def in_use(stage: Stage) -> None:
    """What a workspace uses stays; of its names all but the last go."""
    for busy in (False, True):
        for filters in (None, _EVERYTHING):
            title = f"{'busy' if busy else 'idle'}, {_title(filters)}"
            with stage.case(title):
                used = stage.have_image("used", tags=["app:1", "app:2", "web:1"])
                dangling = stage.have_image("dangling")
                stage.have_workspace("one", used.id, busy=busy)
                stage.have_workspace("two", dangling.id, busy=busy)
                stage.prune(filters)
                stage.names()


def names(stage: Stage) -> None:
    """An unused image with several names, in one and in several repositories."""
    with stage.case("several names"):
        stage.have_image("many", tags=["app:1", "app:2", "web:1"])
        stage.prune(_EVERYTHING)
        stage.names()
    with stage.case("a parent with a name goes with its child"):
        parent = stage.have_image("parent", tags=["base:1"])
        stage.have_image("child", parent=parent, tags=["child:1"])
        stage.prune(_EVERYTHING)
        stage.names()
    for filters in (None, _EVERYTHING):
        with stage.case(f"a tag and a digest, {_title(filters)}"):
            made = stage.have_image("x", load=False)
            stage.subject.pull(stage.have_pushed("app", "1", made))
            stage.prune(filters)
            stage.names()
        with stage.case(f"only a digest, {_title(filters)}"):
            made = stage.have_image("x", load=False)
            stage.have_pushed("app", "1", made)
            stage.subject.pull(f"{stage.repository('app')}@{made.to_push().digest}")
            stage.prune(filters)
            stage.names()


def until(stage: Stage) -> None:
    """Only what was created by a moment goes."""
    wanted: list[Sequence[str]] = [
        ["2024-02-01T00:00:00Z"],
        ["2024-02-01T00:00:01Z"],
        ["2024-01-31T23:59:59Z"],
        ["2024-02-01"],
        ["1706745600"],
        ["24h"],
        ["yesterday"],
        ["2024-02-01T00:00:00Z", "2024-03-01T00:00:00Z"],
    ]
    for moments in wanted:
        with stage.case(f"until {' and '.join(moments)}"):
            for month in (1, 2, 3):
                stage.have_image(f"m{month}", created=f"2024-0{month}-01T00:00:00Z")
            stage.prune({"until": moments})
            stage.names()


def label(stage: Stage) -> None:
    """Labels choose what goes, or what stays."""
    wanted: list[Mapping[str, Sequence[str]]] = [
        {"label": ["a"]},
        {"label": ["a=1"]},
        {"label": ["a", "b"]},
        {"label": ["a=1", "a=2"]},
        {"label": ["nothing"]},
        {"label!": ["a"]},
        {"label!": ["a=1"]},
        {"label!": ["a", "b"]},
        {"label": ["a"], "label!": ["b"]},
        {"label": ["a"], "until": ["2024-02-01T00:00:00Z"]},
    ]
    for filters in wanted:
        with stage.case(_title(filters)):
            stage.have_image("none")
            stage.have_image("a1", labels={"a": "1"}, created="2024-01-01T00:00:00Z")
            stage.have_image("a2", labels={"a": "2"})
            stage.have_image("a1b", labels={"a": "1", "b": ""})
            stage.have_image("named", labels={"a": "1"}, tags=["app:1"])
            stage.prune(filters)
            stage.names()
    with stage.case("of images with a name too"):
        stage.have_image("one", labels={"a": "1"}, tags=["one:1"])
        stage.have_image("other", tags=["other:1"])
        stage.prune({"label": ["a"], **_EVERYTHING})
        stage.names()
