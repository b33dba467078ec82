"""What jobs wait for: wanted, joined, told of its end, let go of."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import event, insert, select, text

from tests.contract.catalog.scene import FAILURE, HERE, THERE, Scene, named, new_job
from transship.store.catalog.db.schema import TRANSFER_ACTIVE, waits
from transship.store.catalog.db.schema import transfers as rows
from transship.store.catalog.scheduling import jobs
from transship.store.catalog.scheduling.waits import MAX_TOLD, WaitState, tell_more
from transship.store.errors import LeaseLostError


def _active(scene: Scene) -> int:
    with scene.catalog.read() as connection:
        return len(connection.execute(select(rows.c.id).where(text(TRANSFER_ACTIVE))).all())


# --- wanting and joining -------------------------------------------------------------------------


def test_a_blob_wanted_by_two_jobs_is_one_transfer(scene: Scene) -> None:
    for name in ("one", "two"):
        scene.want(scene.job(name), "blob")
    assert _active(scene) == 1


def test_a_blob_wanted_from_two_registries_is_one_download(scene: Scene) -> None:
    scene.want(scene.job("one"), "blob")
    scene.want(scene.job("two"), "blob", registry=THERE)
    assert _active(scene) == 1


@pytest.mark.parametrize("elsewhere", [{"registry": THERE}, {"repository": "other"}])
def test_a_blob_to_be_sent_to_two_places_is_two_uploads(
    scene: Scene, elsewhere: dict[str, str]
) -> None:
    scene.want(scene.job("one"), "blob", direction="upload")
    scene.want(scene.job("two"), "blob", direction="upload", **elsewhere)
    assert _active(scene) == 2


def test_wanting_twice_is_wanting_once(scene: Scene) -> None:
    lease = scene.job("one")
    scene.want(lease, "blob")
    before = scene.transfer("blob")
    scene.want(lease, "blob")
    assert scene.transfer("blob") == before
    assert len(scene.waits_of("one")) == 1


def test_an_ended_transfer_is_not_joined(scene: Scene) -> None:
    scene.want(scene.job("one"), "blob")
    scene.fail(scene.running("blob"))
    scene.want(scene.job("two"), "blob")
    assert scene.transfers_of("blob") == 2


def test_joining_raises_the_priority(scene: Scene) -> None:
    scene.want(scene.job("low", priority=-10), "blob")
    scene.want(scene.job("high", priority=7), "blob")
    assert scene.transfer("blob").priority == 7


def test_joining_does_not_lower_the_priority(scene: Scene) -> None:
    scene.want(scene.job("high", priority=7), "blob")
    scene.want(scene.job("low", priority=-10), "blob")
    assert scene.transfer("blob").priority == 7


def test_joining_gives_the_earlier_turn(scene: Scene) -> None:
    scene.want(scene.job("mirror"), *named("mirror", 50))
    assert scene.transfer("mirror/49").turn == 49
    scene.want(scene.job("pull"), "mirror/49")
    assert scene.transfer("mirror/49").turn == 0


def test_joining_does_not_give_a_later_turn(scene: Scene) -> None:
    scene.want(scene.job("one"), "blob")
    late = scene.job("late")
    scene.want(late, *named("late", 50))
    scene.want(late, "blob")
    assert scene.transfer("blob").turn == 0


def test_joining_takes_back_a_request_to_stop(scene: Scene) -> None:
    lease = scene.job("one")
    scene.want(lease, "blob")
    claim = scene.running("blob")
    scene.end(lease, "cancelled")
    assert scene.beat(claim) is True
    scene.want(scene.job("two"), "blob")
    assert scene.beat(claim) is False


def test_a_job_that_is_held_by_another_cannot_want_anything(scene: Scene) -> None:
    lease = scene.job("one")
    scene.reap("job", "one", lease.fence)
    with pytest.raises(LeaseLostError):
        scene.want(lease, "blob")
    assert _active(scene) == 0


def test_a_download_that_arrived_meanwhile_is_not_wanted_again(scene: Scene) -> None:
    scene.want(scene.job("one"), "blob")
    scene.complete(scene.running("blob"))
    scene.want(scene.job("two"), "blob")
    assert scene.transfers_of("blob") == 1


def test_a_download_that_arrived_meanwhile_makes_the_job_due(scene: Scene) -> None:
    scene.want(scene.job("one"), "blob")
    scene.complete(scene.running("blob"))
    late = scene.job("two")
    scene.want(late, "blob")
    assert scene.is_due("two")


def test_an_upload_that_was_done_since_the_job_looked_is_not_wanted_again(scene: Scene) -> None:
    scene.want(scene.job("one"), "blob", direction="upload")
    scene.complete(scene.running("blob", direction="upload"))
    late = scene.job("two")
    scene.want(late, "blob", direction="upload", absent_at=scene.now - 1)
    assert scene.transfers_of("blob") == 1
    assert scene.is_due("two")


def test_an_upload_that_was_done_before_the_job_looked_is_wanted(scene: Scene) -> None:
    """The registry has lost it since."""
    scene.want(scene.job("one"), "blob", direction="upload")
    scene.complete(scene.running("blob", direction="upload"))
    scene.now += 10
    scene.want(scene.job("two"), "blob", direction="upload", absent_at=scene.now)
    assert scene.transfers_of("blob") == 2


# --- being told ----------------------------------------------------------------------------------


def test_completing_ends_all_waits_without_an_error(scene: Scene) -> None:
    for name in ("one", "two"):
        scene.want(scene.job(name), "blob")
    scene.complete(scene.running("blob"))
    done = [WaitState("download", "blob", ended=True, error=None)]
    assert (scene.waits_of("one"), scene.waits_of("two")) == (done, done)


def test_a_job_is_woken_with_the_last_of_its_waits(scene: Scene) -> None:
    lease = scene.job("one")
    scene.want(lease, "first", "second")
    scene.release(lease)
    scene.complete(scene.running("first"))
    assert not scene.is_due("one")
    scene.complete(scene.running("second"))
    assert scene.is_due("one")


def test_a_failure_wakes_a_job_that_waits_for_more(scene: Scene) -> None:
    lease = scene.job("one")
    scene.want(lease, "first", "second")
    scene.release(lease)
    scene.fail(scene.running("first"))
    assert scene.is_due("one")


def test_a_failure_is_told_to_all_who_wait(scene: Scene) -> None:
    for name in ("one", "two"):
        scene.want(scene.job(name), "blob")
    scene.fail(scene.running("blob"))
    assert [scene.waits_of(name)[0].error for name in ("one", "two")] == [FAILURE, FAILURE]


def test_an_end_while_the_job_is_held_is_not_missed(scene: Scene) -> None:
    lease = scene.job("one")
    scene.want(lease, "blob")
    scene.complete(scene.running("blob"))
    scene.release(lease)
    assert scene.is_due("one")


# --- waiting no longer ---------------------------------------------------------------------------


def test_what_an_ended_job_alone_waited_for_is_cancelled(scene: Scene) -> None:
    lease = scene.job("one")
    scene.want(lease, "pending")
    scene.end(lease, "cancelled")
    assert scene.transfer("pending").state == "cancelled"


@pytest.mark.parametrize("state", ["admitted", "delayed"])
def test_what_nobody_runs_is_cancelled_at_once(scene: Scene, state: str) -> None:
    lease = scene.job("one")
    scene.want(lease, "blob")
    if state == "delayed":
        scene.delay(scene.running("blob"), 60)
    else:
        scene.admit()
    assert scene.transfer("blob").state == state
    scene.end(lease, "cancelled")
    assert scene.transfer("blob").state == "cancelled"


def test_what_runs_is_asked_to_stop(scene: Scene) -> None:
    lease = scene.job("one")
    scene.want(lease, "blob")
    claim = scene.running("blob")
    scene.end(lease, "cancelled")
    assert scene.transfer("blob").state == "running"
    assert scene.beat(claim) is True


def test_what_others_wait_for_goes_on(scene: Scene) -> None:
    lease = scene.job("one")
    scene.want(lease, "blob")
    scene.want(scene.job("two"), "blob")
    claim = scene.running("blob")
    scene.end(lease, "cancelled")
    assert scene.beat(claim) is False


def test_an_ended_job_waits_for_nothing(scene: Scene) -> None:
    lease = scene.job("one")
    scene.want(lease, *named("blob", 3))
    scene.end(lease, "cancelled")
    with scene.catalog.read() as connection:
        left: Any = connection.execute(
            select(waits.c.transfer).where(waits.c.job == "one", text("NOT ended"))
        ).all()
    assert left == []


def test_jobs_that_believe_different_sizes_share_nothing(scene: Scene) -> None:
    scene.want(scene.job("wrong"), "blob", registry=THERE, size=5)
    scene.want(scene.job("mine"), "blob", size=100)
    assert scene.transfers_of("blob") == 2
    assert sorted(scene.admit()) == ["blob", "blob"]


def test_ten_thousand_who_wait_are_told_in_one_statement_each(scene: Scene) -> None:
    scene.want(scene.job("one"), "blob")
    number = scene.transfer("blob").id
    with scene.catalog.write() as connection:
        for start in range(0, 2000, 500):
            some = range(start, start + 500)
            jobs.create(connection, [new_job(f"j{n}") for n in some], scene.now)
            connection.execute(
                insert(waits),
                [
                    {
                        "job": f"j{n}",
                        "transfer": number,
                        "registry": HERE,
                        "repository": "app",
                        "fingerprint": "",
                        "priority": 0,
                        "seq": n,
                        "joined": True,
                        "counted": True,
                        "ended": False,
                    }
                    for n in some
                ],
            )
    claim = scene.running("blob")
    assert len(claim.sources) == 1
    statements: list[str] = []
    writer = scene.catalog._database._writer  # type: ignore[attr-defined]
    event.listen(writer, "before_cursor_execute", lambda *args: statements.append(args[2]))
    scene.delay(claim, 1.0)
    scene.now += 2
    scene.promote()
    scene.complete(scene.running("blob"))
    assert len(statements) < 60
    # Those beyond a page are told by the scheduler.
    assert scene.transfer("blob").telling
    told = 0
    with scene.catalog.write() as connection:
        while tell_more(connection):
            told += 1
    assert told == 2000 // MAX_TOLD
    assert not scene.transfer("blob").telling
    assert [one.type for one in scene.events_of("j1999")][-1] == "retrying"
    assert scene.waits_of("j1999")[0].ended
