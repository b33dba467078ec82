"""Pull and push of all tags: a child for each, one event for all, and a report of what failed."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from sqlalchemy import Row, select

from tests.unit.workers.handlers.test_pull_again import (
    BLOBS,
    IMAGE,
    OTHER,
    FakeRegistry,
    Harness,
    harness,
)
from transship.store.catalog.access.tenants import HOUSE
from transship.store.catalog.content import image_events, references
from transship.store.catalog.db.schema import jobs as job_rows
from transship.workers.jobs.submission import Submission
from transship.workers.specs import parse_spec

__all__ = ["harness"]

REPOSITORY = "r.test/app"


def _run(harness: Harness, **spec: Any) -> Row[Any]:
    submission = Submission(
        spec=parse_spec({**spec, "all_tags": True}), requested_by="ada", tenant=HOUSE
    )
    (made,) = harness.queue.submit([submission])
    harness.run_all()
    return harness.scene.job_row(str(made))


def _pull(harness: Harness) -> Row[Any]:
    return _run(harness, kind="pull", reference=REPOSITORY)


def _listing(fake_registry: FakeRegistry, *tags: str) -> None:
    """Let the registry list these tags, one a page; 1 and 1a are the image that it has as 1."""
    fake_registry._things["manifests/1a"] = fake_registry._things["manifests/1"]

    def page(request: httpx.Request) -> httpx.Response:
        number = int(request.url.params.get("page", 0))
        more = number + 1 < len(tags)
        link = {"Link": f'</v2/app/tags/list?page={number + 1}>; rel="next"'} if more else {}
        body = {"name": "app", "tags": list(tags[number : number + 1])}
        return httpx.Response(200, headers=link, json=body)

    fake_registry.routes["https://r.test/v2/app/tags/list"] = page


def _children(harness: Harness, job: Row[Any]) -> list[Row[Any]]:
    with harness.context.catalog.read() as connection:
        query = select(job_rows).where(job_rows.c.parent == job.id).order_by(job_rows.c.seq)
        return list(connection.execute(query))


def _events(harness: Harness) -> list[tuple[str, str, dict[str, str]]]:
    with harness.context.catalog.read() as connection:
        found = image_events.after(connection, HOUSE, 0)
    return [(event.action, event.actor, event.attributes) for event in found]


def _name(harness: Harness, *names: str) -> None:
    with harness.context.catalog.write() as connection:
        for name in names:
            references.assign(connection, HOUSE, name, str(OTHER.digest), "a type", now=0)


def test_every_tag_is_pulled_and_what_they_share_moves_once(harness: Harness) -> None:
    _listing(harness.fake_registry, "1a", "1")
    job = _pull(harness)
    assert job.state == "succeeded", job.error
    assert job.result == {
        "reference": REPOSITORY,
        "tags": 2,
        "by_state": {"succeeded": 2},
        "failed": [],
        "up_to_date": False,
    }
    assert sorted(harness.fake_registry.bodies()) == BLOBS
    with harness.context.catalog.read() as connection:
        held = {
            row.name: row.digest for row in references.of_repository(connection, HOUSE, REPOSITORY)
        }
    assert held.keys() == {f"{REPOSITORY}:{tag}" for tag in ("1", "1a")} | {
        f"{REPOSITORY}@{IMAGE.digest}"
    }


def test_children_come_in_the_order_of_the_registry_and_take_over_what_was_asked(
    harness: Harness,
) -> None:
    _listing(harness.fake_registry, "1a", "1")
    job = _run(harness, kind="pull", reference=REPOSITORY, priority=7, platforms=["linux/arm64"])
    children = _children(harness, job)
    assert [child.child_key for child in children] == ["1a", "1"]
    assert {(child.kind, child.priority, child.root) for child in children} == {("pull", 7, job.id)}
    assert [child.spec["platforms"] for child in children] == [["linux/arm64"]] * 2


def test_pulling_all_tags_again_finds_them_up_to_date(harness: Harness) -> None:
    _listing(harness.fake_registry, "1")
    _pull(harness)
    assert _pull(harness).result["up_to_date"] is True


def test_all_tags_have_one_event_together(harness: Harness) -> None:
    _listing(harness.fake_registry, "1a", "1")
    _pull(harness)
    assert _events(harness) == [("pull", REPOSITORY, {"name": REPOSITORY})]


def test_tenants_who_mean_different_images_by_latest_do_not_make_the_house_fail(
    harness: Harness,
) -> None:
    _listing(harness.fake_registry, "1")
    with harness.context.catalog.write() as connection:
        for tenant, digest in (("a", IMAGE.digest), ("b", OTHER.digest)):
            references.assign(
                connection, tenant, f"{REPOSITORY}:latest", str(digest), "a type", now=0
            )
    job = _pull(harness)
    assert job.state == "succeeded", job.error
    assert _events(harness) == [("pull", REPOSITORY, {"name": REPOSITORY})]


def test_a_tag_that_fails_is_reported_and_the_others_stay(harness: Harness) -> None:
    _listing(harness.fake_registry, "1", "gone")
    job = _pull(harness)
    assert (job.state, job.error["code"]) == ("failed", "partial")
    assert [one["tag"] for one in job.result["failed"]] == ["gone"]
    assert harness.stands_for() == str(IMAGE.digest)
    assert _events(harness) == []


def test_a_job_of_all_tags_ends_although_its_worker_dies_after_every_step(harness: Harness) -> None:
    _listing(harness.fake_registry, "1a", "1")
    spec = parse_spec({"kind": "pull", "reference": REPOSITORY, "all_tags": True})
    (made,) = harness.queue.submit([Submission(spec=spec, requested_by="ada", tenant=HOUSE)])
    for _ in range(200):
        if not harness.broker.waiting:
            break
        harness.run(harness.broker.waiting.pop(0))
        harness.dies()
    job = harness.scene.job_row(str(made))
    assert job.state == "succeeded", job.error
    assert len(_children(harness, job)) == 2
    assert len(_events(harness)) == 1


def test_a_repository_without_tags_cannot_be_pulled(harness: Harness) -> None:
    harness.fake_registry.routes["https://r.test/v2/app/tags/list"] = lambda _: httpx.Response(
        200, json={"name": "app", "tags": None}
    )
    job = _pull(harness)
    assert (job.state, job.error["code"]) == ("failed", "manifest-not-found")


@pytest.mark.parametrize(
    ("names", "detail"),
    [
        ((), "no image in the store has a name in this repository"),
        ((f"{REPOSITORY}le:1", "R.test/app:1", "r.test/ap_:1"), "no image in the store has"),
        ((f"{REPOSITORY}@{OTHER.digest}",), "no tags to push"),
    ],
)
def test_a_repository_without_tags_here_cannot_be_pushed(
    harness: Harness, names: tuple[str, ...], detail: str
) -> None:
    _name(harness, *names)
    job = _run(harness, kind="push", reference=REPOSITORY)
    assert (job.state, job.error["code"], job.error["side"]) == ("failed", "not-found", "store")
    assert job.error["detail"].startswith(detail)


def test_each_tag_is_pushed_under_its_own_name_at_the_destination(harness: Harness) -> None:
    _name(harness, f"{REPOSITORY}:2", f"{REPOSITORY}:1", f"{REPOSITORY}@{OTHER.digest}")
    job = _run(harness, kind="push", reference=REPOSITORY, destination="there.test/app")
    assert [(c.spec["reference"], c.spec["destination"]) for c in _children(harness, job)] == [
        (f"{REPOSITORY}:1", "there.test/app:1"),
        (f"{REPOSITORY}:2", "there.test/app:2"),
    ]


def test_an_image_that_was_not_held_is_newer_although_its_name_was(harness: Harness) -> None:
    harness.pull()
    harness.run_all()
    with harness.context.catalog.write() as connection:
        references.remove_image(connection, str(IMAGE.digest))
    again = harness.pull()
    harness.run_all()
    assert harness.scene.job_row(again).result["up_to_date"] is False
