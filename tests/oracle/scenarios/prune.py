"""Pruning: which images go under which filters, and what is said of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tests.oracle.harness import Harness, filter_words

_EVERYTHING: Mapping[str, Sequence[str]] = {"dangling": ["false"]}


def _title(filters: Mapping[str, Sequence[str]] | None) -> str:
    return " ".join(filter_words(filters)) or "no filter"


def dangling(harness: Harness) -> None:
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
        with harness.case(_title(filters)):
            parent = harness.have_image("parent")
            harness.have_image("child", parent=parent, tags=["child:1"])
            harness.have_image("dangling")
            harness.have_image("unused", tags=["app:1"])
            harness.prune(filters)
            harness.names()


def in_use(harness: Harness) -> None:
    """What a workspace uses stays; of its names all but the last go."""
    for busy in (False, True):
        for filters in (None, _EVERYTHING):
            title = f"{'busy' if busy else 'idle'}, {_title(filters)}"
            with harness.case(title):
                used = harness.have_image("used", tags=["app:1", "app:2", "web:1"])
                dangling = harness.have_image("dangling")
                harness.have_workspace("one", used.id, busy=busy)
                harness.have_workspace("two", dangling.id, busy=busy)
                harness.prune(filters)
                harness.names()


def names(harness: Harness) -> None:
    """An unused image with several names, in one and in several repositories."""
    with harness.case("several names"):
        harness.have_image("many", tags=["app:1", "app:2", "web:1"])
        harness.prune(_EVERYTHING)
        harness.names()
    with harness.case("a parent with a name goes with its child"):
        parent = harness.have_image("parent", tags=["base:1"])
        harness.have_image("child", parent=parent, tags=["child:1"])
        harness.prune(_EVERYTHING)
        harness.names()
    for filters in (None, _EVERYTHING):
        with harness.case(f"a tag and a digest, {_title(filters)}"):
            made = harness.have_image("x", load=False)
            harness.subject.pull(harness.have_pushed("app", "1", made))
            harness.prune(filters)
            harness.names()
        with harness.case(f"only a digest, {_title(filters)}"):
            made = harness.have_image("x", load=False)
            harness.have_pushed("app", "1", made)
            harness.subject.pull(f"{harness.repository('app')}@{made.to_push().digest}")
            harness.prune(filters)
            harness.names()


def until(harness: Harness) -> None:
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
        with harness.case(f"until {' and '.join(moments)}"):
            for month in (1, 2, 3):
                harness.have_image(f"m{month}", created=f"2024-0{month}-01T00:00:00Z")
            harness.prune({"until": moments})
            harness.names()


def label(harness: Harness) -> None:
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
        with harness.case(_title(filters)):
            harness.have_image("none")
            harness.have_image("a1", labels={"a": "1"}, created="2024-01-01T00:00:00Z")
            harness.have_image("a2", labels={"a": "2"})
            harness.have_image("a1b", labels={"a": "1", "b": ""})
            harness.have_image("named", labels={"a": "1"}, tags=["app:1"])
            harness.prune(filters)
            harness.names()
    with harness.case("of images with a name too"):
        harness.have_image("one", labels={"a": "1"}, tags=["one:1"])
        harness.have_image("other", tags=["other:1"])
        harness.prune({"label": ["a"], **_EVERYTHING})
        harness.names()


def generations(harness: Harness) -> None:
    """Lines of parents without names, of which the last has one or has none."""
    for named in (False, True):
        for filters in (None, _EVERYTHING):
            with harness.case(f"the last is {'named' if named else 'nameless'}, {_title(filters)}"):
                first = harness.have_image("first")
                second = harness.have_image("second", parent=first)
                tags = ["app:1"] if named else ()
                harness.have_image("third", parent=second, tags=tags)
                harness.prune(filters)
                harness.names()
    with harness.case("a workspace in the middle"):
        first = harness.have_image("first")
        second = harness.have_image("second", parent=first)
        harness.have_image("third", parent=second)
        harness.have_workspace("one", second.id)
        harness.prune()
        harness.names()
    with harness.case("of two children one is named"):
        base = harness.have_image("base")
        harness.have_image("one", parent=base, tags=["one:1"])
        harness.have_image("two", parent=base)
        harness.prune()
        harness.names()
        harness.prune(_EVERYTHING)
        harness.names()


def shared(harness: Harness) -> None:
    """What is reclaimed where layers are shared with what stays."""
    files = [{"etc/a": 1000 * b"a"}, {"etc/b": 2000 * b"b"}]
    with harness.case("all layers stay"):
        harness.have_image("named", layers=files, tags=["app:1"])
        harness.have_image("nameless", layers=files, labels={"a": "1"})
        harness.prune()
        harness.usage()
    with harness.case("the upper layer goes"):
        harness.have_image("named", layers=files[:1], tags=["app:1"])
        harness.have_image("nameless", layers=files)
        harness.prune()
        harness.usage()
    with harness.case("all go, and each layer counts once"):
        harness.have_image("one", layers=files)
        harness.have_image("two", layers=files, labels={"a": "1"})
        harness.prune()
        harness.usage()


def moments(harness: Harness) -> None:
    """Every way to write a moment; the images are of the first days of three months."""
    for moment in (
        "2024-02-01T00:00",
        "2024-02-01T00",
        "2024-02-01T01:00:00+01:00",
        "2024-02-01T01:00:01+01:00",
        "2024-01-31T23:00:00-01:00",
        "2024-02-01T00:00:00.5Z",
        "2024-02-01Z",
        "2024-02",
        "2024",
        "1706745599",
        "1706745600.5",
        "1h30m",
        "1.5h",
        "90m",
        "-1h",
        "1d",
        "10",
        "",
        "h",
        "24 h",
    ):
        with harness.case(f"until {moment!r}"):
            for month in (1, 2, 3):
                harness.have_image(f"m{month}", created=f"2024-0{month}-01T00:00:00Z")
            harness.prune({"until": [moment]})
            harness.names()


def label_values(harness: Harness) -> None:
    """Labels with empty values, equals signs and spaces."""
    for filters in (
        {"label": ["a="]},
        {"label": ["a=b=c"]},
        {"label": ["a=two words"]},
        {"label": ["=1"]},
        {"label": [""]},
        {"label!": ["a="]},
        {"label!": ["nothing"]},
        {"label!": ["a=1", "a=b=c"]},
        {"label": ["a"], "label!": ["a=1"]},
    ):
        with harness.case(_title(filters)):
            for name, value in {"e": "", "x": "b=c", "w": "two words", "o": "1"}.items():
                harness.have_image(name, labels={"a": value})
            harness.have_image("none")
            harness.prune(filters)
            harness.names()
