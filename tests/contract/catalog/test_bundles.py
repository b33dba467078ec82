"""Small blobs share slots, and uploads wait blocked for blobs that are still to come."""

from __future__ import annotations

import pytest
from sqlalchemy import select, text

from tests.contract.catalog.scene import BLOB_BYTES, HERE, THERE, Scene, named, wanted
from transship.store.catalog.db.schema import TRANSFER_BUSY
from transship.store.catalog.db.schema import transfers as rows
from transship.store.catalog.scheduling import heartbeats, transfers, waits
from transship.store.catalog.scheduling.admission import admission, limits, parking
from transship.store.catalog.scheduling.admission.admission import Admitted
from transship.store.catalog.scheduling.jobs import JobLease
from transship.store.catalog.scheduling.transfers import TransferLease

KIB, MIB = 1024, 1024 * 1024
SLOTS = 3


@pytest.fixture
def scene(scene: Scene) -> Scene:
    scene.limit("max_concurrent_downloads", SLOTS)
    scene.limit("max_concurrent_uploads", SLOTS)
    return scene


def admit(scene: Scene, direction: str = "download") -> list[Admitted]:
    with scene.catalog.write() as connection:
        return admission.admit(connection, direction, scene.now)


def counts(admitted: list[Admitted]) -> list[int]:
    return [len(one.digests) for one in admitted]


def claim(scene: Scene, bundle: Admitted) -> list[TransferLease]:
    with scene.catalog.write() as connection:
        return transfers.claim(connection, bundle.direction, bundle.bundle, "a worker", scene.now)


def complete(scene: Scene, claims: list[TransferLease]) -> waits.Woken:
    with scene.catalog.write() as connection:
        assert len(transfers.held(connection, claims, locked=True)) == len(claims)
        return transfers.complete(connection, [(one, one.sources[0]) for one in claims], scene.now)


def copies(scene: Scene, lease: JobLease, *digests: str, size: int = KIB) -> None:
    """Let a job want blobs at `there.test/app`, which come from `here.test/app`."""
    wishes = [
        wanted(
            digest,
            direction="upload",
            size=size,
            registry=THERE,
            after=wanted(digest, size=size, counted=False),
        )
        for digest in digests
    ]
    with scene.catalog.write() as connection:
        waits.want(connection, [(lease, wishes)], scene.now)


def upload_of(scene: Scene, digest: str) -> str:
    with scene.catalog.read() as connection:
        state: str = connection.execute(
            select(rows.c.state).where(rows.c.digest == digest, rows.c.direction == "upload")
        ).scalar_one()
    return state


# --- how many --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "size", "expected"),
    [
        (1, KIB, [1]),
        (10, KIB, [10]),  # fewer would cost more than they do
        (16, KIB, [16]),
        (40, KIB, [16, 16, 8]),
        (60, KIB, [20, 20, 20]),
        (96, KIB, [32, 32, 32]),
        (200, KIB, [32, 32, 32]),  # the rest waits for the next slots
        (9, MIB, [4, 4, 1]),
        (60, MIB, [16, 16, 16]),
        (6, 4 * MIB, [2, 2, 2]),
        (3, 4 * MIB + 1, [1, 1, 1]),
    ],
)
def test_small_blobs_are_divided_among_the_slots_there_are(
    scene: Scene, number: int, size: int, expected: list[int]
) -> None:
    scene.want(scene.job("one"), *named("a", number), size=size)
    assert counts(admit(scene)) == expected


def test_blobs_of_a_bundle_go_in_turn(scene: Scene) -> None:
    digests = named("a", 20)
    scene.want(scene.job("one"), *digests, size=KIB)
    first, second = admit(scene)
    assert [*first.digests, *second.digests] == digests


def test_large_blobs_get_slots_of_their_own_and_the_first(scene: Scene) -> None:
    scene.want(scene.job("one"), *named("small", 20), size=KIB)
    lease = scene.job("two")
    with scene.catalog.write() as connection:
        some = [
            wanted("s", size=KIB),
            wanted("l", size=BLOB_BYTES),
            wanted("xl", size=2 * BLOB_BYTES),
        ]
        waits.want(connection, [(lease, some)], scene.now)
    order = [digest for one in admit(scene) for digest in one.digests]
    assert order.index("xl") < order.index("l")
    assert "s" not in order[: order.index("l")]


def test_a_bundle_holds_blobs_of_one_root_and_priority_and_lane(scene: Scene) -> None:
    scene.want(scene.job("one"), "a", "b", size=KIB)
    scene.want(scene.job("two"), "c", size=KIB)
    scene.want(scene.job("urgent", priority=50), "d", size=KIB)
    scene.limit("max_concurrent_downloads", 9)
    scene.want(scene.job("elsewhere", registry=THERE), "e", size=KIB, registry=THERE)
    assert sorted(one.digests for one in admit(scene)) == [("a", "b"), ("c",), ("d",), ("e",)]


# --- slots -----------------------------------------------------------------------------------


def test_a_bundle_takes_one_slot(scene: Scene) -> None:
    scene.want(scene.job("one"), *named("a", 200), size=KIB)
    first = admit(scene)
    assert admit(scene) == []
    complete(scene, claim(scene, first[0]))
    assert len(admit(scene)) == 1


def test_no_number_is_given_twice(scene: Scene) -> None:
    scene.want(scene.job("one"), "a", "b", size=KIB)
    (first,) = admit(scene)
    with scene.catalog.write() as connection:
        transfers.hand_back_all(
            connection, transfers.claim(connection, "download", first.bundle, "w", scene.now)
        )
    (second,) = admit(scene)
    assert second.bundle > first.bundle
    assert claim(scene, first) == []
    assert [one.tries for one in claim(scene, second)] == [1, 1]


def test_slots_of_a_registry_are_counted_in_both_directions(scene: Scene) -> None:
    scene.pause(THERE)  # it has a row from now on
    with scene.catalog.write() as connection:
        limits.override_registry(connection, THERE, {"paused": False, "concurrency": 2})
    scene.want(scene.job("one", registry=THERE), *named("a", 40), size=KIB, registry=THERE)
    assert len(admit(scene)) == 2
    lease = scene.job("two", registry=THERE)
    scene.want(lease, *named("b", 40), size=KIB, registry=THERE, direction="upload")
    assert admit(scene, "upload") == []


def test_one_blob_goes_ahead_after_a_park(scene: Scene) -> None:
    scene.want(scene.job("one"), *named("a", 40), size=KIB)
    scene.park(HERE, 10)
    assert admit(scene) == []
    scene.now += 11
    assert counts(admit(scene)) == [1, 1, 1]  # of which the first to be taken up goes
    with scene.catalog.write() as connection:
        probe = parking.enter(connection, HERE, scene.now)
        assert isinstance(probe, parking.Probe)
        parking.reopen(connection, probe)
    complete(scene, claim(scene, _busy(scene)[0]))
    assert counts(admit(scene)) == [32]


def _busy(scene: Scene) -> list[Admitted]:
    with scene.catalog.read() as connection:
        found = connection.execute(
            select(rows.c.bundle, rows.c.direction, rows.c.digest, rows.c.size)
            .where(text(TRANSFER_BUSY))
            .order_by(rows.c.bundle)
        ).all()
    return [Admitted(row.bundle, row.direction, (row.digest,), row.size) for row in found]


def test_a_lost_message_is_sent_again_for_the_bundle(scene: Scene) -> None:
    scene.want(scene.job("one"), *named("a", 10), size=KIB)
    (first,) = admit(scene)
    scene.now += 6
    with scene.catalog.write() as connection:
        (again,) = admission.unstarted(connection, scene.now)
    assert again.bundle == first.bundle
    assert sorted(again.digests) == sorted(first.digests)


# --- deaths ----------------------------------------------------------------------------------


def die(scene: Scene) -> None:
    with scene.catalog.write() as connection:
        heartbeats.bury_everyone(connection, scene.now)
    scene.worker("a worker", control=64, downloads=64, uploads=64)


def test_the_death_of_a_bundle_counts_for_none_and_each_goes_alone(scene: Scene) -> None:
    scene.want(scene.job("one"), "a", "b", size=KIB)
    claim(scene, admit(scene)[0])
    die(scene)
    assert [scene.transfer(one).crashes for one in "ab"] == [0, 0]
    admitted = admit(scene)
    assert counts(admitted) == [1, 1]
    claim(scene, admitted[0])
    die(scene)
    assert sorted(scene.transfer(one).crashes for one in "ab") == [0, 1]


def test_one_that_kills_its_worker_fails_alone(scene: Scene) -> None:
    scene.want(scene.job("one"), "poison", *named("a", 3), size=KIB)
    claim(scene, admit(scene)[0])
    die(scene)
    for _ in range(heartbeats.MAX_CRASHES):
        for one in admit(scene):
            if one.digests == ("poison",):
                claim(scene, one)
            else:
                complete(scene, claim(scene, one))
        die(scene)
    assert scene.transfer("poison").state == "failed"
    assert {scene.transfer(one).state for one in named("a", 3)} == {"done"}


# --- blocked uploads -------------------------------------------------------------------------


def test_an_upload_queues_when_its_blob_has_come(scene: Scene) -> None:
    lease = scene.job("copy")
    copies(scene, lease, "a", "b")
    scene.release(lease)
    assert admit(scene, "upload") == []
    assert upload_of(scene, "a") == "blocked"
    woken = complete(scene, claim(scene, admit(scene)[0]))
    assert woken == waits.Woken(jobs=False, uploads=True)
    (uploads,) = admit(scene, "upload")
    assert sorted(uploads.digests) == ["a", "b"]
    assert complete(scene, claim(scene, uploads)).jobs
    assert scene.is_due("copy")


def test_who_joins_a_blocked_upload_joins_its_download(scene: Scene) -> None:
    first, second = scene.job("first"), scene.job("second")
    copies(scene, first, "a")
    copies(scene, second, "a")
    scene.end(first, "cancelled")
    assert len(scene.waits_of("second")) == 2
    complete(scene, claim(scene, admit(scene)[0]))
    assert upload_of(scene, "a") == "pending"


def test_a_job_that_has_the_blob_unblocks_its_upload(scene: Scene) -> None:
    copies(scene, scene.job("first"), "a")
    scene.want(scene.job("second"), "a", size=KIB, registry=THERE, direction="upload")
    assert upload_of(scene, "a") == "pending"


def test_an_upload_on_its_way_needs_no_download(scene: Scene) -> None:
    scene.want(scene.job("first"), "a", size=KIB, registry=THERE, direction="upload")
    copies(scene, scene.job("second"), "a")
    assert [(one.direction, one.ended) for one in scene.waits_of("second")] == [("upload", False)]


def test_a_failed_download_ends_its_job_and_the_upload(scene: Scene) -> None:
    lease = scene.job("copy")
    copies(scene, lease, "a")
    scene.release(lease)
    (taken,) = claim(scene, admit(scene)[0])
    scene.fail(taken)
    assert scene.is_due("copy")
    lease_again = scene.take("copy")
    assert lease_again is not None
    scene.end(lease_again, "failed")
    assert upload_of(scene, "a") == "cancelled"


def test_the_source_of_another_unblocks_nothing_for_a_job_with_its_own(scene: Scene) -> None:
    """One who has shown nothing yet is not served by what came for others."""
    one, two = scene.job("one"), scene.job("two", registry=THERE)
    copies(scene, one, "a")
    other = wanted(
        "a",
        direction="upload",
        size=KIB,
        registry="third.test",
        after=wanted("a", size=KIB, registry=THERE, counted=False),
    )
    with scene.catalog.write() as connection:
        waits.want(connection, [(two, [other])], scene.now)
    taken = claim(scene, admit(scene)[0])
    complete(scene, taken)
    with scene.catalog.read() as connection:
        uploads = select(rows.c.registry, rows.c.state).where(rows.c.direction == "upload")
        states = {row.registry: row.state for row in connection.execute(uploads)}
    assert states == {THERE: "pending", "third.test": "blocked"}


def test_an_upload_is_blocked_again_when_who_had_the_blob_leaves(scene: Scene) -> None:
    one, two = scene.job("one"), scene.job("two", registry="second.test")
    copies(scene, one, "a")
    source = wanted("a", size=KIB, registry="second.test", counted=False)
    upload = wanted("a", direction="upload", size=KIB, registry=THERE, after=source)
    with scene.catalog.write() as connection:
        waits.want(connection, [(two, [upload])], scene.now)
    complete(scene, claim(scene, admit(scene)[0]))  # of the first, whose source it came from
    assert upload_of(scene, "a") == "pending"
    scene.end(one, "cancelled")
    assert upload_of(scene, "a") == "blocked"
    (own,) = admit(scene)
    complete(scene, claim(scene, own))
    assert upload_of(scene, "a") == "pending"


def test_priority_is_handed_to_a_blocked_upload(scene: Scene) -> None:
    copies(scene, scene.job("slow", priority=-10), "a")
    copies(scene, scene.job("urgent", priority=50), "a")
    with scene.catalog.read() as connection:
        found = connection.execute(select(rows.c.direction, rows.c.priority)).all()
    assert {row.direction: row.priority for row in found} == {"download": 50, "upload": 50}
