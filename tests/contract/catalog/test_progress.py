"""Figures of jobs: moved, skipped, summed up, written down."""

from __future__ import annotations

from sqlalchemy import update

from tests.contract.catalog.scene import Scene
from transship.store.catalog.db.schema import jobs as jobs_table
from transship.store.catalog.scheduling import jobs
from transship.store.catalog.scheduling.jobs import JobLease
from transship.store.catalog.scheduling.progress import Progress
from transship.store.catalog.scheduling.transfers import TransferLease


def _comprises(
    scene: Scene, lease: JobLease, total: int, *, blobs: int, skipped: int = 0, whole: int = 0
) -> None:
    """Write down what the job found: how much there is, and how much of it is in place."""
    with scene.catalog.write() as connection:
        jobs.save(
            connection,
            lease,
            bytes_total=total,
            blobs_total=blobs,
            bytes_skipped=skipped,
            blobs_skipped=whole,
        )


def _moves(scene: Scene, claim: TransferLease, count: int) -> None:
    claim.done += count
    claim.moved += count
    scene.beat(claim)


def test_a_new_job_has_done_nothing(scene: Scene) -> None:
    scene.submit("one")
    assert scene.progress_of("one") == Progress()


def test_what_was_in_place_is_skipped_and_done(scene: Scene) -> None:
    _comprises(scene, scene.job("one"), 500, blobs=5, skipped=300, whole=3)
    assert scene.progress_of("one") == Progress(
        bytes_total=500, bytes_done=300, bytes_skipped=300, blobs_total=5, blobs_done=3
    )


def test_a_running_transfer_is_counted_as_it_moves(scene: Scene) -> None:
    lease = scene.job("one")
    _comprises(scene, lease, 200, blobs=2, skipped=100, whole=1)
    scene.want(lease, "blob", size=100)
    _moves(scene, scene.running("blob"), 40)
    assert scene.progress_of("one") == Progress(
        bytes_total=200,
        bytes_done=140,
        bytes_moved=40,
        bytes_skipped=100,
        blobs_total=2,
        blobs_done=1,
    )


def test_a_blob_is_done_when_its_transfer_is(scene: Scene) -> None:
    lease = scene.job("one")
    _comprises(scene, lease, 100, blobs=1)
    scene.want(lease, "blob", size=100)
    scene.complete(scene.running("blob"))
    figures = scene.progress_of("one")
    assert (figures.blobs_done, figures.bytes_done) == (1, 100)


def test_what_came_with_another_jobs_transfer_is_skipped(scene: Scene) -> None:
    scene.want(scene.job("first"), "blob", size=100)
    second = scene.job("second")
    _comprises(scene, second, 100, blobs=1)
    scene.want(second, "blob", size=100)
    scene.complete(scene.running("blob"))
    figures = scene.progress_of("second")
    assert (figures.bytes_moved, figures.bytes_skipped, figures.bytes_done) == (0, 100, 100)


def test_what_an_earlier_life_left_on_the_disk_is_skipped(scene: Scene) -> None:
    lease = scene.job("one")
    _comprises(scene, lease, 100, blobs=1)
    scene.want(lease, "blob", size=100)
    claim = scene.running("blob")
    claim.done = 60  # of a partial blob that no transfer on record has moved
    _moves(scene, claim, 40)
    figures = scene.progress_of("one")
    assert (figures.bytes_moved, figures.bytes_skipped, figures.bytes_done) == (40, 60, 100)


def test_no_more_is_done_than_there_is(scene: Scene) -> None:
    lease = scene.job("one")
    _comprises(scene, lease, 150, blobs=2, skipped=100, whole=1)
    scene.want(lease, "blob", size=100)
    _moves(scene, scene.running("blob"), 100)
    assert scene.progress_of("one").bytes_done == 150


def test_a_download_on_the_way_to_an_upload_is_not_counted(scene: Scene) -> None:
    lease = scene.job("copy")
    _comprises(scene, lease, 100, blobs=1)
    scene.want(lease, "blob", counted=False, size=100)
    scene.complete(scene.running("blob"))
    assert scene.progress_of("copy").bytes_done == 0


def test_figures_stay_when_the_job_has_ended(scene: Scene) -> None:
    scene.want(scene.job("other"), "joined", size=100)
    lease = scene.job("one")
    _comprises(scene, lease, 300, blobs=3, skipped=100, whole=1)
    scene.want(lease, "own", "joined", size=100)
    for digest in ("own", "joined"):
        scene.complete(scene.running(digest))
    before = scene.progress_of("one")
    scene.end(lease)
    assert scene.progress_of("one") == before


def test_figures_of_an_ended_job_do_not_grow_with_transfers_that_go_on(scene: Scene) -> None:
    lease = scene.job("one")
    _comprises(scene, lease, 100, blobs=1)
    scene.want(lease, "blob", size=100)
    scene.want(scene.job("two"), "blob", size=100)
    claim = scene.running("blob")
    _moves(scene, claim, 30)
    scene.end(lease, "cancelled")
    _moves(scene, claim, 30)
    assert scene.progress_of("one").bytes_moved == 30


def test_a_parent_shows_the_sums_of_its_children(scene: Scene) -> None:
    scene.submit("parent")
    ended = scene.job("ended", parent="parent", child_key="a", root="parent")
    _comprises(scene, ended, 100, blobs=1)
    scene.want(ended, "blob", size=100)
    scene.complete(scene.running("blob"))
    scene.end(ended)
    running = scene.job("running", parent="parent", child_key="b", root="parent")
    _comprises(scene, running, 300, blobs=2, skipped=200, whole=1)
    scene.want(running, "another", size=100)
    _moves(scene, scene.running("another"), 50)
    assert scene.progress_of("parent") == Progress(
        bytes_total=400,
        bytes_done=350,
        bytes_moved=150,
        bytes_skipped=200,
        blobs_total=3,
        blobs_done=2,
    )


def test_what_is_in_flight_for_a_parent_is_what_its_children_count(scene: Scene) -> None:
    scene.submit("parent", kind="mirror")
    lease = scene.job("child", parent="parent", child_key="a", root="parent")
    _comprises(scene, lease, 100, blobs=1)
    scene.want(lease, "on the way", counted=False, size=100)
    _moves(scene, scene.running("on the way"), 50)
    assert scene.progress_of("parent").bytes_done == 0
    scene.want(lease, "blob", size=100)
    _moves(scene, scene.running("blob"), 30)
    assert scene.progress_of("parent").bytes_done == 30


def test_a_place_that_refuses_leaves_what_it_has_sent(two_sources: Scene) -> None:
    claim = two_sources.running("blob")
    claim.moved = claim.done = 30
    two_sources.exclude(claim)
    with two_sources.catalog.write() as connection:
        connection.execute(update(jobs_table).values(bytes_total=100))
    assert two_sources.progress_of("one").bytes_moved == 30
    assert two_sources.progress_of("two").bytes_moved == 0


def test_each_job_asked_for_has_its_own_figures(scene: Scene) -> None:
    for name, total in (("one", 10), ("two", 20)):
        _comprises(scene, scene.job(name), total, blobs=1)
    assert [scene.progress_of(name).bytes_total for name in ("one", "two")] == [10, 20]
