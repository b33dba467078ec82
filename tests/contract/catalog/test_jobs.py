"""Jobs: made, taken up when due, let go, ended, asked to stop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import select

from tests.contract.catalog.scene import HERE, THERE, Scene, named, new_job
from transship.store.catalog.access import credentials
from transship.store.catalog.access.credentials import SealedCredential
from transship.store.catalog.content import blobs
from transship.store.catalog.db.schema import leases
from transship.store.catalog.db.schema import targets as target_rows
from transship.store.catalog.scheduling import children, jobs, targets
from transship.store.catalog.scheduling.admission.job_admission import RESEND_SECONDS
from transship.store.catalog.scheduling.jobs import JobLease
from transship.store.errors import InternalError, LeaseLostError


def _lost(scene: Scene, taker: str) -> JobLease:
    """A lease of "a" on a job that *taker* has taken up since."""
    stale = scene.job("one", owner="a")
    scene.release(stale, again_in=0)
    assert scene.take("one", taker) is not None
    return stale


# --- making --------------------------------------------------------------------------------------


def test_a_new_job_is_due(scene: Scene) -> None:
    scene.submit("one")
    assert scene.is_due("one")


def test_a_new_job_is_its_own_root(scene: Scene) -> None:
    scene.submit("one")
    assert scene.job_row("one").root == "one"


def test_jobs_are_numbered_in_the_order_of_their_making(scene: Scene) -> None:
    for name in ("z", "a", "m"):
        scene.submit(name)
    numbers = [scene.job_row(name).seq for name in ("z", "a", "m")]
    assert numbers == sorted(numbers)


def test_children_made_twice_are_made_once(scene: Scene) -> None:
    scene.submit("parent")
    with scene.catalog.write() as connection:
        first = jobs.create(
            connection,
            [new_job(f"first {key}", parent="parent", child_key=key) for key in "abc"],
            scene.now,
        )
        again = jobs.create(
            connection,
            [new_job(f"again {key}", parent="parent", child_key=key) for key in "abcd"],
            scene.now,
        )
    assert (sorted(first), again) == (["first a", "first b", "first c"], ["again d"])


def test_children_of_two_parents_may_have_the_same_key(scene: Scene) -> None:
    for parent in ("one", "two"):
        scene.submit(parent)
        scene.submit(f"child of {parent}", parent=parent, child_key="latest")
    assert scene.job_row("child of two").child_key == "latest"


def test_children_are_counted_by_state(scene: Scene) -> None:
    scene.submit("parent")
    for name in named("child", 3):
        scene.submit(name, parent="parent", child_key=name)
    lease = scene.take("child/0")
    assert lease is not None
    scene.end(lease)
    with scene.catalog.read() as connection:
        found = children.by_state(connection, "parent")
    assert found == {"queued": 2, "succeeded": 1}


# --- taking up -----------------------------------------------------------------------------------


def test_a_job_is_taken_up_once(scene: Scene) -> None:
    scene.submit("one")
    assert [scene.take("one", owner) is None for owner in ("a", "b")] == [False, True]


def test_a_job_that_is_not_there_is_not_taken_up(scene: Scene) -> None:
    assert scene.take("nobody") is None


def test_a_job_that_waits_is_not_taken_up(scene: Scene) -> None:
    lease = scene.job("one")
    scene.want(lease, "blob")
    scene.release(lease)
    assert scene.take("one") is None


def test_an_ended_job_is_not_taken_up(scene: Scene) -> None:
    scene.end(scene.job("one"))
    assert scene.take("one") is None


def test_a_late_bell_does_not_cut_short_the_time_between_tries(scene: Scene) -> None:
    scene.release(scene.job("one"), again_in=30)
    scene.now += 29
    assert scene.take("one") is None
    scene.now += 1
    assert scene.take("one") is not None


def test_each_claim_of_a_job_raises_the_fence(scene: Scene) -> None:
    first = scene.job("one")
    scene.release(first, again_in=0)
    second = scene.take("one")
    assert second is not None
    assert second.fence == first.fence + 1


def test_when_a_job_first_ran_is_kept(scene: Scene) -> None:
    lease = scene.job("one")
    began = scene.now
    scene.release(lease, again_in=0)
    scene.now += 50
    scene.take("one")
    assert scene.job_row("one").started_at == began


def test_what_an_advance_fixed_is_there_for_the_next(scene: Scene) -> None:
    lease = scene.job("one")
    with scene.catalog.write() as connection:
        jobs.save(connection, lease, checkpoint={"root": "sha256:ab"})
    scene.release(lease, again_in=0)
    again = scene.take("one")
    assert again is not None
    assert again.checkpoint == {"root": "sha256:ab"}


# --- the fence -----------------------------------------------------------------------------------


def _save(scene: Scene, lease: JobLease) -> None:
    with scene.catalog.write() as connection:
        jobs.save(connection, lease, checkpoint={"mine": True})


@pytest.mark.parametrize(
    "write",
    [
        _save,
        lambda scene, lease: scene.release(lease),
        lambda scene, lease: scene.release(lease, again_in=1),
        lambda scene, lease: scene.end(lease),
    ],
    ids=["save", "release", "release for a time", "finish"],
)
@pytest.mark.parametrize("taker", ["b", "a"], ids=["another", "the same anew"])
def test_a_stale_owner_of_a_job_writes_nothing(
    scene: Scene, write: Callable[[Scene, JobLease], None], taker: str
) -> None:
    stale = _lost(scene, taker)
    before = scene.job_row("one")
    with pytest.raises(LeaseLostError):
        write(scene, stale)
    assert scene.job_row("one") == before


def test_an_ended_job_is_not_written_again(scene: Scene) -> None:
    lease = scene.job("one")
    scene.end(lease)
    with pytest.raises(LeaseLostError):
        scene.end(lease, "failed")


# --- letting go ----------------------------------------------------------------------------------


def test_a_job_that_waits_for_a_transfer_is_not_due(scene: Scene) -> None:
    lease = scene.job("one")
    scene.want(lease, "blob")
    scene.release(lease)
    assert not scene.is_due("one")


def test_a_job_that_waits_for_a_child_is_not_due(scene: Scene) -> None:
    lease = scene.job("parent")
    scene.submit("child", parent="parent", child_key="a")
    scene.release(lease)
    assert not scene.is_due("parent")


def test_a_job_that_waits_for_nothing_is_due_whatever_it_thought(scene: Scene) -> None:
    scene.release(scene.job("one"))
    assert scene.is_due("one")


def test_what_woke_a_job_while_it_was_held_is_not_forgotten(scene: Scene) -> None:
    lease = scene.job("one")
    scene.want(lease, "first", "second")
    scene.fail(scene.running("first"))
    scene.release(lease)
    assert scene.is_due("one")


def test_a_job_let_go_for_a_time_is_rung_after_it(scene: Scene) -> None:
    scene.release(scene.job("one"), again_in=30)
    scene.now += 29
    assert scene.dispatched() == []
    scene.now += 1
    assert scene.dispatched() == ["one"]


def test_a_job_does_not_wait_longer_because_the_clock_was_set_back(scene: Scene) -> None:
    scene.release(scene.job("one"), again_in=30)
    scene.now -= 3600
    assert scene.dispatched() == ["one"]


# --- ringing -------------------------------------------------------------------------------------


def _many(scene: Scene, prefix: str, count: int, **fields: Any) -> None:
    for name in named(prefix, count):
        scene.submit(name, **fields)


def test_a_job_that_was_rung_is_left_alone_for_a_while(scene: Scene) -> None:
    scene.submit("one")
    assert scene.dispatched() == ["one"]
    scene.now += RESEND_SECONDS - 1
    assert scene.dispatched() == []


def test_a_job_that_nobody_took_up_is_rung_again(scene: Scene) -> None:
    scene.submit("one")
    scene.dispatched()
    scene.now += RESEND_SECONDS
    assert scene.dispatched() == ["one"]


def test_a_job_is_rung_again_although_the_clock_was_set_back(scene: Scene) -> None:
    scene.submit("one")
    scene.dispatched()
    scene.now -= 86_400
    assert scene.dispatched() == ["one"]


def test_nothing_is_rung_without_control_threads(scene: Scene) -> None:
    scene.no_workers()
    scene.worker("mover", downloads=16)
    scene.submit("one")
    assert scene.dispatched() == []


@pytest.fixture
def eight(scene: Scene) -> Scene:
    """A worker of eight control threads."""
    scene.no_workers()
    scene.worker("eight", control=8)
    return scene


def test_no_more_jobs_are_out_than_there_are_threads(eight: Scene) -> None:
    for number in range(20):
        eight.submit(f"pull {number}", registry=f"r{number}.test")
    assert len(eight.dispatched()) == 8


def test_jobs_that_run_count_as_out(eight: Scene) -> None:
    _many(eight, "here", 4)
    for name in eight.dispatched():
        assert eight.take(name) is not None
    eight.now += 10 * RESEND_SECONDS
    _many(eight, "there", 20, registry=THERE)
    assert len(eight.dispatched()) == 2


def test_a_registry_holds_no_more_threads_than_it_leaves_to_others(eight: Scene) -> None:
    """So that there is one for the next, however many of them do not answer."""
    held = []
    for registry in ("one.test", "two.test", "three.test", "four.test"):
        _many(eight, registry, 20, registry=registry)
        held.append(len(eight.dispatched()))
    assert held == [4, 2, 1, 1]


def test_one_registry_leaves_room_for_another_that_comes_later(eight: Scene) -> None:
    _many(eight, "here", 20)
    eight.dispatched()
    _many(eight, "there", 2, registry=THERE)
    assert eight.dispatched() == ["there/0", "there/1"]


def test_a_quarter_of_the_threads_is_kept_from_low_priorities(eight: Scene) -> None:
    _many(eight, "here", 20, priority=-10)
    _many(eight, "there", 20, priority=-10, registry=THERE)
    assert len(eight.dispatched()) == 6


def test_priority_0_finds_room_beside_low_priorities(eight: Scene) -> None:
    for number in range(20):
        eight.submit(f"low {number}", priority=-10, registry=f"r{number}.test")
    assert len(eight.dispatched()) == 6
    eight.submit("one")
    eight.submit("two", registry=THERE)
    assert eight.dispatched() == ["one", "two"]


def test_a_single_thread_serves_low_priorities_too(scene: Scene) -> None:
    scene.no_workers()
    scene.worker("lonely", control=1)
    scene.submit("one", priority=-10)
    assert scene.dispatched() == ["one"]


def test_the_higher_priority_is_rung_first(scene: Scene) -> None:
    scene.no_workers()
    scene.worker("lonely", control=1)
    scene.submit("low")
    scene.submit("high", priority=5)
    assert scene.dispatched() == ["high"]


def test_a_late_job_is_rung_in_turns_with_the_children_of_a_mirror(scene: Scene) -> None:
    scene.no_workers()
    scene.worker("four", control=4)  # two of them for one registry
    scene.submit("mirror", registry=THERE)
    _many(scene, "child", 20, root="mirror")
    scene.submit("pull")
    assert sorted(scene.dispatched()) == ["child/0", "mirror", "pull"]


def test_many_due_jobs_of_a_full_registry_do_not_hide_those_of_another(eight: Scene) -> None:
    _many(eight, "here", 100, priority=1)
    eight.submit("there", registry=THERE)
    assert "there" in eight.dispatched()


def test_no_job_is_rung_twice_in_one_go(eight: Scene) -> None:
    eight.submit("there", registry=THERE)
    _many(eight, "here", 100)
    assert sorted(eight.dispatched()) == ["here/0", "here/1", "here/2", "here/3", "there"]


# --- ends ----------------------------------------------------------------------------------------


def test_the_end_of_a_job_is_written_down(scene: Scene) -> None:
    lease = scene.job("one")
    scene.now += 5
    scene.end(lease, result={"digest": "sha256:ab"})
    row = scene.job_row("one")
    assert (row.state, row.finished_at, row.owner, row.result) == (
        "succeeded",
        scene.now,
        None,
        {"digest": "sha256:ab"},
    )


def test_a_failure_is_written_down_with_the_attempts_made(scene: Scene) -> None:
    lease = scene.job("one")
    lease.attempts = 2
    scene.end(lease, "failed", error=InternalError("broke", subject="it"))
    error = scene.job_row("one").error
    assert (error["code"], error["subject"], error["attempts"]) == ("internal", "it", 3)


def test_an_ended_job_holds_no_blobs(scene: Scene) -> None:
    lease = scene.job("one")
    with scene.catalog.write() as connection:
        blobs.lease(connection, "one", named("blob", 3))
        blobs.lease(connection, "other", ["blob/0"])
    scene.end(lease)
    with scene.catalog.read() as connection:
        held = connection.execute(select(leases.c.holder)).scalars().all()
    assert held == ["other"]


def test_the_last_child_to_end_wakes_the_parent(scene: Scene) -> None:
    parent = scene.job("parent")
    children = [
        scene.job(name, parent="parent", child_key=name, root="parent")
        for name in named("child", 2)
    ]
    scene.release(parent)
    scene.end(children[0])
    assert not scene.is_due("parent")
    scene.end(children[1], "failed")
    assert scene.is_due("parent")


def _keep(scene: Scene, root: str) -> None:
    with scene.catalog.write() as connection:
        credentials.keep(connection, root, [SealedCredential(HERE, "sealed", "me")])


def _kept(scene: Scene, root: str) -> bool:
    with scene.catalog.read() as connection:
        return bool(credentials.of_root(connection, root))


def test_credentials_go_with_the_job(scene: Scene) -> None:
    lease = scene.job("one")
    _keep(scene, "one")
    scene.end(lease)
    assert not _kept(scene, "one")


def test_credentials_stay_while_a_child_needs_them(scene: Scene) -> None:
    parent = scene.job("parent")
    child = scene.job("child", parent="parent", child_key="a", root="parent")
    _keep(scene, "parent")
    scene.end(parent, "failed")
    assert _kept(scene, "parent")
    scene.end(child)
    assert not _kept(scene, "parent")


# --- stops ---------------------------------------------------------------------------------------


def test_a_job_that_nobody_holds_is_stopped_at_once(scene: Scene) -> None:
    scene.submit("one")
    assert scene.stop("one") == ["one"]
    assert scene.job_row("one").state == "cancelled"


def test_a_held_job_is_asked_to_stop(scene: Scene) -> None:
    scene.job("one")
    assert scene.stop("one") == []
    row = scene.job_row("one")
    assert (row.state, row.stop_requested) == ("running", "cancelled")


def test_a_job_that_is_asked_to_stop_does_not_wait_for_its_next_try(scene: Scene) -> None:
    scene.release(scene.job("one"), again_in=3600)
    assert scene.stop("one") == ["one"]


def test_a_held_job_that_was_asked_to_stop_is_due_when_it_is_let_go(scene: Scene) -> None:
    lease = scene.job("one")
    scene.want(lease, "blob")
    scene.stop("one")
    scene.release(lease)
    assert scene.dispatched() == ["one"]


def test_children_are_stopped_with_their_parent(scene: Scene) -> None:
    lease = scene.job("parent")
    scene.submit("waiting", parent="parent", child_key="a")
    scene.job("held", parent="parent", child_key="b")
    scene.release(lease)
    assert sorted(scene.stop("parent")) == ["parent", "waiting"]
    assert scene.job_row("held").stop_requested == "cancelled"


def test_an_ended_job_is_not_stopped(scene: Scene) -> None:
    scene.end(scene.job("one"))
    scene.stop("one")
    assert scene.job_row("one").state == "succeeded"


def test_stopping_a_job_stops_what_it_alone_waited_for(scene: Scene) -> None:
    lease = scene.job("one")
    scene.want(lease, "blob")
    scene.release(lease)
    scene.stop("one")
    assert scene.transfer("blob").state == "cancelled"


def test_a_stopped_job_frees_what_it_held(scene: Scene) -> None:
    lease = scene.job("one")
    _keep(scene, "one")
    scene.want(lease, "blob")
    with scene.catalog.write() as connection:
        targets.hold(connection, [(lease, "a tag")])
        blobs.lease(connection, "one", ["blob"])
    scene.release(lease)
    scene.stop("one")
    with scene.catalog.read() as connection:
        holder = connection.execute(select(target_rows.c.holder)).scalar_one()
        leased = connection.execute(select(leases)).all()
    assert (holder, leased, _kept(scene, "one")) == (None, [], False)


def _late(scene: Scene) -> list[str]:
    with scene.catalog.read() as connection:
        return jobs.past_deadline(connection, scene.now, limit=100)


def test_a_job_is_late_from_its_deadline_on(scene: Scene) -> None:
    scene.submit("one", deadline=scene.now + 10)
    scene.submit("without")
    scene.now += 9
    assert _late(scene) == []
    scene.now += 1
    assert _late(scene) == ["one"]


def test_a_late_job_is_asked_once(scene: Scene) -> None:
    scene.job("one", deadline=scene.now)
    scene.stop("one", "deadline-exceeded")
    assert _late(scene) == []


def test_a_late_job_has_failed_and_says_why(scene: Scene) -> None:
    scene.submit("one", deadline=scene.now)
    scene.stop("one", "deadline-exceeded")
    row = scene.job_row("one")
    assert (row.state, row.error["code"]) == ("failed", "deadline-exceeded")


def test_a_cancelled_job_has_no_error(scene: Scene) -> None:
    scene.submit("one")
    scene.stop("one")
    assert scene.job_row("one").error is None


# --- targets -------------------------------------------------------------------------------------


def _hold(scene: Scene, lease: JobLease) -> str | None:
    with scene.catalog.write() as connection:
        (answer,) = targets.hold(connection, [(lease, "there.test/app:1")])
    return answer


def _write(scene: Scene, lease: JobLease) -> None:
    with scene.catalog.write() as connection:
        targets.written(connection, [(lease, "there.test/app:1")])


def test_a_free_target_is_held(scene: Scene) -> None:
    assert _hold(scene, scene.job("one")) is None


def test_holding_a_target_twice_is_holding_it_once(scene: Scene) -> None:
    lease = scene.job("one")
    assert [_hold(scene, lease), _hold(scene, lease)] == [None, None]


def test_one_job_at_a_time_holds_a_target(scene: Scene) -> None:
    _hold(scene, scene.job("one"))
    assert _hold(scene, scene.job("two")) == ""


def test_another_target_is_another_matter(scene: Scene) -> None:
    one, two = scene.job("one"), scene.job("two")
    _hold(scene, one)
    with scene.catalog.write() as connection:
        assert targets.hold(connection, [(two, "there.test/app:2")]) == [None]


def test_a_written_target_is_free_for_a_newer_job(scene: Scene) -> None:
    one, two = scene.job("one"), scene.job("two")
    _hold(scene, one)
    _write(scene, one)
    assert _hold(scene, two) is None


def test_a_target_is_free_when_its_holder_has_ended(scene: Scene) -> None:
    one = scene.job("one")
    _hold(scene, one)
    scene.end(one, "failed")
    assert _hold(scene, scene.job("two")) is None


def test_an_older_job_never_overwrites_what_a_newer_one_wrote(scene: Scene) -> None:
    older, newer = scene.job("older"), scene.job("newer")
    _hold(scene, newer)
    _write(scene, newer)
    assert _hold(scene, older) == "newer"


def test_a_job_that_wrote_may_write_again(scene: Scene) -> None:
    lease = scene.job("one")
    _hold(scene, lease)
    _write(scene, lease)
    assert _hold(scene, lease) is None


def test_who_does_not_hold_a_target_has_not_written_it(scene: Scene) -> None:
    one, two = scene.job("one"), scene.job("two")
    _hold(scene, one)
    _write(scene, two)
    with scene.catalog.read() as connection:
        assert connection.execute(select(target_rows.c.written_seq)).scalar_one() == 0


# --- what became of a source ---------------------------------------------------------------------


def test_what_a_source_became_is_remembered_for_each_transform(scene: Scene) -> None:
    with scene.catalog.write() as connection:
        targets.record_derivation(connection, "source", "platforms=a", "first", scene.now)
        targets.record_derivation(connection, "source", "platforms=a", "second", scene.now)
        found = [
            targets.derived(connection, "source", transform)
            for transform in ("platforms=a", "platforms=b")
        ]
    assert found == ["second", None]
