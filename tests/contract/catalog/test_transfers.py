"""Transfers: taken up once, under a fence, ended, excluded, delayed and handed back."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy import update

from tests.contract.catalog.scene import FAILURE, HERE, THERE, Scene, named
from transship.store.catalog.access.tenants import HOUSE
from transship.store.catalog.content import blobs
from transship.store.catalog.content.blobs import Source
from transship.store.catalog.db.schema import transfers as rows
from transship.store.catalog.scheduling import transfers
from transship.store.catalog.scheduling.admission.sources import WaitSource
from transship.store.catalog.scheduling.transfers import TransferLease
from transship.store.errors import LeaseLostError

# --- taking up -----------------------------------------------------------------------------------


def test_an_admitted_transfer_is_taken_up_once(scene: Scene) -> None:
    scene.want(scene.job("one"), "blob")
    scene.admit()
    claims = [scene.claim("blob", "a"), scene.claim("blob", "b")]
    assert [claim is None for claim in claims] == [False, True]


def test_a_transfer_that_was_not_admitted_is_not_taken_up(scene: Scene) -> None:
    scene.want(scene.job("one"), "blob")
    assert scene.claim("blob") is None


def test_each_claim_raises_the_fence(scene: Scene) -> None:
    scene.want(scene.job("one"), "blob")
    first = scene.running("blob")
    scene.hand_back(first)
    assert scene.running("blob").fence == first.fence + 1


def test_a_claim_brings_the_places_of_the_waiters_the_urgent_first(scene: Scene) -> None:
    scene.want(scene.job("one"), "blob")
    scene.want(scene.job("two", priority=3), "blob", registry=THERE, repository="other")
    claim = scene.running("blob")
    assert list(claim.sources) == [
        WaitSource("two", "two", HOUSE, THERE, "other", ""),
        WaitSource("one", "one", HOUSE, HERE, "app", ""),
    ]


def test_a_claim_brings_the_places_of_parked_registries_last(scene: Scene) -> None:
    scene.want(scene.job("one", priority=3), "blob")
    scene.want(scene.job("two"), "blob", registry=THERE)
    scene.admit()
    scene.park(HERE, 60)
    claim = scene.claim("blob")
    assert claim is not None
    assert [source.registry for source in claim.sources] == [THERE, HERE]


# --- the fence -----------------------------------------------------------------------------------


def _check(scene: Scene, claim: TransferLease) -> None:
    with scene.catalog.read() as connection:
        if not transfers.held(connection, [claim]):
            raise LeaseLostError("it is held no more", subject=claim.digest)


@pytest.mark.parametrize(
    "write",
    [
        lambda scene, claim: scene.complete(claim),
        lambda scene, claim: scene.fail(claim),
        lambda scene, claim: scene.exclude(claim),
        lambda scene, claim: scene.delay(claim, 1),
        lambda scene, claim: scene.hand_back(claim),
        lambda scene, claim: scene.stopped(claim),
        _check,
    ],
    ids=["complete", "fail", "exclude", "delay", "hand_back", "stopped", "check"],
)
@pytest.mark.parametrize("taker", [None, "b", "a"], ids=["nobody", "another", "the same anew"])
def test_a_stale_owner_writes_nothing(
    scene: Scene, write: Callable[[Scene, TransferLease], None], taker: str | None
) -> None:
    scene.want(scene.job("one"), "blob")
    stale = scene.running("blob", "a")
    scene.reap("transfer", stale.id, stale.fence)
    if taker is not None:
        scene.running("blob", taker)
    before = (scene.transfer("blob"), scene.waits_of("one"))
    with pytest.raises(LeaseLostError):
        write(scene, stale)
    assert (scene.transfer("blob"), scene.waits_of("one")) == before


def test_a_stale_owner_does_not_beat(scene: Scene) -> None:
    scene.want(scene.job("one"), "blob")
    stale = scene.running("blob", "a")
    scene.reap("transfer", stale.id, stale.fence)
    scene.running("blob", "b")
    assert scene.beat(stale) is None


def test_what_a_stale_owner_completed_is_not_in_the_store(scene: Scene) -> None:
    scene.want(scene.job("one"), "blob")
    stale = scene.running("blob", "a")
    scene.reap("transfer", stale.id, stale.fence)
    with pytest.raises(LeaseLostError):
        scene.complete(stale)
    with scene.catalog.write() as connection:
        assert blobs.held(connection, ["blob"], scene.now) == set()


def test_a_transfer_has_higher_fences_than_an_earlier_one_of_the_same_blob(scene: Scene) -> None:
    """So it takes over what that one left behind, and no sleeper of old writes into it."""
    scene.want(scene.job("first"), "a blob")
    claim = scene.running("a blob")
    scene.hand_back(claim)
    before = scene.running("a blob").fence
    scene.stop("first")
    with scene.catalog.write() as connection:
        connection.execute(update(rows).values(state="cancelled", owner=None))
    scene.want(scene.job("second"), "a blob")
    assert scene.running("a blob").fence > before


# --- ends ----------------------------------------------------------------------------------------


def test_a_completed_download_is_in_the_store(scene: Scene) -> None:
    scene.want(scene.job("one"), "blob")
    scene.complete(scene.running("blob"))
    with scene.catalog.write() as connection:
        assert blobs.held(connection, ["blob"], scene.now) == {"blob"}


def test_a_completed_upload_is_not_in_the_store_by_that(scene: Scene) -> None:
    scene.want(scene.job("one"), "blob", direction="upload")
    scene.complete(scene.running("blob", direction="upload"))
    with scene.catalog.write() as connection:
        assert blobs.held(connection, ["blob"], scene.now) == set()


@pytest.mark.parametrize("direction", ["download", "upload"])
def test_the_place_that_served_is_known_to_hold_the_blob(scene: Scene, direction: str) -> None:
    scene.want(scene.job("one"), "blob", direction=direction, fingerprint="me")
    scene.complete(scene.running("blob", direction=direction))
    with scene.catalog.read() as connection:
        known = blobs.confirmed(connection, ["blob"], Source(HERE, "app", "me"))
    assert known == {"blob"}


def test_a_place_that_did_not_serve_is_not_known_to_hold_the_blob(scene: Scene) -> None:
    scene.want(scene.job("one"), "blob", fingerprint="me")
    scene.want(scene.job("two"), "blob", fingerprint="you")
    scene.complete(scene.running("blob"))
    with scene.catalog.read() as connection:
        known = blobs.confirmed(connection, ["blob"], Source(HERE, "app", "you"))
    assert known == set()


# --- excludes -------------------------------------------------------------------------------------


def test_a_struck_place_is_followed_by_the_next_waiters(two_sources: Scene) -> None:
    two_sources.exclude(two_sources.running("blob"))
    row = two_sources.transfer("blob")
    assert (row.state, row.registry, row.repository) == ("pending", THERE, "other")


def test_a_struck_place_is_tried_no_more(two_sources: Scene) -> None:
    two_sources.exclude(two_sources.running("blob"))
    sources = two_sources.running("blob").sources
    assert [source.registry for source in sources] == [THERE]


def test_only_who_brought_the_struck_place_is_told(two_sources: Scene) -> None:
    two_sources.exclude(two_sources.running("blob"))
    assert two_sources.waits_of("one")[0].error == FAILURE
    assert not two_sources.waits_of("two")[0].ended


def test_who_brought_the_struck_place_is_woken(two_sources: Scene) -> None:
    two_sources.exclude(two_sources.running("blob"))
    assert two_sources.is_due("one")


def test_the_same_repository_with_another_credential_is_another_place(scene: Scene) -> None:
    scene.want(scene.job("one"), "blob", fingerprint="me")
    scene.want(scene.job("two"), "blob", fingerprint="you")
    scene.exclude(scene.running("blob"))
    assert [source.fingerprint for source in scene.running("blob").sources] == ["you"]


def test_all_who_brought_the_same_place_are_told(scene: Scene) -> None:
    for name in ("one", "two"):
        scene.want(scene.job(name), "blob")
    scene.exclude(scene.running("blob"))
    assert [scene.waits_of(name)[0].error for name in ("one", "two")] == [FAILURE, FAILURE]


def test_with_its_last_place_struck_a_transfer_has_failed(scene: Scene) -> None:
    scene.want(scene.job("one"), "blob")
    scene.exclude(scene.running("blob"))
    assert scene.transfer("blob").state == "failed"


def test_the_next_place_has_a_budget_of_its_own(two_sources: Scene) -> None:
    for _ in range(4):
        two_sources.delay(two_sources.running("blob"), 1)
        two_sources.now += 1
        two_sources.promote()
    two_sources.exclude(two_sources.running("blob"))
    assert two_sources.running("blob").attempts == 0


def test_in_another_lane_it_queues_where_its_root_would(two_sources: Scene) -> None:
    two_sources.want(two_sources.job("long queue"), *named("there", 30), registry=THERE)
    two_sources.limit("max_concurrent_downloads", 1)
    claim = two_sources.running("blob")
    two_sources.exclude(claim)
    assert two_sources.transfer("blob").turn == two_sources.transfer("there/0").turn


# --- let go --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("counts", "attempts"), [(True, 1), (False, 0)])
def test_a_try_that_failed_counts_unless_it_got_far(
    scene: Scene, counts: bool, attempts: int
) -> None:
    scene.want(scene.job("one"), "blob")
    scene.delay(scene.running("blob"), 1, counts=counts)
    row = scene.transfer("blob")
    assert (row.attempts, row.tries) == (attempts, 1)


def test_a_delay_is_told_to_those_who_wait(scene: Scene) -> None:
    scene.want(scene.job("one"), "blob")
    scene.delay(scene.running("blob"), 7)
    last = scene.events_of("one")[-1]
    assert (last.type, last.data["seconds"], last.data["error"]) == ("retrying", 7, FAILURE)


def test_handing_back_is_no_try(scene: Scene) -> None:
    scene.want(scene.job("one"), "blob")
    scene.hand_back(scene.running("blob"))
    row = scene.transfer("blob")
    assert (row.state, row.owner, row.attempts, row.tries) == ("pending", None, 0, 0)


def test_a_transfer_handed_to_another_place_queues_in_its_lane(two_sources: Scene) -> None:
    two_sources.limit("max_concurrent_downloads", 1)
    claim = two_sources.running("blob")
    there = two_sources.job("long queue", root="one")
    two_sources.want(there, *named("there", 5), registry=THERE)
    with two_sources.catalog.write() as connection:
        transfers.hand_back(connection, claim, to=claim.sources[1])
    row = two_sources.transfer("blob")
    assert (row.state, row.registry, row.repository, row.turn) == ("pending", THERE, "other", 5)


def test_how_far_a_try_got_outlives_it(scene: Scene) -> None:
    scene.want(scene.job("one"), "blob")
    claim = scene.running("blob")
    claim.done, claim.moved = 60, 60
    scene.hand_back(claim)
    again = scene.running("blob")
    again.done, again.moved = 30, 10
    scene.delay(again, 1)
    row = scene.transfer("blob")
    assert (row.furthest, row.bytes_done, row.bytes_moved) == (60, 30, 70)


def test_a_stopped_transfer_is_cancelled(scene: Scene) -> None:
    lease = scene.job("one")
    scene.want(lease, "blob")
    claim = scene.running("blob")
    scene.end(lease, "cancelled")
    scene.stopped(claim)
    assert scene.transfer("blob").state == "cancelled"


def test_a_stopped_transfer_that_was_joined_meanwhile_goes_on(scene: Scene) -> None:
    lease = scene.job("one")
    scene.want(lease, "blob")
    claim = scene.running("blob")
    scene.end(lease, "cancelled")
    scene.want(scene.job("two"), "blob")
    scene.stopped(claim)
    assert scene.admit() == ["blob"]
