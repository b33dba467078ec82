"""A mirror: what it chooses, the children that it makes, and the dry run that makes none."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from sqlalchemy import Row, select, update

from tests.unit.workers.handlers.test_pull_again import IMAGE, OTHER, WORKER, Harness, harness
from transship.store.catalog.access.tenants import HOUSE
from transship.store.catalog.db.schema import jobs as job_rows
from transship.store.catalog.db.schema import transfers
from transship.store.catalog.scheduling import events, jobs, targets
from transship.store.errors import ConflictError, LeaseLostError
from transship.workers.handlers import dry_run, mirror
from transship.workers.jobs.submission import Submission
from transship.workers.mirrors import report
from transship.workers.process.batch import run_batch
from transship.workers.specs import parse_spec
from transship.workers.steps import children, partial_failures

__all__ = ["harness"]

SOURCE, TARGET = "r.test/app", "t.test/app"
DIGEST = str(IMAGE.digest)


def _submit(harness: Harness, **spec: Any) -> str:
    submission = Submission(
        spec=parse_spec({"kind": "mirror", "referrers": "none", **spec}),
        requested_by="ada",
        tenant=HOUSE,
    )
    (made,) = harness.queue.submit([submission])
    return str(made)


def _advance(harness: Harness, job: str) -> Row[Any]:
    """Advance the mirror alone."""
    run_batch(job, WORKER, harness.context, harness.renewer)
    return harness.scene.job_row(job)


def _run(harness: Harness, **spec: Any) -> Row[Any]:
    return _advance(harness, _submit(harness, **spec))


def _children(harness: Harness, job: str) -> list[Row[Any]]:
    with harness.context.catalog.read() as connection:
        query = select(job_rows).where(job_rows.c.parent == job).order_by(job_rows.c.seq)
        return list(connection.execute(query))


def _copies(harness: Harness, job: str) -> list[tuple[str, str]]:
    return [(c.spec["source"], c.spec["destination"]) for c in _children(harness, job)]


def _end(harness: Harness, job: str, *states: str) -> None:
    """End the children as said, the results being those of copies."""
    with harness.context.catalog.write() as connection:
        for child, state in zip(_children(harness, job), states, strict=True):
            lease = jobs.claim(connection, child.id, WORKER, harness.context.now())
            assert lease is not None
            result = {"digest": DIGEST, "up_to_date": state == "same"}
            if state == "failed":
                jobs.finish(connection, [jobs.End(lease, "failed")], harness.context.now())
            else:
                end = jobs.End(lease, "succeeded", result)
                jobs.finish(connection, [end], harness.context.now())


def _lists(harness: Harness, repository: str, *tags: str) -> None:
    body = {"name": repository, "tags": list(tags)}
    harness.fake_registry.routes[f"https://{repository.replace('/', '/v2/', 1)}/tags/list"] = (
        lambda _: httpx.Response(200, json=body)
    )


def _refuses(harness: Harness, repository: str, status: int) -> None:
    harness.fake_registry.routes[f"https://{repository.replace('/', '/v2/', 1)}/"] = lambda _: (
        httpx.Response(status)
    )


def _holds(harness: Harness, repository: str, *tags: str, digest: str = DIGEST) -> None:
    """Let a registry answer HEAD for tags, and 404 for whatever else."""

    def answer(request: httpx.Request) -> httpx.Response:
        assert request.method == "HEAD", "nothing is written, and nothing fetched there"
        if request.url.path.rpartition("/")[2] not in tags:
            return httpx.Response(404)
        headers = {
            "Content-Type": IMAGE.manifest.media_type,
            "Content-Length": "500",
            "Docker-Content-Digest": digest,
        }
        return httpx.Response(200, headers=headers)

    harness.fake_registry.routes[f"https://{repository.replace('/', '/v2/', 1)}/"] = answer


# --- children ------------------------------------------------------------------------------------


def test_each_entry_has_its_images_copied_under_their_destination(harness: Harness) -> None:
    _lists(harness, SOURCE, "1.0", "1.1", "2.0", "latest")
    job = _submit(
        harness,
        platforms=["linux/amd64"],
        entries=[
            {"source": SOURCE, "destination": TARGET, "select": {"semver": [">=1"], "newest": 2}},
            {
                "source": SOURCE,
                "destination": "t.test/pinned",
                "tags": ["latest", DIGEST],
                "platforms": ["linux/arm64"],
            },
            {"source": f"{SOURCE}:2.0", "destination": "t.test/pinned:two"},
        ],
    )
    _advance(harness, job)
    assert _copies(harness, job) == [
        (f"{SOURCE}:1.1", f"{TARGET}:1.1"),
        (f"{SOURCE}:2.0", f"{TARGET}:2.0"),
        (f"{SOURCE}:latest", "t.test/pinned:latest"),
        (f"{SOURCE}@{DIGEST}", f"t.test/pinned@{DIGEST}"),
        (f"{SOURCE}:2.0", "t.test/pinned:two"),
    ]
    assert [child.spec["platforms"] for child in _children(harness, job)] == [
        ["linux/amd64"], ["linux/amd64"], ["linux/arm64"], ["linux/arm64"], ["linux/amd64"],
    ]  # fmt: skip
    assert {child.priority for child in _children(harness, job)} == {-10}


def test_a_repository_is_asked_once_although_several_entries_are_of_it(harness: Harness) -> None:
    _lists(harness, SOURCE, "1", "2")
    entry = {"source": SOURCE, "destination": TARGET}
    job = _submit(harness, entries=[{**entry, "select": {"allow": [tag]}} for tag in ("1", "2")])
    _advance(harness, job)
    assert len(_children(harness, job)) == 2
    lists = [r for r in harness.fake_registry.requests if r.url.path.endswith("/tags/list")]
    assert len(lists) == 1


def test_a_mirror_that_is_advanced_again_asks_nothing_and_makes_nothing(harness: Harness) -> None:
    _lists(harness, SOURCE, "1", "2")
    job = _submit(harness, entries=[{"source": SOURCE, "destination": TARGET}])
    _advance(harness, job)
    asked = len(harness.fake_registry.requests)
    harness.dies()
    _advance(harness, job)
    assert (len(harness.fake_registry.requests), len(_children(harness, job))) == (asked, 2)


def test_the_report_names_each_image_and_what_failed(harness: Harness) -> None:
    job = _submit(
        harness, entries=[{"source": SOURCE, "destination": TARGET, "tags": ["1", "2", "3"]}]
    )
    _advance(harness, job)
    _end(harness, job, "same", "failed", "new")
    row = _advance(harness, job)
    assert (row.state, row.error["code"]) == ("failed", "partial")
    assert row.error["detail"] == "1 of 3 images were not mirrored"
    result = row.result
    assert (result["images"], result["up_to_date"]) == (3, 1)
    assert [(i["destination"], i["state"], i["up_to_date"]) for i in result["items"]] == [
        (f"{TARGET}:1", "succeeded", True),
        (f"{TARGET}:2", "failed", False),
        (f"{TARGET}:3", "succeeded", False),
    ]
    assert [(one["image"], one["tag"]) for one in result["failed"]] == [(f"{TARGET}:2", "2")]


def test_an_image_of_a_tag_and_a_digest_keeps_its_tag_in_plan_copy_and_report(
    harness: Harness,
) -> None:
    _holds(harness, TARGET)
    entries = [{"source": f"{SOURCE}:1@{DIGEST}", "destination": TARGET}]
    planned = _run(harness, dry_run=True, entries=entries)
    job = _submit(harness, entries=entries)
    _advance(harness, job)
    assert _copies(harness, job) == [(f"{SOURCE}:1@{DIGEST}", f"{TARGET}:1")]
    _end(harness, job, "failed")
    result = _advance(harness, job).result
    told = [item["destination"] for found in (planned.result, result) for item in found["items"]]
    assert told == [f"{TARGET}:1"] * 2
    assert [(one["image"], one["tag"]) for one in result["failed"]] == [(f"{TARGET}:1", "1")]


def test_a_repository_that_cannot_be_listed_does_not_keep_the_others(harness: Harness) -> None:
    _lists(harness, SOURCE, "1")
    _refuses(harness, "r.test/secret", 403)
    job = _submit(
        harness,
        entries=[
            {"source": "r.test/secret", "destination": "t.test/secret"},
            {"source": SOURCE, "destination": TARGET},
        ],
    )
    _advance(harness, job)
    assert _copies(harness, job) == [(f"{SOURCE}:1", f"{TARGET}:1")]
    _end(harness, job, "new")
    row = _advance(harness, job)
    assert row.error["detail"] == "1 repository was left out"
    (failed,) = row.result["failed"]
    assert (failed["image"], failed["state"]) == ("r.test/secret", "unlisted")
    assert (failed["error"]["code"], failed["error"]["side"]) == ("denied-by-registry", "source")


def test_all_that_failed_is_counted_and_some_of_it_named(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "MAX_FAILED", 2)
    monkeypatch.setattr(children, "MAX_REPORTED", 2)
    _refuses(harness, "r.test/secret", 403)
    job = _submit(
        harness,
        entries=[
            {"source": "r.test/secret", "destination": "t.test/secret"},
            {"source": SOURCE, "destination": TARGET, "tags": ["1", "2", "3", "4", "5"]},
            {"source": f"{SOURCE}:2", "destination": f"{TARGET}:1"},
        ],
    )
    _advance(harness, job)
    _end(harness, job, "new", "failed", "failed", "failed", "same")
    result = _advance(harness, job).result
    assert (result["images"], result["failures"], len(result["failed"])) == (6, 5, 2)


def test_a_repository_of_the_short_form_that_cannot_be_listed_fails_the_job(
    harness: Harness,
) -> None:
    _refuses(harness, "r.test/secret", 403)
    row = _run(harness, source="r.test/secret", destination="t.test/secret")
    assert (row.state, row.error["code"]) == ("failed", "denied-by-registry")


def test_a_registry_that_may_come_back_is_asked_again_before_it_counts(harness: Harness) -> None:
    _refuses(harness, SOURCE, 500)
    _lists(harness, "r.test/other", "1")
    harness.scene.limit("max_download_attempts", 2)
    entries = [
        {"source": SOURCE, "destination": TARGET},
        {"source": "r.test/other", "destination": "t.test/other"},
    ]
    job = _submit(harness, entries=entries)
    row = _advance(harness, job)
    assert (row.state, row.attempts, _children(harness, job)) == ("running", 1, [])
    with harness.context.catalog.write() as connection:
        connection.execute(
            job_rows.update().where(job_rows.c.id == job).values(not_before=0, due=True)
        )
    row = _advance(harness, job)
    assert (row.attempts, len(_children(harness, job))) == (0, 1)
    lists = [
        r.url.path
        for r in harness.fake_registry.requests
        if r.url.path.endswith("/other/tags/list")
    ]
    assert len(lists) == 1


def test_of_two_images_for_one_place_the_first_is_copied_and_the_other_told(
    harness: Harness,
) -> None:
    job = _submit(
        harness,
        entries=[
            {"source": f"{SOURCE}:1", "destination": f"{TARGET}:x"},
            {"source": f"{SOURCE}:2", "destination": f"{TARGET}:x"},
            {"source": f"{SOURCE}:1", "destination": f"{TARGET}:x"},
        ],
    )
    _advance(harness, job)
    assert _copies(harness, job) == [(f"{SOURCE}:1", f"{TARGET}:x")]
    _end(harness, job, "new")
    row = _advance(harness, job)
    assert row.error["detail"] == "1 of 2 images were not mirrored"
    assert row.result["failed"][0]["error"]["subject"] == f"{SOURCE}:2"


def test_rules_that_select_nothing_are_told(harness: Harness) -> None:
    _lists(harness, SOURCE, "1")
    entry = {"source": SOURCE, "destination": TARGET, "select": {"allow": ["9.*"]}}
    row = _run(harness, entries=[entry])
    assert row.state == "succeeded"
    assert (row.result["images"], row.result["nothing_selected"]) == (0, [SOURCE])
    with harness.scene.catalog.read() as connection:
        told = [event.data.get("message") for event in events.of_job(connection, row.id)]
    assert f"{SOURCE}: no tag is selected" in told


@pytest.mark.parametrize(("required", "state"), [(1, "succeeded"), (2, "failed")])
def test_fewer_tags_than_are_required_are_a_failure(
    harness: Harness, required: int, state: str
) -> None:
    _lists(harness, SOURCE, "9.1", "8", "7")
    entry = {"source": SOURCE, "destination": TARGET, "select": {"allow": ["9.*"]}}
    job = _submit(harness, entries=[{**entry, "require": required}])
    row = _advance(harness, job)
    if state == "succeeded":
        assert _copies(harness, job) == [(f"{SOURCE}:9.1", f"{TARGET}:9.1")]
        return
    assert row.state == "failed"
    (failed,) = row.result["failed"]
    assert failed["image"] == SOURCE
    assert failed["error"]["code"] == "too-few-tags"
    assert failed["error"]["side"] == "source"
    assert failed["error"]["detail"] == "1 of its 3 tags are selected, 2 are required"


def test_a_retry_takes_what_failed_and_what_could_not_be_listed(harness: Harness) -> None:
    _refuses(harness, "r.test/secret", 403)
    secret = {"source": "r.test/secret", "destination": "t.test/secret"}
    entries = [
        secret,
        {"source": SOURCE, "destination": TARGET, "tags": ["1", "2", "3"]},
        {"source": f"{SOURCE}:1", "destination": "t.test/other:x", "platforms": ["linux/arm64"]},
    ]
    job = _submit(harness, entries=entries)
    _advance(harness, job)
    _end(harness, job, "new", "failed", "failed", "failed")
    _advance(harness, job)
    again = harness.scene.job_row(harness.queue.retry(job, requested_by="ada", tenant=HOUSE))
    assert [{k: v for k, v in e.items() if v} for e in again.spec["entries"]] == [
        {"source": SOURCE, "destination": TARGET, "tags": ["2", "3"]},
        {
            "source": f"{SOURCE}:1",
            "destination": "t.test/other:x",
            "platforms": ["linux/arm64"],
        },
        secret,
    ]


def test_a_mirror_of_entries_of_which_nothing_failed_is_not_tried_again(harness: Harness) -> None:
    job = _submit(harness, entries=[{"source": f"{SOURCE}:1", "destination": TARGET}])
    _advance(harness, job)
    _end(harness, job, "new")
    assert _advance(harness, job).state == "succeeded"
    with pytest.raises(ConflictError, match="every image"):
        harness.queue.retry(job, requested_by="ada", tenant=HOUSE)


# --- dry runs ------------------------------------------------------------------------------------


def _entries(*tags: str) -> list[dict[str, Any]]:
    return [{"source": SOURCE, "destination": TARGET, "tags": list(tags)}]


def _states(row: Row[Any]) -> list[str]:
    return [item["state"] for item in row.result["items"]]


def test_a_dry_run_compares_and_neither_writes_nor_makes_children(harness: Harness) -> None:
    _holds(harness, TARGET)
    row = _run(harness, dry_run=True, entries=_entries("1", "gone"))
    assert row.state == "succeeded", row.error
    assert _states(row) == ["copy", "missing"]
    assert (row.result["drift"], row.result["to_copy"], row.result["missing"]) == (True, 1, 1)
    assert row.result["bytes"] == sum(blob.size for blob in IMAGE.manifest.blobs)
    assert row.result["items"][0]["replaces"] is None
    assert _children(harness, row.id) == []
    with harness.context.catalog.read() as connection:
        assert connection.execute(select(transfers)).all() == []
    assert {request.method for request in harness.fake_registry.requests} <= {"HEAD", "GET"}
    got = [
        r
        for r in harness.fake_registry.requests
        if r.method == "GET" and "/manifests/sha256:" in r.url.path
    ]
    assert len(got) == 1  # a GET counts as a pull, where something is there
    assert harness.fake_registry.bodies() == []


def test_a_dry_run_of_what_is_there_finds_nothing_to_do_and_fetches_nothing(
    harness: Harness,
) -> None:
    _holds(harness, TARGET, "1")
    row = _run(harness, dry_run=True, entries=_entries("1"))
    assert (_states(row), row.result["drift"], row.result["bytes"]) == (["up-to-date"], False, 0)
    assert {r.method for r in harness.fake_registry.requests if "/manifests/" in r.url.path} == {
        "HEAD"
    }


def test_an_image_that_takes_the_place_of_another_says_so(harness: Harness) -> None:
    _holds(harness, TARGET, "1", digest=str(OTHER.digest))
    row = _run(harness, dry_run=True, source=SOURCE, destination=TARGET, tags=["1"])
    (item,) = row.result["items"]
    assert (item["state"], item["digest"], item["replaces"]) == (
        "copy", DIGEST, str(OTHER.digest),
    )  # fmt: skip


def test_a_destination_that_refuses_is_told_and_does_not_keep_the_others(harness: Harness) -> None:
    _holds(harness, TARGET, "1")
    _refuses(harness, "t.test/secret", 403)
    entries = [*_entries("1"), {"source": f"{SOURCE}:1", "destination": "t.test/secret"}]
    row = _run(harness, dry_run=True, entries=entries)
    assert (row.state, row.error["code"]) == ("failed", "partial")
    assert row.error["detail"] == "1 of 2 images were not compared"
    assert row.error["side"] == "destination"
    assert _states(row) == ["up-to-date", "failed"]
    assert row.result["failed"][0]["error"]["side"] == "destination"


def test_sizes_are_asked_for_so_many_images_and_no_more(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dry_run, "MAX_SIZED", 1)
    _holds(harness, TARGET)
    harness.fake_registry._things["manifests/2"] = harness.fake_registry._things["manifests/1"]
    row = _run(harness, dry_run=True, entries=_entries("1", "2"))
    assert [item.get("bytes") is not None for item in row.result["items"]] == [True, False]
    assert (row.result["to_copy"], row.result["bytes_known_of"]) == (2, 1)


def test_a_dry_run_goes_on_after_a_death(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dry_run, "LOOKED_AT_ONCE", 1)
    _holds(harness, TARGET, "1")
    harness.fake_registry._things["manifests/2"] = harness.fake_registry._things["manifests/1"]
    job = _submit(harness, dry_run=True, entries=_entries("1", "2"))

    class DiedError(BaseException):
        pass

    remember, calls = partial_failures.remember, 0

    def dies(*args: Any, **facts: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise DiedError
        remember(*args, **facts)

    with monkeypatch.context() as patch:
        patch.setattr(partial_failures, "remember", dies)
        with pytest.raises(DiedError):
            _advance(harness, job)
    harness.dies()
    harness.fake_registry.requests.clear()
    row = _advance(harness, job)
    assert _states(row) == ["up-to-date", "copy"]
    assert not [r for r in harness.fake_registry.requests if r.url.path.endswith("/manifests/1")]


def test_who_takes_over_goes_on_after_the_children_that_there_are(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each page is progress: deaths before it are forgotten, and none is made again."""
    monkeypatch.setattr(mirror, "PAGE", 2)
    pages: list[list[str]] = []
    create = jobs.create

    def dying(connection: Any, new: Any, now: float) -> list[str]:
        given = list(new)
        pages.append([one.child_key for one in given])
        if len(pages) == 3:
            raise LeaseLostError("somebody else has it")
        return create(connection, given, now)

    tags = [f"v{n}" for n in range(7)]
    job = _submit(harness, source=SOURCE, destination=TARGET, tags=tags)
    monkeypatch.setattr(jobs, "create", dying)
    with harness.context.catalog.write() as connection:
        connection.execute(update(job_rows).where(job_rows.c.id == job).values(crashes=4))
    row = _advance(harness, job)
    assert [child.child_key for child in _children(harness, job)] == tags[:4]
    assert row.crashes == 0
    with harness.context.catalog.write() as connection:  # as whoever reaps the dead does
        freed = {"owner": None, "due": True}
        connection.execute(update(job_rows).where(job_rows.c.id == job).values(**freed))
    _advance(harness, job)
    assert pages == [tags[:2], tags[2:4], tags[4:6], tags[4:6], tags[6:]]
    assert [child.child_key for child in _children(harness, job)] == tags


# --- what is up to date --------------------------------------------------------------------------


def _heads(harness: Harness, registry: str) -> list[str]:
    return [
        request.url.path.rpartition("/")[2]
        for request in harness.fake_registry.requests
        if request.url.host == registry and request.method == "HEAD"
    ]


def test_what_is_up_to_date_has_ended_when_it_is_made(harness: Harness) -> None:
    _holds(harness, SOURCE, "1", "2")
    _holds(harness, TARGET, "1", "2")
    row = _run(harness, source=SOURCE, destination=TARGET, tags=["1", "2"])
    assert (row.state, row.result["images"], row.result["up_to_date"]) == ("succeeded", 2, 2)
    assert [message.task for message in harness.broker.waiting] == ["transship.dispatch"]
    assert {event.kind for event in harness.broker.events} == {"mirror"}
    for child in _children(harness, row.id):
        assert (child.state, child.attempts, child.owner) == ("succeeded", 0, None)
        assert child.result == {
            "reference": child.spec["destination"],
            "digest": DIGEST,
            "source_digest": DIGEST,
            "up_to_date": True,
        }
        events = harness.scene.events_of(child.id)
        assert [event.type for event in events] == ["queued", "succeeded"]
        assert events[1].data == {"error": None, "result": child.result}
    # Several are asked at once, in no order.
    assert sorted(_heads(harness, "t.test")) == sorted(_heads(harness, "r.test")) == ["1", "2"]


def test_what_differs_or_is_not_there_is_copied(harness: Harness) -> None:
    _holds(harness, SOURCE, "1", "2", "3")
    _holds(harness, TARGET, "1", "3", digest="sha256:" + "0" * 64)
    row = _run(harness, source=SOURCE, destination=TARGET, tags=["1", "2", "3"])
    assert [child.state for child in _children(harness, row.id)] == ["queued"] * 3
    assert sorted(_heads(harness, "r.test")) == ["1", "3"]  # of what is not there nothing is asked


def test_many_tags_are_looked_up_in_the_list_of_their_destination(harness: Harness) -> None:
    tags = [f"v{n}" for n in range(10)]
    _holds(harness, SOURCE, *tags)
    _holds(harness, TARGET, *tags[:3])
    _lists(harness, TARGET, *tags[:3], "another")
    row = _run(harness, source=SOURCE, destination=TARGET, tags=tags)
    states = [child.state for child in _children(harness, row.id)]
    assert states == ["succeeded"] * 3 + ["queued"] * 7
    assert sorted(_heads(harness, "t.test")) == sorted(_heads(harness, "r.test")) == tags[:3]


@pytest.mark.parametrize("status", [401, 403, 405, 500])
def test_a_list_that_is_refused_is_no_answer(harness: Harness, status: int) -> None:
    tags = [f"v{n}" for n in range(10)]
    _holds(harness, SOURCE, *tags)
    _holds(harness, TARGET, *tags)
    harness.fake_registry.routes["https://t.test/v2/app/tags/list"] = lambda _: httpx.Response(
        status
    )
    row = _run(harness, source=SOURCE, destination=TARGET, tags=tags)
    states = {child.state for child in _children(harness, row.id)}
    assert states == ({"queued"} if status == 500 else {"succeeded"})


def test_a_registry_without_an_answer_is_not_asked_for_every_image(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirror, "PAGE", 2)
    _holds(harness, SOURCE, *"abcdefgh")
    _refuses(harness, TARGET, 503)
    row = _run(harness, source=SOURCE, destination=TARGET, tags=[*"abcdefgh"])
    assert [child.state for child in _children(harness, row.id)] == ["queued"] * 8
    assert set(_heads(harness, "t.test")) <= {"a", "b"}
    assert _heads(harness, "r.test") == []


@pytest.mark.parametrize("registry", ["r.test", "t.test"])
@pytest.mark.parametrize("closed", ["paused", "parked"])
def test_a_closed_registry_is_not_asked(harness: Harness, registry: str, closed: str) -> None:
    _holds(harness, SOURCE, "1")
    _holds(harness, TARGET, "1")
    job = _submit(harness, source=SOURCE, destination=TARGET, tags=["1"])
    lease = harness.scene.take(job, WORKER)
    assert lease is not None
    if closed == "paused":
        harness.scene.pause(registry)
    else:
        harness.scene.park(registry, 60)
    with harness.renewer.keep(lease) as monitor:
        mirror.advance(lease, harness.context, monitor)
    assert [child.state for child in _children(harness, job)] == ["queued"]
    assert harness.fake_registry.requests == []


def test_an_older_job_does_not_overwrite_what_was_found_up_to_date(harness: Harness) -> None:
    _holds(harness, SOURCE, "1")
    _holds(harness, TARGET, "1")
    older = Submission(
        spec=parse_spec({"kind": "copy", "source": f"{SOURCE}:old", "destination": f"{TARGET}:1"}),
        requested_by="ada",
        tenant=HOUSE,
    )
    (first,) = harness.queue.submit([older])
    row = _run(harness, source=SOURCE, destination=TARGET, tags=["1"])
    (child,) = _children(harness, row.id)
    lease = harness.scene.take(str(first), WORKER)
    assert lease is not None
    with harness.context.catalog.write() as connection:
        assert targets.hold(connection, [(lease, f"{TARGET}:1")]) == [child.id]


def test_an_older_job_that_is_about_to_write_looks_once_more(harness: Harness) -> None:
    lease = harness.scene.job("older", owner=WORKER)
    harness.scene.submit("newer")
    with harness.context.catalog.write() as connection:
        assert targets.hold(connection, [(lease, f"{TARGET}:1")]) == [None]
        assert targets.superseded(connection, [(lease, f"{TARGET}:1")]) == [None]
        targets.found_up_to_date(connection, {"newer": f"{TARGET}:1"})
        assert targets.superseded(connection, [(lease, f"{TARGET}:1")]) == ["newer"]
