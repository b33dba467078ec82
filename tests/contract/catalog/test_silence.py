"""Work that hears nothing makes way for work that could go on, and for nothing else."""

from __future__ import annotations

from tests.contract.catalog.scene import HERE, THERE, Scene, named
from transship.store.catalog.scheduling import transfers
from transship.store.catalog.scheduling.admission import silence
from transship.store.catalog.scheduling.admission.silence import PATIENCE_SECONDS, Silent
from transship.store.catalog.scheduling.transfers import TransferLease


def _silent(claim: TransferLease, seconds: float = PATIENCE_SECONDS) -> Silent:
    return Silent(claim.id, claim.direction, claim.registry, seconds)


def _yielding(scene: Scene, *silent: Silent) -> set[str | int]:
    with scene.catalog.write() as connection:
        return silence.yielding(connection, silent, scene.now)


def _all_slots(scene: Scene) -> list[TransferLease]:
    """Three downloads of a registry, which are all that may run, and one that waits."""
    scene.want(scene.job("sick"), *named("sick", 4))
    scene.admit()
    claims = [scene.claim(one) for one in named("sick", 3)]
    return [claim for claim in claims if claim is not None]


def _make_way(scene: Scene, claims: list[TransferLease]) -> None:
    wanted = _yielding(scene, *map(_silent, claims))
    for claim in claims:
        if claim.id in wanted:
            scene.hand_back(claim)


def test_nobody_makes_way_for_more_of_the_same_registry(scene: Scene) -> None:
    assert not _yielding(scene, *map(_silent, _all_slots(scene)))


def test_nobody_makes_way_while_a_slot_is_free(scene: Scene) -> None:
    scene.want(scene.job("sick"), "sick")
    claim = scene.running("sick")
    scene.want(scene.job("well"), "well", registry=THERE)
    assert not _yielding(scene, _silent(claim, 60))


def test_as_many_make_way_as_others_wait_the_most_silent_first(scene: Scene) -> None:
    claims = _all_slots(scene)
    scene.want(scene.job("well"), *named("well", 2), registry=THERE)
    seconds = [1.0, 3.0, 2.0]
    silent = [_silent(claim, s) for claim, s in zip(claims, seconds, strict=True)]
    assert _yielding(scene, *silent) == {claims[1].id, claims[2].id}


def test_who_has_heard_something_of_late_makes_no_way(scene: Scene) -> None:
    claims = _all_slots(scene)
    scene.want(scene.job("well"), "well", registry=THERE)
    assert not _yielding(scene, _silent(claims[0], PATIENCE_SECONDS / 2))


def test_others_have_the_slots_then_and_one_at_a_time_listens(scene: Scene) -> None:
    claims = _all_slots(scene)
    scene.want(scene.job("well"), *named("well", 3), registry=THERE)
    _make_way(scene, claims)
    assert scene.admit() == named("well", 3)
    for name in named("well", 3):
        claim = scene.claim(name)
        assert claim is not None
        scene.complete(claim)
    assert scene.admit() == []
    scene.now += silence.SHORTEST_SECONDS
    assert len(scene.admit()) == 1
    assert scene.admit() == []


def test_an_answer_lets_the_others_follow(scene: Scene) -> None:
    claims = _all_slots(scene)
    scene.want(scene.job("well"), *named("well", 3), registry=THERE)
    _make_way(scene, claims)
    scene.now += silence.SHORTEST_SECONDS
    scene.limit("max_concurrent_downloads", 10)
    (first, *_) = [one for one in scene.admit() if one.startswith("sick")]
    claim = scene.claim(first)
    assert claim is not None
    with scene.catalog.write() as connection:
        transfers.heard(connection, claim)
    assert len([one for one in scene.admit() if one.startswith("sick")]) == 3


def test_a_slow_registry_is_heard_out_in_the_end(scene: Scene) -> None:
    scene.limit("max_concurrent_downloads", 1)
    scene.want(scene.job("slow"), "slow")
    patience = []
    for number in range(8):
        claim = scene.running("slow")
        scene.want(scene.job(f"well {number}"), f"well/{number}", registry=THERE)
        seconds = PATIENCE_SECONDS
        while not _yielding(scene, _silent(claim, seconds)):
            seconds += 0.5
        patience.append(seconds)
        scene.hand_back(claim)
        scene.complete(scene.running(f"well/{number}"))
        scene.now += silence.LONGEST_SECONDS
    assert patience == [0.5, 1, 2, 4, 8, 16, 32, 60]


def test_a_job_makes_way_for_one_that_waits_for_a_thread(scene: Scene) -> None:
    scene.no_workers()
    scene.worker("w", control=1)
    lease = scene.job("sick", registry=HERE, other_registry="other.test")
    silent = Silent(lease.id, lease.queue, HERE, 1.0)
    assert not _yielding(scene, silent)
    scene.submit("sick too", registry=HERE)
    assert not _yielding(scene, silent)
    scene.submit("well", registry=THERE, other_registry="other.test")
    assert _yielding(scene, silent) == {"sick"}
    scene.release(lease, again_in=0)
    assert scene.dispatched() == ["well"]
