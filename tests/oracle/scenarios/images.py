"""Listing: filters, order, and what is said of an image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tests.oracle.harness import Harness


def _have_some(harness: Harness) -> None:
    base = harness.have_image("base", created="2024-01-01T00:00:00Z")
    harness.have_image("child", parent=base, created="2024-02-01T00:00:00Z", tags=["app:1"])
    harness.have_image("dangling", created="2024-03-01T00:00:00Z", labels={"a": "2", "b": ""})
    harness.have_image(
        "named",
        created="2024-04-01T00:00:00Z",
        labels={"a": "1"},
        tags=["app:2", "team/app:2", "localhost:5000/team/web:latest"],
    )
    harness.have_image("newest", created="2024-05-01T00:00:00Z", tags=["web:1"])


def plain(harness: Harness) -> None:
    """What is listed of each image, newest first."""
    with harness.case("all fields"):
        _have_some(harness)
        harness.images()
        harness.images(all_=True)
    with harness.case("nothing there"):
        harness.images()
    with harness.case("a digest"):
        made = harness.have_image("x", load=False)
        harness.have_pushed("app", "1", made)
        harness.subject.pull(f"{harness.repository('app')}@{made.to_push().digest}")
        harness.images()
        harness.images(filters={"dangling": ["true"]})
        harness.images(filters={"dangling": ["false"]})
        harness.subject.pull(f"{harness.repository('app')}:1")
        harness.images()


def filtered(harness: Harness) -> None:
    """Which images each filter leaves, and under which names."""
    wanted: list[Mapping[str, Sequence[str]]] = [
        {"dangling": ["true"]},
        {"dangling": ["false"]},
        {"dangling": ["1"]},
        {"dangling": ["maybe"]},
        {"label": ["a"]},
        {"label": ["a=1"]},
        {"label": ["a", "b"]},
        {"label": ["a=1", "a=2"]},
        {"label": ["b="]},
        {"before": ["app:2"]},
        {"since": ["app:1"]},
        {"since": ["app:1"], "before": ["web:1"]},
        {"before": ["nothing"]},
        {"since": ["nothing:1"]},
        {"reference": ["app"]},
        {"reference": ["app:1"]},
        {"reference": ["app:*"]},
        {"reference": ["a*"]},
        {"reference": ["*/app"]},
        {"reference": ["*"]},
        {"reference": ["*/*"]},
        {"reference": ["*/*/*"]},
        {"reference": ["localhost:5000/team/web"]},
        {"reference": ["docker.io/library/app"]},
        {"reference": ["[aw]*:1"]},
        {"reference": ["app:1", "web:1"]},
        {"reference": ["nothing"]},
        {"reference": ["["]},
        {"reference": ["app"], "label": ["a"]},
        {"reference": ["app"], "dangling": ["true"]},
        {"until": ["24h"]},
        {"nonsense": ["1"]},
        {"label!": ["a"]},
    ]
    with harness.case("filters"):
        _have_some(harness)
        for filters in wanted:
            harness.listed(filters)
            if "dangling" in filters or "label" in filters:
                harness.listed(filters, all_=True)
    with harness.case("by ID"):
        base = harness.have_image("base", created="2024-01-01T00:00:00Z")
        harness.have_image("later", created="2024-02-01T00:00:00Z", tags=["app:1"])
        harness.listed({"since": [base.id]})
        harness.listed({"since": [base.id[7:19]]})
        harness.listed({"before": [base.id]})


def between(harness: Harness) -> None:
    """Before one image and since another, by name, ID and digest, and several of them."""
    with harness.case("by every kind of name"):
        for month in range(1, 6):
            harness.have_image(
                f"m{month}", created=f"2024-0{month}-01T00:00:00Z", tags=[f"app:{month}"]
            )
        made = harness.have_image("pulled", load=False, created="2024-06-01T00:00:00Z")
        harness.subject.pull(harness.have_pushed("app", "6", made))
        digest = f"{harness.repository('app')}@{made.to_push().digest}"
        for filters in (
            {"before": ["app:3"]},
            {"since": ["app:3"]},
            {"before": ["app:5"], "since": ["app:2"]},
            {"before": ["app:2"], "since": ["app:5"]},
            {"before": ["app:3"], "since": ["app:3"]},
            {"before": [digest]},
            {"since": [digest]},
            {"before": [made.id[7:19]]},
            {"before": ["app:3"], "reference": ["app:1"]},
            {"before": ["App"]},
            {"since": [""]},
        ):
            harness.listed(filters)
    with harness.case("of the same time"):
        for name in "ab":
            harness.have_image(name, tags=[f"{name}:1"], created="2024-01-01T00:00:00Z")
        harness.listed({"before": ["a:1"]})
        harness.listed({"since": ["a:1"]})


def patterns(harness: Harness) -> None:
    """References as patterns: Go's path.Match over the familiar name."""
    with harness.case("patterns"):
        harness.have_image(
            "x",
            tags=["app:1", "app:10", "app:latest", "ape:1", "team/app:1", "team/sub/app:1"],
        )
        later = "2024-06-01T00:00:00Z"
        harness.have_image("y", tags=["localhost:5000/app:1", "a-b.c_d:1"], created=later)
        for pattern in (
            "app:?",
            "app:??",
            "app:[0-9]",
            "app:[^0-9]*",
            "app:[!1]",
            "ap[a-z]",
            "ap[e-p]:1",
            "ap\\p",
            "app\\:1",
            "a*:1",
            "*:1",
            "*app",
            "team/*",
            "team/*/*",
            "team/*:1",
            "*/*:1",
            "localhost*/app",
            "localhost:5000/*",
            "localhost:*/app:1",
            "a-b.c_d",
            "a-b?c_d",
            "docker.io/library/*",
            "library/app",
            "APP",
            "app:",
            "",
            "**",
            "app[",
            "app:[1",
            "app:[]",
            "app\\",
            "[a-]pp",
        ):
            harness.listed({"reference": [pattern]})


def labels(harness: Harness) -> None:
    """Labels with empty values, equals signs and letters of either case."""
    with harness.case("filters"):
        values = {"empty": "", "equals": "b=c", "words": "two words", "one": "1"}
        for month, (name, value) in enumerate(values.items(), 1):
            created = f"2024-0{month}-01T00:00:00Z"  # of the same time any may come first
            harness.have_image(name, labels={"a": value}, tags=[f"{name}:1"], created=created)
        harness.have_image("upper", labels={"A": "1"}, tags=["upper:1"])
        harness.have_image("none", tags=["none:1"])
        for wanted in (
            ["a"],
            ["a="],
            ["a=b=c"],
            ["a=b"],
            ["a=two words"],
            ["A"],
            ["A=1"],
            ["b"],
            [""],
            ["=1"],
            ["a", "A"],
            ["a=1", "a"],
        ):
            harness.listed({"label": wanted})


def intermediate(harness: Harness) -> None:
    """Which images are shown only with -a."""
    with harness.case("parents with and without names"):
        first = harness.have_image("first", labels={"a": "1"}, created="2024-01-01T00:00:00Z")
        second = harness.have_image(
            "second", parent=first, tags=["second:1"], created="2024-02-01T00:00:00Z"
        )
        third = harness.have_image("third", parent=second, created="2024-03-01T00:00:00Z")
        harness.have_image("last", parent=third, tags=["app:1"], created="2024-04-01T00:00:00Z")
        harness.have_image("dangling", created="2024-05-01T00:00:00Z")
        for filters in (
            {},
            {"dangling": ["true"]},
            {"dangling": ["false"]},
            {"label": ["a"]},
            {"since": [first.id]},
            {"reference": ["app"]},
        ):
            harness.listed(filters)
            harness.listed(filters, all_=True)
    with harness.case("patterns"):
        base = harness.have_image("base")
        harness.have_image("child", parent=base, tags=["app:1", "app:2", "web:1"])
        for pattern in ("app", "app:1", "web", "nothing", "a*", "app:[12]", "library/app"):
            harness.images(pattern)
            harness.images(pattern, all_=True)
