"""Pull and push of all tags: a child for each, one event for all, and a report of what failed."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from sqlalchemy import Row, select

from tests.unit.workers.handlers.test_pull_again import BLOBS, IMAGE, OTHER, Shop, Stage, stage
from transship.store.catalog.access.tenants import HOUSE
from transship.store.catalog.content import image_events, references
from transship.store.catalog.db.schema import jobs as job_rows
from transship.workers.jobs.submission import Submission
from transship.workers.specs import parse_spec

__all__ = ["stage"]

REPOSITORY = "r.test/app"


def _run(stage: Stage, **spec: Any) -> Row[Any]:
    submission = Submission(
        spec=parse_spec({**spec, "all_tags": True}), requested_by="ada", tenant=HOUSE
    )
    (made,) = stage.queue.submit([submission])
    stage.run_all()
    return stage.scene.job_row(str(made))


def _pull(stage: Stage) -> Row[Any]:
    return _run(stage, kind="pull", reference=REPOSITORY)


def _listing(shop: Shop, *tags: str) -> None:
    """Let the registry list these tags, one a page; 1 and 1a are the image that it has as 1."""
    shop._things["manifests/1a"] = shop._things["manifests/1"]

    def page(request: httpx.Request) -> httpx.Response:
        number = int(request.url.params.get("page", 0))
        more = number + 1 < len(tags)
        link = {"Link": f'</v2/app/tags/list?page={number + 1}>; rel="next"'} if more else {}
        body = {"name": "app", "tags": list(tags[number : number + 1])}
        return httpx.Response(200, headers=link, json=body)

    shop.routes["https://r.test/v2/app/tags/list"] = page


def _children(stage: Stage, job: Row[Any]) -> list[Row[Any]]:
    with stage.context.catalog.read() as connection:
        query = select(job_rows).where(job_rows.c.parent == job.id).order_by(job_rows.c.seq)
        return list(connection.execute(query))


def _events(stage: Stage) -> list[tuple[str, str, dict[str, str]]]:
    with stage.context.catalog.read() as connection:
        found = image_events.after(connection, HOUSE, 0)
    return [(event.action, event.actor, event.attributes) for event in found]


def _name(stage: Stage, *names: str) -> None:
    with stage.context.catalog.write() as connection:
        for name in names:
            references.assign(connection, HOUSE, name, str(OTHER.digest), "a type", now=0)


def test_every_tag_is_pulled_and_what_they_share_moves_once(stage: Stage) -> None:
    _listing(stage.shop, "1a", "1")
    job = _pull(stage)
    assert job.state == "succeeded", job.error
    assert job.result == {
        "reference": REPOSITORY,
        "tags": 2,
        "by_state": {"succeeded": 2},
        "failed": [],
        "up_to_date": False,
    }
    assert sorted(stage.shop.bodies()) == BLOBS
    with stage.context.catalog.read() as connection:
        held = {
            row.name: row.digest for row in references.of_repository(connection, HOUSE, REPOSITORY)
        }
    assert held.keys() == {f"{REPOSITORY}:{tag}" for tag in ("1", "1a")} | {
        f"{REPOSITORY}@{IMAGE.digest}"
    }


def test_children_come_in_the_order_of_the_registry_and_take_over_what_was_asked(
    stage: Stage,
) -> None:
    _listing(stage.shop, "1a", "1")
    job = _run(stage, kind="pull", reference=REPOSITORY, priority=7, platforms=["linux/arm64"])
    children = _children(stage, job)
    assert [child.child_key for child in children] == ["1a", "1"]
    assert {(child.kind, child.priority, child.root) for child in children} == {("pull", 7, job.id)}
    assert [child.spec["platforms"] for child in children] == [["linux/arm64"]] * 2


def test_pulling_all_tags_again_finds_them_up_to_date(stage: Stage) -> None:
    _listing(stage.shop, "1")
    _pull(stage)
    assert _pull(stage).result["up_to_date"] is True


def test_all_tags_have_one_event_together(stage: Stage) -> None:
    _listing(stage.shop, "1a", "1")
    _pull(stage)
    assert _events(stage) == [("pull", REPOSITORY, {"name": REPOSITORY})]


def test_tenants_who_mean_different_images_by_latest_do_not_make_the_house_fail(
    stage: Stage,
) -> None:
    _listing(stage.shop, "1")
    with stage.context.catalog.write() as connection:
        for tenant, digest in (("a", IMAGE.digest), ("b", OTHER.digest)):
            references.assign(
                connection, tenant, f"{REPOSITORY}:latest", str(digest), "a type", now=0
            )
    job = _pull(stage)
    assert job.state == "succeeded", job.error
    assert _events(stage) == [("pull", REPOSITORY, {"name": REPOSITORY})]


def test_a_tag_that_fails_is_reported_and_the_others_stay(stage: Stage) -> None:
    _listing(stage.shop, "1", "gone")
    job = _pull(stage)
    assert (job.state, job.error["code"]) == ("failed", "partial")
    assert [one["tag"] for one in job.result["failed"]] == ["gone"]
    assert stage.stands_for() == str(IMAGE.digest)
    assert _events(stage) == []


def test_a_job_of_all_tags_ends_although_its_worker_dies_after_every_step(stage: Stage) -> None:
    _listing(stage.shop, "1a", "1")
    spec = parse_spec({"kind": "pull", "reference": REPOSITORY, "all_tags": True})
    (made,) = stage.queue.submit([Submission(spec=spec, requested_by="ada", tenant=HOUSE)])
    for _ in range(200):
        if not stage.bells.waiting:
            break
        stage.run(stage.bells.waiting.pop(0))
        stage.dies()
    job = stage.scene.job_row(str(made))
    assert job.state == "succeeded", job.error
    assert len(_children(stage, job)) == 2
    assert len(_events(stage)) == 1


def test_a_repository_without_tags_cannot_be_pulled(stage: Stage) -> None:
    stage.shop.routes["https://r.test/v2/app/tags/list"] = lambda _: httpx.Response(
        200, json={"name": "app", "tags": None}
    )
    job = _pull(stage)
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
    stage: Stage, names: tuple[str, ...], detail: str
) -> None:
    _name(stage, *names)
    job = _run(stage, kind="push", reference=REPOSITORY)
    assert (job.state, job.error["code"], job.error["side"]) == ("failed", "not-found", "store")
    assert job.error["detail"].startswith(detail)


def test_each_tag_is_pushed_under_its_own_name_at_the_destination(stage: Stage) -> None:
    _name(stage, f"{REPOSITORY}:2", f"{REPOSITORY}:1", f"{REPOSITORY}@{OTHER.digest}")
    job = _run(stage, kind="push", reference=REPOSITORY, destination="there.test/app")
    assert [(c.spec["reference"], c.spec["destination"]) for c in _children(stage, job)] == [
        (f"{REPOSITORY}:1", "there.test/app:1"),
        (f"{REPOSITORY}:2", "there.test/app:2"),
    ]


def test_an_image_that_was_not_held_is_newer_although_its_name_was(stage: Stage) -> None:
    stage.pull()
    stage.run_all()
    with stage.context.catalog.write() as connection:
        references.remove_image(connection, str(IMAGE.digest))
    again = stage.pull()
    stage.run_all()
    assert stage.scene.job_row(again).result["up_to_date"] is False
