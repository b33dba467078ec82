"""The row of a job's children says what they come to, whatever becomes of one of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.contract.catalog.scene import BLOB_BYTES, THERE, Scene, new_job
from tests.contract.catalog.sums import Sums, counted, kept
from transship.store.catalog.scheduling import (
    children,
    heartbeats,
    jobs,
    progress,
    retention,
    waits,
)
from transship.store.catalog.scheduling.children import FIGURES, STATES, Counts
from transship.store.catalog.scheduling.jobs import AlreadyThere, JobLease
from transship.store.errors import LeaseLostError
from transship.workers.jobs.stopping import stop_late

Way = Callable[[Scene], object]


def _child(scene: Scene, name: str = "child", parent: str = "parent") -> JobLease:
    """A child that was taken up."""
    return scene.job(name, parent=parent, child_key=name, root=parent)


def _queued(scene: Scene, *names: str, **more: object) -> None:
    for name in names:
        scene.submit(name, parent="parent", child_key=name, root="parent", **more)


def _counts(scene: Scene, lease: JobLease, **figures: int) -> None:
    with scene.catalog.write() as connection:
        jobs.save(connection, lease, checkpoint={"counted": True}, **figures)


def _wants(scene: Scene, name: str = "child", digest: str = "blob") -> JobLease:
    lease = _child(scene, name)
    _counts(scene, lease, bytes_total=100, blobs_total=1)
    scene.want(lease, digest)
    return lease


def _moving(scene: Scene, count: int = 40) -> JobLease:
    """A child whose blob is on its way."""
    lease = _wants(scene)
    claim = scene.running("blob")
    claim.moved = claim.done = count
    scene.beat(claim)
    return lease


def _released(scene: Scene) -> None:
    scene.release(_wants(scene))


def _made_twice(scene: Scene) -> None:
    _queued(scene, "child")
    with scene.catalog.write() as connection:
        again = new_job("another", parent="parent", child_key="child", root="parent")
        assert jobs.create(connection, [again], scene.now) == []


def _made_up_to_date(scene: Scene) -> None:
    nothing_to_do = AlreadyThere(result={"up_to_date": True}, blobs=3, size=500)
    with scene.catalog.write() as connection:
        new = [
            new_job(name, parent="parent", child_key=name, root="parent", up_to_date=found)
            for name, found in (("there", nothing_to_do), ("differs", None))
        ]
        jobs.create(connection, new, scene.now)
        again = replace(new[0], id="there again")
        assert jobs.create(connection, [again], scene.now) == []
    assert [scene.job_row(one.id).state for one in new] == ["succeeded", "queued"]
    assert scene.take("there") is None
    scene.end(_child(scene, "third"))


def _taken_up_twice(scene: Scene) -> None:
    scene.release(_child(scene), again_in=0)
    assert scene.take("child") is not None


def _died(scene: Scene) -> None:
    lease = _child(scene)
    scene.reap("job", lease.id, lease.fence)
    assert scene.take("child") is not None


def _overran(scene: Scene) -> None:
    _queued(scene, "child", deadline=scene.now + 1)
    scene.now += 2
    with scene.catalog.write() as connection:
        assert stop_late(connection, scene.now) == ["child"]


def _counted_anew(scene: Scene) -> None:
    lease = _child(scene)
    _counts(scene, lease, bytes_total=300, blobs_total=3, bytes_skipped=300, blobs_skipped=3)
    _counts(scene, lease, bytes_total=300, blobs_total=3, bytes_skipped=200, blobs_skipped=2)


def _skipped(scene: Scene) -> None:
    lease = _child(scene)
    with scene.catalog.write() as connection:
        gains = {lease.id: Counter(bytes_skipped=7, blobs_skipped=1)}
        progress.add(connection, gains, {lease.id: lease.parent})


def _lost(scene: Scene) -> None:
    """Whoever has lost the lease writes nothing for the parent either."""
    lease = _child(scene)
    scene.reap("job", lease.id, lease.fence)
    with pytest.raises(LeaseLostError):
        _counts(scene, lease, bytes_total=100)


def _joined(scene: Scene) -> None:
    scene.submit("other parent")
    _wants(scene, "first")
    _wants(scene, "second")
    scene.want(_child(scene, "third", "other parent"), "blob")
    scene.complete(scene.running("blob"))


def _struck(scene: Scene) -> None:
    _wants(scene)
    scene.want(_child(scene, "other"), "blob", registry=THERE)
    claim = scene.running("blob")
    claim.moved = claim.done = 30
    scene.exclude(claim)


def _handed_on(scene: Scene) -> None:
    """Each is served by its own repository."""
    _wants(scene)
    scene.want(_child(scene, "other"), "blob", registry=THERE)
    for _ in range(2):
        scene.complete(scene.running("blob"))


def _died_over(scene: Scene) -> None:
    _wants(scene)
    for _ in range(heartbeats.MAX_CRASHES):
        claim = scene.running("blob")
        scene.reap("transfer", claim.id, claim.fence)
    assert scene.waits_of("child")[0].error is not None


def _told_in_pages(scene: Scene) -> None:
    for n in range(waits.MAX_TOLD + 2):
        _wants(scene, f"child {n}")
    scene.complete(scene.running("blob"))
    with scene.catalog.write() as connection:
        while waits.tell_more(connection):
            pass


def _in_turn(*steps: Way) -> Way:
    def go(scene: Scene) -> None:
        for step in steps:
            step(scene)

    return go


def _ends(state: str) -> Way:
    return lambda scene: scene.end(_child(scene), state)


def _arrives(scene: Scene) -> None:
    scene.complete(scene.running("blob"))


def _fails(scene: Scene) -> None:
    scene.fail(scene.running("blob"))


def _parent_stops(scene: Scene) -> None:
    scene.stop("parent")


def _child_stops(scene: Scene) -> None:
    scene.stop("child")


WAYS: dict[str, Way] = {
    "is made": lambda scene: _queued(scene, "one", "two"),
    "is made twice": _made_twice,
    "is up to date when it is made": _made_up_to_date,
    "is taken up": _child,
    "is taken up twice": _taken_up_twice,
    "waits": _released,
    "dies": _died,
    **{f"has {state}": _ends(state) for state in jobs.ENDED},
    "is stopped before it ran": _in_turn(lambda scene: _queued(scene, "a", "b"), _parent_stops),
    "is stopped while it waits": _in_turn(_released, _child_stops),
    "is asked to stop": _in_turn(_child, _child_stops),
    "overruns its deadline": _overran,
    "is counted": lambda scene: _counts(scene, _child(scene), bytes_total=5, blobs_total=1),
    "is counted anew": _counted_anew,
    "is skipped something": _skipped,
    "is lost": _lost,
    "has its blob on its way": _moving,
    "has its blob": _in_turn(_wants, _arrives),
    "has its blob with others": _joined,
    "has a blob that failed": _in_turn(_wants, _fails),
    "has a source that refuses": _struck,
    "has a blob from another source": _handed_on,
    "has a blob over which workers die": _died_over,
    "ends with a blob on its way": lambda scene: scene.end(_moving(scene), "failed"),
    "is stopped with a blob on its way": _in_turn(
        lambda scene: scene.release(_moving(scene)), _parent_stops
    ),
}


def _both(scene: Scene) -> tuple[Sums, Sums]:
    with scene.catalog.read() as connection:
        return kept(connection), counted(connection)


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS.keys())
def test_what_is_kept_is_what_would_be_counted(scene: Scene, way: Way) -> None:
    scene.submit("parent", kind="mirror")
    way(scene)
    found, sums = _both(scene)
    assert found == sums
    assert sums["parent"]


def test_very_many_who_wait_for_one_blob_are_all_credited(scene: Scene) -> None:
    scene.submit("parent", kind="mirror")
    _told_in_pages(scene)
    found, sums = _both(scene)
    assert found == sums
    assert found["parent"]["blobs_moved"] == waits.MAX_TOLD + 2
    assert found["parent"]["bytes_moved"] == BLOB_BYTES


def test_a_wait_that_ends_is_written_down_in_three_statements_however_many_wait(
    scene: Scene, statements: Callable[[], list[str]]
) -> None:
    scene.submit("parent", kind="mirror")
    for n in range(20):
        _wants(scene, f"child {n}")
    claim = scene.running("blob")
    statements()
    scene.complete(claim)
    written = statements()
    of_jobs = [one for one in written if one.startswith("UPDATE jobs")]
    of_parents = [one for one in written if "INTO job_children" in one]
    assert (len(of_jobs), len(of_parents)) == (2, 1)  # what they gained, and that they are due


def test_states_of_which_there_is_no_child_are_left_out(scene: Scene) -> None:
    scene.submit("parent", kind="mirror")
    _queued(scene, "one", "two")
    scene.end(_child(scene))
    with scene.catalog.read() as connection:
        found = children.counts(connection, ["parent", "one"])
    assert found == {"parent": Counts({"queued": 2, "succeeded": 1}), "one": Counts()}


def test_how_many_there_will_be_is_known_before_they_are_made(scene: Scene) -> None:
    scene.submit("parent", kind="mirror")
    with scene.catalog.write() as connection:
        children.expect(connection, "parent", 5)
    _queued(scene, "one", "two")
    with scene.catalog.read() as connection:
        found = children.counts(connection, ["parent"])["parent"]
    assert (found.by_state, found.total) == ({"queued": 2}, 5)


def test_a_parent_wakes_when_the_last_child_has_ended(scene: Scene) -> None:
    lease = scene.job("parent", kind="mirror")
    _queued(scene, "one", "two")
    scene.release(lease)
    for name, due in (("one", False), ("two", True)):
        child = scene.take(name)
        assert child is not None
        assert not scene.is_due("parent")
        scene.end(child)
        assert scene.is_due("parent") is due


def test_what_is_kept_goes_with_the_job_and_not_with_its_children(scene: Scene) -> None:
    scene.submit("parent", kind="mirror")
    for n in range(retention.MAX_AT_ONCE + 1):
        scene.end(_child(scene, f"child {n}"))
    lease = scene.take("parent")
    assert lease is not None
    scene.end(lease)
    scene.now += 10
    scene.submit("newest")
    left = []
    for _ in range(2):
        with scene.catalog.write() as connection:
            retention.forget(connection, scene.now)
        left.append(_both(scene)[0])
    assert left[0]["parent"]["succeeded"] == retention.MAX_AT_ONCE + 1
    assert left[1] == {}


def test_every_column_is_named() -> None:
    assert {*STATES} == {*jobs.ACTIVE, *jobs.ENDED}
    assert len(FIGURES) == 6
