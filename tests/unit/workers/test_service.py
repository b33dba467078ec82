"""The door for the API: submit, cancel, retry."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet
from sqlalchemy import select

from tests.contract.catalog.prepared import prepared_sqlite
from tests.contract.catalog.scene import Scene
from transship.store.catalog.access import credentials
from transship.store.catalog.access.credentials import NamedCredential, SealedCredential, Sealer
from transship.store.catalog.access.tenants import HOUSE
from transship.store.catalog.db.engine import Catalog
from transship.store.catalog.db.schema import jobs as job_rows
from transship.store.catalog.scheduling import jobs, mirrors
from transship.store.errors import (
    ConflictError,
    CredentialsNeededError,
    NotFoundError,
    TransshipError,
)
from transship.store.oci.platform import Platform
from transship.workers.jobs.service import JobService
from transship.workers.jobs.submission import Submission
from transship.workers.registry.auth.credentials import Credential
from transship.workers.runtime.wire import DISPATCH, Message, Queue, TaskEvent
from transship.workers.specs import as_json, parse_spec

PULL: dict[str, Any] = {"kind": "pull", "reference": "here.test/app:1"}
MIRROR: dict[str, Any] = {
    "kind": "mirror",
    "source": "here.test/app",
    "destination": "there.test/app",
}
ANN = Credential("ann", "pass-word")
SEALER = Sealer(Fernet.generate_key().decode())


class Recorder:
    """A wire that remembers what was published and announced."""

    broker: str | None = None

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.announced: list[str] = []
        self.events: list[TaskEvent] = []

    def publish(self, messages: Iterable[Message]) -> None:
        self.messages += messages

    def reachable(self) -> bool:
        return True

    def announce(self, jobs: Iterable[str]) -> None:
        self.announced += jobs

    def report(self, events: Iterable[TaskEvent]) -> None:
        self.events += events

    def listen(self, on_job: Callable[[str], None]) -> Callable[[], None]:
        return lambda: None


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    made = Catalog(prepared_sqlite(tmp_path))
    yield made
    made.close()


@pytest.fixture
def scene(catalog: Catalog) -> Scene:
    scene = Scene(catalog, now=2e9)
    scene.worker("a worker", control=8)
    return scene


@pytest.fixture
def wire() -> Recorder:
    return Recorder()


@pytest.fixture
def queue(catalog: Catalog, scene: Scene, wire: Recorder) -> JobService:
    return JobService(catalog, SEALER, wire, Platform("linux", "arm64"))


def _submit(
    queue: JobService, spec: dict[str, Any] = PULL, *, by: str = "ada", **more: Any
) -> str | TransshipError:
    given = {"tenant": HOUSE, **more}
    (answer,) = queue.submit([Submission(spec=parse_spec(spec), requested_by=by, **given)])
    return answer


def _job(queue: JobService, spec: dict[str, Any] = PULL, **more: Any) -> str:
    answer = _submit(queue, spec, **more)
    assert isinstance(answer, str)
    return answer


# --- submitting ----------------------------------------------------------------------------------


def test_what_was_asked_for_is_on_record(queue: JobService, scene: Scene) -> None:
    row = scene.job_row(_job(queue, {**PULL, "priority": 7, "all_platforms": True}))
    assert (row.kind, row.state, row.priority, row.label, row.registry, row.requested_by) == (
        "pull",
        "queued",
        7,
        "here.test/app:1",
        "here.test",
        "ada",
    )


def test_platforms_that_were_not_given_are_settled_at_once(queue: JobService, scene: Scene) -> None:
    assert scene.job_row(_job(queue)).spec["platforms"] == ["linux/arm64"]


def test_a_new_job_is_rung_once(queue: JobService, wire: Recorder) -> None:
    made = _job(queue)
    assert wire.messages == [Message(Queue.CONTROL, DISPATCH, made, "pull here.test/app:1")]


def test_the_caller_hears_of_the_commit_before_anybody_rings(
    queue: JobService, wire: Recorder, scene: Scene
) -> None:
    heard: list[Any] = []

    def committed(answers: list[str | TransshipError]) -> None:
        heard.append((scene.job_row(str(answers[0])).state, list(wire.messages)))

    queue.submit([Submission(spec=parse_spec(PULL), requested_by="ada", tenant=HOUSE)], committed)
    assert heard == [("queued", [])]


def test_a_deadline_counts_from_the_submission(queue: JobService, scene: Scene) -> None:
    row = scene.job_row(_job(queue, {**PULL, "deadline": 60}))
    assert row.deadline == row.created_at + 60


def test_without_a_deadline_there_is_none(queue: JobService, scene: Scene) -> None:
    assert scene.job_row(_job(queue)).deadline is None


# --- the same again ------------------------------------------------------------------------------


def test_the_same_key_and_body_give_the_same_job(queue: JobService) -> None:
    assert _job(queue, idempotency_key="k") == _job(queue, idempotency_key="k")


def test_the_same_twice_in_one_go_is_one_job(queue: JobService) -> None:
    both = [
        Submission(spec=parse_spec(PULL), requested_by="ada", tenant=HOUSE, idempotency_key="k")
        for _ in range(2)
    ]
    first, second = queue.submit(both)
    assert first == second


def test_the_same_key_with_another_body_is_a_conflict(queue: JobService) -> None:
    _job(queue, idempotency_key="k")
    answer = _submit(queue, {**PULL, "priority": 1}, idempotency_key="k")
    assert isinstance(answer, ConflictError)


def test_a_conflict_does_not_keep_others_from_being_made(queue: JobService, scene: Scene) -> None:
    _job(queue, idempotency_key="k")
    answers = queue.submit(
        [
            Submission(
                spec=parse_spec({**PULL, "priority": 1}),
                requested_by="ada",
                tenant=HOUSE,
                idempotency_key="k",
            ),
            Submission(spec=parse_spec(MIRROR), requested_by="ada", tenant=HOUSE),
        ]
    )
    assert scene.job_row(str(answers[1])).kind == "mirror"


def test_a_key_belongs_to_who_used_it(queue: JobService) -> None:
    assert _job(queue, idempotency_key="k") != _job(queue, by="bob", idempotency_key="k")


def test_without_a_key_each_request_is_a_job(queue: JobService) -> None:
    assert _job(queue) != _job(queue)


# --- credentials ---------------------------------------------------------------------------------


def _kept(scene: Scene, root: str) -> dict[str, dict[str, Any]]:
    with scene.catalog.read() as connection:
        found = credentials.of_root(connection, root)
    return {host: SEALER.open(one.sealed) for host, one in found.items()}


def test_credentials_are_kept_for_the_registries_of_the_job_only(
    queue: JobService, scene: Scene
) -> None:
    made = _job(queue, credentials={"here.test": ANN, "elsewhere.test": ANN})
    assert _kept(scene, made).keys() == {"here.test"}


def test_credentials_come_back_as_they_were_given(queue: JobService, scene: Scene) -> None:
    made = _job(queue, credentials={"here.test": ANN})
    assert Credential(**_kept(scene, made)["here.test"]) == ANN


def test_no_secret_is_in_the_row_or_in_the_message(
    queue: JobService, scene: Scene, wire: Recorder
) -> None:
    made = _job(queue, credentials={"here.test": ANN})
    assert "pass-word" not in f"{scene.job_row(made)} {wire.messages}"


# --- cancelling ----------------------------------------------------------------------------------


def test_a_job_that_waits_is_cancelled_at_once(queue: JobService, scene: Scene) -> None:
    made = _job(queue)
    queue.cancel(made)
    assert scene.job_row(made).state == "cancelled"


def test_who_waits_for_a_job_hears_that_it_was_cancelled(queue: JobService, wire: Recorder) -> None:
    made = _job(queue)
    queue.cancel(made)
    assert made in wire.announced


def test_cancelling_an_ended_job_changes_nothing(queue: JobService, scene: Scene) -> None:
    lease = scene.take(_job(queue))
    assert lease is not None
    scene.end(lease)
    queue.cancel(lease.id)
    assert scene.job_row(lease.id).state == "succeeded"


def test_a_job_that_is_not_there_cannot_be_cancelled(queue: JobService) -> None:
    with pytest.raises(NotFoundError, match="nobody"):
        queue.cancel("nobody")


# --- once more -----------------------------------------------------------------------------------


def _ended(scene: Scene, made: str, state: str = "failed") -> str:
    lease = scene.take(made)
    assert lease is not None
    scene.end(lease, state)
    return made


def test_a_retry_is_a_new_job_that_names_the_first(queue: JobService, scene: Scene) -> None:
    first = _ended(scene, _job(queue, {**PULL, "priority": 3}))
    row = scene.job_row(queue.retry(first, requested_by="bob", tenant=HOUSE))
    assert (row.retry_of, row.state, row.priority, row.requested_by) == (first, "queued", 3, "bob")


def test_the_first_job_stays_on_record(queue: JobService, scene: Scene) -> None:
    first = _ended(scene, _job(queue))
    before = scene.job_row(first)
    queue.retry(first, requested_by="ada", tenant=HOUSE)
    assert scene.job_row(first) == before


def test_a_job_that_has_not_ended_is_not_retried(queue: JobService) -> None:
    with pytest.raises(ConflictError, match="not ended"):
        queue.retry(_job(queue), requested_by="ada", tenant=HOUSE)


def test_a_job_that_is_not_there_cannot_be_retried(queue: JobService) -> None:
    with pytest.raises(NotFoundError):
        queue.retry("nobody", requested_by="ada", tenant=HOUSE)


def test_a_retry_asks_again_for_the_credentials_of_the_first(
    queue: JobService, scene: Scene
) -> None:
    first = _ended(scene, _job(queue, credentials={"here.test": ANN}))
    with pytest.raises(CredentialsNeededError, match=r"here\.test"):
        queue.retry(first, requested_by="ada", tenant=HOUSE)


def test_a_retry_uses_the_credentials_that_it_is_given(queue: JobService, scene: Scene) -> None:
    first = _ended(scene, _job(queue, credentials={"here.test": ANN}))
    again = queue.retry(first, requested_by="ada", tenant=HOUSE, given={"here.test": ANN})
    assert _kept(scene, again).keys() == {"here.test"}


def _mirror(queue: JobService, scene: Scene, *, had_all: bool = True, **children: str) -> str:
    """A mirror that has failed, with a child in the given state for each tag."""
    return _fail(scene, _job(queue, MIRROR), had_all=had_all, **children)


def _fail(scene: Scene, id_: str, *, had_all: bool = True, **children: str) -> str:
    parent = scene.take(id_)
    assert parent is not None
    for tag, state in children.items():
        child = scene.job(f"child {tag}", parent=parent.id, child_key=tag, root=parent.id)
        scene.end(child, state)
    if had_all:
        with scene.catalog.write() as connection:
            jobs.save(connection, parent, checkpoint={**parent.checkpoint, "children_made": True})
    scene.end(parent, "failed")
    return parent.id


def test_of_a_mirror_only_the_children_that_failed_are_retried(
    queue: JobService, scene: Scene
) -> None:
    first = _mirror(queue, scene, good="succeeded", bad="failed", stopped="cancelled")
    row = scene.job_row(queue.retry(first, requested_by="ada", tenant=HOUSE))
    assert sorted(row.spec["tags"]) == ["bad", "stopped"]


def test_a_mirror_that_failed_before_it_had_children_is_retried_whole(
    queue: JobService, scene: Scene
) -> None:
    first = _mirror(queue, scene)
    assert scene.job_row(queue.retry(first, requested_by="ada", tenant=HOUSE)).spec["tags"] == []


def test_a_mirror_that_ended_before_it_had_all_its_children_is_retried_whole(
    queue: JobService, scene: Scene
) -> None:
    first = _mirror(queue, scene, had_all=False, good="succeeded", stopped="cancelled")
    assert scene.job_row(queue.retry(first, requested_by="ada", tenant=HOUSE)).spec["tags"] == []


def test_the_same_key_gives_the_same_retry(queue: JobService, scene: Scene) -> None:
    first, other = _ended(scene, _job(queue)), _ended(scene, _job(queue))
    again = queue.retry(first, requested_by="ada", tenant=HOUSE, idempotency_key="k")
    assert queue.retry(first, requested_by="ada", tenant=HOUSE, idempotency_key="k") == again
    assert queue.retry(first, requested_by="ada", tenant=HOUSE) != again
    with pytest.raises(ConflictError, match="another request"):
        queue.retry(other, requested_by="ada", tenant=HOUSE, idempotency_key="k")
    assert isinstance(_submit(queue, idempotency_key="k"), ConflictError)


def _run(queue: JobService, scene: Scene) -> str:
    """A run of a stored mirror that has failed, for want of one image."""
    with scene.catalog.write() as connection:
        sealed = SealedCredential("here.test", SEALER.seal(asdict(ANN)), "f")
        credentials.keep_named(connection, NamedCredential("ann", sealed, 0))
        spec = as_json(parse_spec(MIRROR))
        mirrors.put(connection, "nightly", spec=spec, interval=3600, enabled=True, now=scene.now)
    id_ = queue.run_mirror("nightly", requested_by="ada")
    return _fail(scene, id_, good="succeeded", bad="failed")


def test_what_was_a_run_of_a_stored_mirror_is_one_again(queue: JobService, scene: Scene) -> None:
    first = _run(queue, scene)
    again = queue.retry(first, requested_by="bob", tenant=HOUSE, idempotency_key="k")
    row = scene.job_row(again)
    assert (row.spec["tags"], row.retry_of, row.requested_by) == (["bad"], first, "bob")
    assert row.label.startswith("nightly: ")
    assert _kept(scene, again).keys() == {"here.test"}
    with scene.catalog.read() as connection:
        assert mirrors.running(connection, "nightly") == again
    assert queue.retry(first, requested_by="bob", tenant=HOUSE, idempotency_key="k") == again
    with pytest.raises(ConflictError, match="under way"):
        queue.retry(first, requested_by="bob", tenant=HOUSE)
    with pytest.raises(ConflictError, match="under way"):
        queue.run_mirror("nightly", requested_by="ada")


def test_a_run_whose_mirror_was_removed_is_retried_as_any_job(
    queue: JobService, scene: Scene
) -> None:
    first = _run(queue, scene)
    with scene.catalog.write() as connection:
        mirrors.remove(connection, "nightly")
    with pytest.raises(CredentialsNeededError):
        queue.retry(first, requested_by="bob", tenant=HOUSE)
    assert queue.retry(first, requested_by="bob", tenant=HOUSE, may_use=None)


def test_a_mirror_of_which_everything_succeeded_is_not_retried(
    queue: JobService, scene: Scene
) -> None:
    first = _mirror(queue, scene, good="succeeded")
    with pytest.raises(ConflictError, match="every image"):
        queue.retry(first, requested_by="ada", tenant=HOUSE)


def test_a_refused_retry_makes_no_job(queue: JobService, scene: Scene) -> None:
    first = _mirror(queue, scene, good="succeeded")
    with pytest.raises(ConflictError):
        queue.retry(first, requested_by="ada", tenant=HOUSE)
    with scene.catalog.read() as connection:
        found = connection.execute(select(job_rows.c.id).where(job_rows.c.retry_of == first)).all()
    assert found == []


# --- URLs that open what they lead to -------------------------------------------------------------

SIGNED = "https://ann:pass-word@files.test/root.tar?signature=SECRET#SECRET"
IMPORT = {"kind": "import", "url": SIGNED, "reference": "app:1"}


def test_a_signed_url_is_sealed_beside_the_job(
    queue: JobService, scene: Scene, wire: Recorder
) -> None:
    made = _job(queue, IMPORT)
    row = scene.job_row(made)
    assert row.spec["url"] == "https://files.test/root.tar"
    assert "SECRET" not in f"{row} {wire.messages}"
    assert "pass-word" not in f"{row} {wire.messages}"
    with scene.catalog.read() as connection:
        sealed = credentials.url_of(connection, made)
        assert credentials.of_root(connection, made) == {}
    assert sealed is not None
    assert SEALER.open(sealed) == {"url": SIGNED}


def test_another_signature_is_another_request(queue: JobService) -> None:
    _job(queue, IMPORT, idempotency_key="k")
    answer = _submit(queue, {**IMPORT, "url": f"{SIGNED}2"}, idempotency_key="k")
    assert isinstance(answer, ConflictError)


def test_a_plain_url_is_kept_as_it_is(queue: JobService, scene: Scene) -> None:
    made = _job(queue, {**IMPORT, "url": "https://files.test/root.tar"})
    with scene.catalog.read() as connection:
        assert credentials.url_of(connection, made) is None


def test_a_signed_url_is_gone_when_the_job_has_ended(queue: JobService, scene: Scene) -> None:
    first = _ended(scene, _job(queue, IMPORT))
    with scene.catalog.read() as connection:
        assert credentials.url_of(connection, first) is None
    with pytest.raises(CredentialsNeededError, match="its URL"):
        queue.retry(first, requested_by="ada", tenant=HOUSE)
