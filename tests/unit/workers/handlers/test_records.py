"""What pulls and pushes write down: names by digest, events, what layers hold; each once."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from sqlalchemy import select, update

from tests.unit.workers.handlers.test_pull_again import IMAGE, NAME, OTHER, Harness, harness
from tests.unit.workers.registry.simulated import Simulated
from transship.store.catalog.access.tenants import HOUSE
from transship.store.catalog.content import image_events, layers, references
from transship.store.catalog.content.image_events import ImageEvent
from transship.store.catalog.db.schema import jobs as job_rows
from transship.store.catalog.db.schema import layers as layer_rows
from transship.workers.jobs.submission import Submission
from transship.workers.specs import parse_spec

__all__ = ["harness"]

DIGEST_NAME = f"r.test/app@{IMAGE.digest}"


def _events(harness: Harness) -> list[ImageEvent]:
    with harness.context.catalog.read() as connection:
        return image_events.after(connection, HOUSE, 0)


def _names(harness: Harness) -> dict[str, str]:
    with harness.context.catalog.read() as connection:
        return {row.name: row.digest for row in references.listed(connection, HOUSE)}


def _run(harness: Harness, **spec: Any) -> str:
    submission = Submission(spec=parse_spec(spec), requested_by="ada", tenant=HOUSE)
    (made,) = harness.queue.submit([submission])
    harness.run_all()
    assert harness.scene.job_row(str(made)).state == "succeeded", harness.scene.job_row(
        str(made)
    ).error
    return str(made)


def test_a_pulled_image_is_named_by_its_digest_too(harness: Harness) -> None:
    harness.pull()
    harness.run_all()
    assert _names(harness) == {NAME: str(IMAGE.digest), DIGEST_NAME: str(IMAGE.digest)}


@pytest.mark.parametrize("tag", ["", ":1"])
def test_an_image_that_is_pulled_by_its_digest_has_no_other_name(
    harness: Harness, tag: str
) -> None:
    job = _run(harness, kind="pull", reference=f"r.test/app{tag}@{IMAGE.digest}")
    assert _names(harness) == {DIGEST_NAME: str(IMAGE.digest)}
    result = harness.scene.job_row(job).result
    assert result["reference"] == f"r.test/app{tag}@{IMAGE.digest}"


def test_a_tag_that_moves_leaves_the_old_image_its_digest(harness: Harness) -> None:
    harness.pull()
    harness.run_all()
    harness.fake_registry.put(OTHER)
    harness.pull()
    harness.run_all()
    assert _names(harness) == {
        NAME: str(OTHER.digest),
        DIGEST_NAME: str(IMAGE.digest),
        f"r.test/app@{OTHER.digest}": str(OTHER.digest),
    }


def test_a_pull_has_an_event_each_time_with_the_labels_of_the_image(harness: Harness) -> None:
    for _ in range(2):
        harness.pull()
        harness.run_all()
    told = [(event.action, event.actor, event.attributes) for event in _events(harness)]
    labels = {"org.example.seed": "again"}
    assert told == [("pull", NAME, {**labels, "name": "r.test/app"})] * 2


def test_a_pull_that_dies_before_its_end_is_recorded_once(harness: Harness) -> None:
    job = harness.pull()
    harness.run_all()
    before = harness.scene.job_row(job).result
    with harness.context.catalog.write() as connection:  # as if it had died before it could end
        again = {"state": "running", "due": True, "owner": None, "result": None}
        connection.execute(update(job_rows).where(job_rows.c.id == job).values(**again))
    harness.dies()
    harness.run_all()
    row = harness.scene.job_row(job)
    assert (row.state, row.result) == ("succeeded", before)
    assert row.result["up_to_date"] is False
    assert [event.action for event in _events(harness)] == ["pull"]


def test_a_pull_knows_what_each_layer_holds(harness: Harness) -> None:
    harness.pull()
    harness.run_all()
    with harness.context.catalog.read() as connection:
        found = [layers.diff_id_of(connection, str(one.digest)) for one in IMAGE.manifest.layers]
        rows = connection.execute(select(layer_rows.c.verified)).scalars().all()
    assert found == [str(diff_id) for diff_id in IMAGE.diff_ids]
    assert set(rows) == {False}  # the config only says so


class Taker(Simulated):
    """Takes every manifest, and has every blob already."""

    def accept(self, request: httpx.Request) -> httpx.Response:
        if request.method == "PUT":
            return httpx.Response(201, headers={"Location": str(request.url)})
        if "/blobs/" in request.url.path:
            return httpx.Response(200, headers={"Content-Length": "1"})
        return httpx.Response(404)


@pytest.fixture
def taking(harness: Harness) -> Harness:
    """A harness with an image in the store, and a registry that takes it."""
    harness.pull()
    harness.run_all()
    harness.fake_registry.routes["https://to.test/v2/app/"] = Taker().accept
    return harness


def test_a_push_has_an_event(taking: Harness) -> None:
    _run(taking, kind="push", reference=NAME, destination="to.test/app:2")
    event = _events(taking)[-1]
    assert (event.action, event.actor) == ("push", "to.test/app:2")
    assert event.attributes == {"org.example.seed": "again", "name": "to.test/app"}
    assert set(_names(taking)) == {NAME, DIGEST_NAME}  # nothing here is called so


def test_a_repository_that_names_the_image_here_gets_the_digest_too(taking: Harness) -> None:
    with taking.context.catalog.write() as connection:
        type_ = IMAGE.manifest.media_type
        references.assign(connection, HOUSE, "to.test/app:2", str(IMAGE.digest), type_, now=0)
    _run(taking, kind="push", reference="to.test/app:2")
    assert _names(taking)[f"to.test/app@{IMAGE.digest}"] == str(IMAGE.digest)


def test_a_push_that_dies_before_its_end_is_recorded_once(taking: Harness) -> None:
    job = _run(taking, kind="push", reference=NAME, destination="to.test/app:2")
    with taking.context.catalog.write() as connection:
        again = {"state": "running", "due": True, "owner": None, "result": None}
        connection.execute(update(job_rows).where(job_rows.c.id == job).values(**again))
    taking.dies()
    taking.run_all()
    assert taking.scene.job_row(job).state == "succeeded"
    assert [event.action for event in _events(taking)] == ["pull", "push"]
