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
