"""Listing: filters, order, and what is said of an image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tests.oracle.stage import Stage


def _have_some(stage: Stage) -> None:
    base = stage.have_image("base", created="2024-01-01T00:00:00Z")
    stage.have_image("child", parent=base, created="2024-02-01T00:00:00Z", tags=["app:1"])
    stage.have_image("dangling", created="2024-03-01T00:00:00Z", labels={"a": "2", "b": ""})
    stage.have_image(
        "named",
        created="2024-04-01T00:00:00Z",
        labels={"a": "1"},
        tags=["app:2", "team/app:2", "localhost:5000/team/web:latest"],
    )
    stage.have_image("newest", created="2024-05-01T00:00:00Z", tags=["web:1"])


def plain(stage: Stage) -> None:
    """What is listed of each image, newest first."""
    with stage.case("all fields"):
        _have_some(stage)
        stage.images()
        stage.images(all_=True)
    with stage.case("nothing there"):
        stage.images()
    with stage.case("a digest"):
        made = stage.have_image("x", load=False)
        stage.have_pushed("app", "1", made)
        stage.subject.pull(f"{stage.repository('app')}@{made.to_push().digest}")
        stage.images()
        stage.images(filters={"dangling": ["true"]})
        stage.images(filters={"dangling": ["false"]})
        stage.subject.pull(f"{stage.repository('app')}:1")
        stage.images()


def filtered(stage: Stage) -> None:
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
    with stage.case("filters"):
        _have_some(stage)
        for filters in wanted:
            stage.listed(filters)
            if "dangling" in filters or "label" in filters:
                stage.listed(filters, all_=True)
    with stage.case("by ID"):
        base = stage.have_image("base", created="2024-01-01T00:00:00Z")
        stage.have_image("later", created="2024-02-01T00:00:00Z", tags=["app:1"])
        stage.listed({"since": [base.id]})
        stage.listed({"since": [base.id[7:19]]})
        stage.listed({"before": [base.id]})
