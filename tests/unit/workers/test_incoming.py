"""What becomes of each kind of message that strangers send."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from transship.workers.broker.incoming import Invalid, Rights, Unusable, is_runnable, read
from transship.workers.jobs.submission import Submission
from transship.workers.specs import KINDS

RIGHTS = Rights(kinds=frozenset(KINDS) - {"prune", "gc", "fsck"})

ID = "018f0c3a-7b2e-7c4d-9e10-5a6b7c8d9e0f"
SPEC = {"kind": "pull", "reference": "here.test/app:1"}
PULL = frozenset({"transship.pull"})


def message(
    kwargs: object = None,
    *,
    args: object = None,
    task: object = "transship.submit",
    **changes: Any,
) -> bytes:
    """A message of Celery's protocol 2, as kombu writes it to Redis."""
    content = json.dumps([args or [], kwargs or {}, {}])
    envelope: dict[str, Any] = {
        "body": base64.b64encode(content.encode()).decode(),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {"task": task, "id": "an id"},
        "properties": {
            "body_encoding": "base64",
            "delivery_tag": "a tag",
            "delivery_info": {"exchange": "transship.control", "routing_key": "transship.control"},
        },
    }
    return json.dumps({**envelope, **changes}).encode()


def old_message(**content: Any) -> bytes:
    """A message of Celery's protocol 1, whose body says everything."""
    return message(headers={}, body=base64.b64encode(json.dumps(content).encode()).decode())


@pytest.mark.parametrize(
    "raw",
    [
        message({"id": ID, "spec": SPEC}),
        message(args=[ID, SPEC]),
        message({"spec": SPEC}, args=[ID]),
        old_message(task="transship.submit", args=[], kwargs={"id": ID, "spec": SPEC}),
        message(
            body=json.dumps([[], {"id": ID, "spec": SPEC}, {}]), properties={"body_encoding": ""}
        ),
    ],
    ids=["keywords", "positions", "both", "protocol 1", "body as text"],
)
def test_a_submission_is_a_job(raw: bytes) -> None:
    found = read(raw, Rights(kinds=RIGHTS.kinds, may_use=frozenset({"hub"})))
    assert isinstance(found, Submission)
    assert (found.id, found.requested_by, found.may_use) == (ID, "broker", frozenset({"hub"}))
    assert found.spec.label == "here.test/app:1"


@pytest.mark.parametrize(
    ("spec", "kind", "field"),
    [
        (None, "unknown", "spec"),
        ("text", "unknown", "spec"),
        ([], "unknown", "spec"),
        ({}, "unknown", "kind"),
        ({"kind": "dance"}, "unknown", "kind"),
        ({"kind": ["pull"]}, "unknown", "kind"),
        ({"kind": "pull"}, "pull", "reference"),
        ({"kind": "pull", "reference": 5}, "pull", "reference"),
        ({"kind": "pull", "reference": "a\0b"}, "pull", "spec"),
        ({"kind": "export", "references": ["a\ud800b"]}, "export", "spec"),
        ({**SPEC, "credentials": {"here.test": {"password": "secret"}}}, "pull", "credentials"),
        ({**SPEC, "priority": 10**30}, "pull", "priority"),
        ({**SPEC, "x": "y" * 100_000}, "pull", "x"),
        ({"kind": {}, "x": "y" * 100_000}, "unknown", "kind"),
    ],
    ids=repr,
)
def test_a_bad_spec_is_a_failed_job(spec: object, kind: str, field: str) -> None:
    found = read(message({"id": ID, "spec": spec}), RIGHTS)
    assert isinstance(found, Invalid)
    assert (found.error.code, found.error.subject) == ("invalid-spec", field)
    job = found.job()
    assert (job.id, job.kind, job.requested_by) == (ID, kind, "broker")
    json.dumps(job.spec, ensure_ascii=False).encode()  # any database takes it
    assert "secret" not in str(job.spec)
    assert len(str(job.spec)) < 70_000


DEEP = "[" * 100_000 + "]" * 100_000
UNUSABLE = {
    "nothing": b"",
    "bytes": b"\xff\xfe\0",
    "text": b"hello",
    "a number": b"5",
    "a list": b"[]",
    "an empty object": b"{}",
    "deep": DEEP.encode(),
    "no body": message(body=None),
    "a body that is not base64": message(body="?"),
    "a body that is not JSON": message(body=base64.b64encode(b"\xff").decode()),
    "a body of another shape": message(body=base64.b64encode(b"[1]").decode()),
    "a deep body": message(body=base64.b64encode(DEEP.encode()).decode()),
    "compressed": message(headers={"task": "transship.submit", "compression": "zlib"}),
    "pickle": message(**{"content-type": "application/x-python-serialize"}),
    "headers of another shape": message(headers=[1]),
    "properties of another shape": message(properties=[1]),
    "another task": message({"id": ID, "spec": SPEC}, task="celery.chord"),
    "a task that is not text": message({"id": ID, "spec": SPEC}, task=7),
    "arguments of another shape": message(args={"id": "x"}),
    "keywords of another shape": message(["id"]),
    "no id": message({"spec": SPEC}),
    "an id that is a number": message({"id": 5, "spec": SPEC}),
    "an empty id": message({"id": "", "spec": SPEC}),
    "an id that is no UUID": message({"id": "x", "spec": SPEC}),
    "a UUID in capitals": message({"id": ID.upper(), "spec": SPEC}),
    "a UUID in braces": message({"id": f"{{{ID}}}", "spec": SPEC}),
    "a UUID without hyphens": message({"id": ID.replace("-", ""), "spec": SPEC}),
    "an id with a NUL": message({"id": "a\0b", "spec": SPEC}),
    "an id with a line break": message({"id": "a\nb", "spec": SPEC}),
    "an id with half a surrogate pair": message({"id": "a\ud800", "spec": SPEC}),
    "an id with blanks around it": message({"id": f" {ID} ", "spec": SPEC}),
}


@pytest.mark.parametrize("raw", UNUSABLE.values(), ids=UNUSABLE)
def test_what_has_no_usable_id_is_unusable(raw: bytes) -> None:
    found = read(raw, RIGHTS)
    assert isinstance(found, Unusable)
    assert found.reason.isprintable()
    assert 0 < len(found.reason) < 200


def test_celery_runs_the_tasks_that_there_are() -> None:
    assert is_runnable(message(args=["x"], task="transship.pull"), PULL)


@pytest.mark.parametrize("raw", UNUSABLE.values(), ids=UNUSABLE)
def test_celery_sees_nothing_that_is_unusable(raw: bytes) -> None:
    assert not is_runnable(raw, PULL)


@pytest.mark.parametrize(
    "raw",
    [
        message({"id": ID, "spec": SPEC}),
        message(task="transship.pull"),
        message(args=[5], task="transship.pull"),
        message(args=["x", "y"], task="transship.pull"),
        message({"id_": "x"}, task="transship.pull"),
        message(args=["x"], task="transship.pull", headers={"task": "transship.pull"}),
        message(args=["x"], task="transship.pull", properties={"body_encoding": "base64"}),
        old_message(task="transship.pull", args=["x"], kwargs={}),
    ],
    ids=["submit", "no id", "a number", "two", "keywords", "no task id", "no tag", "protocol 1"],
)
def test_celery_sees_nothing_that_would_end_it(raw: bytes) -> None:
    assert not is_runnable(raw, PULL)


@pytest.mark.parametrize("kind", ["prune", "gc", "fsck"])
def test_a_kind_that_needs_an_admin_is_refused(kind: str) -> None:
    found = read(message({"id": ID, "spec": {"kind": kind}}), RIGHTS)
    assert isinstance(found, Invalid)
    assert found.error.code == "forbidden"


def test_a_kind_that_is_not_among_those_that_are_set_is_refused() -> None:
    found = read(message({"id": ID, "spec": SPEC}), Rights(kinds=frozenset({"copy"})))
    assert isinstance(found, Invalid)
    assert "TRANSSHIP_BROKER_KINDS" in found.error.hint


def test_its_jobs_see_images_of_its_own() -> None:
    found = read(message({"id": ID, "spec": SPEC}), RIGHTS)
    assert isinstance(found, Submission)
    assert found.tenant == "broker"
