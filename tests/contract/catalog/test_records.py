"""Events, limits, references, blobs: what is written down and found again."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select

from tests.contract.catalog.scene import HERE, THERE, Scene, named
from transship.store.catalog.access.tenants import HOUSE
from transship.store.catalog.content import blobs, image_events, layers, lineage, references
from transship.store.catalog.content.blobs import Source
from transship.store.catalog.content.layers import Pair
from transship.store.catalog.content.references import HeldImage
from transship.store.catalog.db.schema import events as event_rows
from transship.store.catalog.db.schema import jobs as job_rows
from transship.store.catalog.db.schema import leases
from transship.store.catalog.scheduling import events
from transship.store.catalog.scheduling.admission import limits
from transship.store.catalog.scheduling.admission.limits import Limit

NAME = "docker.io/library/app:1"
INDEX = "application/vnd.oci.image.index.v1+json"


# --- events --------------------------------------------------------------------------------------


def test_events_come_in_the_order_in_which_they_happened(scene: Scene) -> None:
    scene.end(scene.job("one"))
    assert [event.type for event in scene.events_of("one")] == ["queued", "running", "succeeded"]


def test_a_job_runs_for_the_first_time_once(scene: Scene) -> None:
    scene.release(scene.job("one"), again_in=0)
    scene.take("one")
    assert [event.type for event in scene.events_of("one")] == ["queued", "running"]


def test_events_of_other_jobs_are_not_among_them(scene: Scene) -> None:
    for name in ("one", "two"):
        scene.submit(name)
    assert {event.job for event in scene.events_of("one")} == {"one"}


def test_events_of_children_are_among_them_if_asked_for(scene: Scene) -> None:
    scene.submit("parent")
    scene.submit("child", parent="parent", child_key="a")
    with scene.catalog.read() as connection:
        found = [event.job for event in events.of_job(connection, "parent", children=True)]
    assert found == ["parent", "child"]


def test_only_events_after_a_known_one_are_read(scene: Scene) -> None:
    scene.end(scene.job("one"))
    known = scene.events_of("one")[0]
    with scene.catalog.read() as connection:
        later = events.of_job(connection, "one", after=known.id)
    assert [event.type for event in later] == ["running", "succeeded"]


def test_no_more_events_are_read_than_asked_for(scene: Scene) -> None:
    scene.end(scene.job("one"))
    with scene.catalog.read() as connection:
        assert len(events.of_job(connection, "one", limit=2)) == 2


def test_an_event_keeps_its_facts_and_its_time(scene: Scene) -> None:
    scene.submit("one")
    with scene.catalog.write() as connection:
        events.record(connection, "one", "warning", scene.now + 1, message="careful")
    last = scene.events_of("one")[-1]
    assert (last.time, last.data) == (scene.now + 1, {"message": "careful"})


def test_the_id_of_an_event_is_never_given_again(scene: Scene) -> None:
    scene.submit("one")
    last = scene.events_of("one")[-1].id
    with scene.catalog.write() as connection:
        connection.execute(event_rows.delete())
    scene.submit("two")
    assert scene.events_of("two")[0].id > last


# --- limits --------------------------------------------------------------------------------------


def _limits(scene: Scene) -> dict[str, Limit]:
    with scene.catalog.read() as connection:
        return limits.effective(connection)


def test_every_limit_is_there_from_the_beginning(scene: Scene) -> None:
    found = {name: (limit.value, limit.source) for name, limit in _limits(scene).items()}
    assert found == {
        "max_concurrent_downloads": (3, "default"),
        "max_concurrent_uploads": (5, "default"),
        "max_download_attempts": (5, "default"),
        "max_upload_attempts": (5, "default"),
    }


def test_the_default_of_the_last_start_counts(scene: Scene) -> None:
    with scene.catalog.write() as connection:
        for value in (7, 9):
            limits.write_defaults(connection, {"max_concurrent_downloads": (value, "environment")})
    found = _limits(scene)["max_concurrent_downloads"]
    assert (found.value, found.source) == (9, "environment")


def test_an_override_outlives_a_start(scene: Scene) -> None:
    scene.limit("max_concurrent_downloads", 1)
    with scene.catalog.write() as connection:
        limits.write_defaults(connection, {"max_concurrent_downloads": (7, "environment")})
    found = _limits(scene)["max_concurrent_downloads"]
    assert (found.value, found.source) == (1, "override")


def test_the_lease_in_force_is_the_last_one_written(scene: Scene) -> None:
    with scene.catalog.write() as connection:
        limits.set_lease_seconds(connection, 7.5)
    with scene.catalog.read() as connection:
        assert limits.lease_seconds(connection) == 7.5


# --- references ----------------------------------------------------------------------------------


def _publish(scene: Scene, digest: str, seq: int) -> str | None:
    with scene.catalog.write() as connection:
        return references.publish(connection, HOUSE, NAME, digest, INDEX, seq=seq, now=scene.now)


def _stands_for(scene: Scene) -> Any:
    with scene.catalog.read() as connection:
        row = references.get(connection, HOUSE, NAME)
    return None if row is None else row.digest


def test_a_published_name_stands_for_its_digest(scene: Scene) -> None:
    _publish(scene, "sha256:aa", scene.job("one").seq)
    assert _stands_for(scene) == "sha256:aa"


def test_publishing_again_changes_nothing(scene: Scene) -> None:
    seq = scene.job("one").seq
    assert [_publish(scene, "sha256:aa", seq), _publish(scene, "sha256:aa", seq)] == [None, None]
    assert _stands_for(scene) == "sha256:aa"


def test_a_newer_job_moves_the_name(scene: Scene) -> None:
    older, newer = scene.job("older").seq, scene.job("newer").seq
    _publish(scene, "sha256:aa", older)
    assert _publish(scene, "sha256:bb", newer) is None
    assert _stands_for(scene) == "sha256:bb"


def test_an_older_job_does_not_move_the_name_back_and_learns_by_whom(scene: Scene) -> None:
    older, newer = scene.job("older").seq, scene.job("newer").seq
    _publish(scene, "sha256:bb", newer)
    assert _publish(scene, "sha256:aa", older) == "newer"
    assert _stands_for(scene) == "sha256:bb"


def test_a_removed_name_stands_for_nothing(scene: Scene) -> None:
    _publish(scene, "sha256:aa", scene.job("one").seq)
    with scene.catalog.write() as connection:
        references.remove(connection, HOUSE, NAME, "sha256:bb")
    assert _stands_for(scene) == "sha256:aa"
    with scene.catalog.write() as connection:
        references.remove(connection, HOUSE, NAME, "sha256:aa")
    assert _stands_for(scene) is None


def _image(digest: str, image_id: str, architecture: str = "amd64") -> HeldImage:
    return HeldImage(
        digest=digest,
        image_id=image_id,
        media_type="application/vnd.oci.image.manifest.v1+json",
        os="linux",
        architecture=architecture,
        variant="",
        created="2024-05-01T12:00:00Z",
        size=1000,
        layers=3,
    )


def test_adding_an_image_again_changes_nothing(scene: Scene) -> None:
    with scene.catalog.write() as connection:
        for _ in range(2):
            references.add_image(connection, _image("sha256:aa", "sha256:11"))
        found = references.images_under(connection, "sha256:aa")
    assert [row.digest for row in found] == ["sha256:aa"]


def test_an_index_leads_to_the_images_that_are_held_of_it(scene: Scene) -> None:
    with scene.catalog.write() as connection:
        references.add_image(connection, _image("sha256:aa", "sha256:11"))
        references.add_image(connection, _image("sha256:bb", "sha256:22", "arm64"))
        references.add_image(connection, _image("sha256:cc", "sha256:33"))
        blobs.link(connection, "sha256:99", ["sha256:bb", "sha256:aa", "sha256:dd"])
        found = references.images_under(connection, "sha256:99")
    assert [row.digest for row in found] == ["sha256:aa", "sha256:bb"]


@pytest.mark.parametrize(
    ("prefix", "ids", "roots"),
    [
        ("sha256:1", ["sha256:11"], []),
        ("sha256:b", [], ["sha256:bb"]),
        ("sha256:9", [], ["sha256:99"]),
        (
            "sha256:",
            ["sha256:11", "sha256:22"],
            ["sha256:99", "sha256:aa", "sha256:bb", "sha256:cc"],
        ),
        ("sha256:f", [], []),
        ("%", [], []),
        ("sha256:_1", [], []),
    ],
)
def test_images_are_found_by_how_their_id_or_their_digest_begins(
    scene: Scene, prefix: str, ids: list[str], roots: list[str]
) -> None:
    _publish(scene, "sha256:99", 1)
    with scene.catalog.write() as connection:
        references.add_image(connection, _image("sha256:aa", "sha256:11"))
        references.add_image(connection, _image("sha256:bb", "sha256:22"))
        references.add_image(connection, _image("sha256:cc", "sha256:22"))
        assert references.ids_beginning(connection, prefix) == ids
        assert references.roots_beginning(connection, prefix) == roots


def test_an_index_in_an_index_leads_to_its_images_too(scene: Scene) -> None:
    with scene.catalog.write() as connection:
        references.add_image(connection, _image("sha256:aa", "sha256:11"))
        blobs.link(connection, "sha256:aa", ["sha256:11"])
        blobs.link(connection, "sha256:99", ["sha256:98"])
        blobs.link(connection, "sha256:98", ["sha256:aa"])
        found = references.images_under(connection, "sha256:99")
    assert [row.digest for row in found] == ["sha256:aa"]


def test_a_name_that_was_assigned_is_newer_than_every_job(scene: Scene) -> None:
    older = scene.job("older").seq
    with scene.catalog.write() as connection:
        references.assign(connection, HOUSE, NAME, "sha256:bb", INDEX, now=scene.now)
    assert _publish(scene, "sha256:aa", older) == ""
    assert _publish(scene, "sha256:cc", scene.job("newer").seq) is None
    assert _stands_for(scene) == "sha256:cc"


def test_whoever_is_not_on_record_any_more_can_still_be_newer(scene: Scene) -> None:
    older, newer = scene.job("older").seq, scene.job("newer").seq
    _publish(scene, "sha256:bb", newer)
    with scene.catalog.write() as connection:
        connection.execute(job_rows.delete().where(job_rows.c.id == "newer"))
    assert _publish(scene, "sha256:aa", older) == ""


def test_a_name_by_digest_is_noted_once(scene: Scene) -> None:
    name = "docker.io/library/app@sha256:aa"
    with scene.catalog.write() as connection:
        for _ in range(2):
            references.add_digest(connection, HOUSE, name, "sha256:aa", INDEX, scene.now)
        found = references.of_digest(connection, HOUSE, "sha256:aa")
    assert [row.name for row in found] == [name]


# --- layers --------------------------------------------------------------------------------------


def test_a_stream_may_be_held_in_several_blobs(scene: Scene) -> None:
    with scene.catalog.write() as connection:
        layers.record(connection, [Pair("gzip", "tar"), Pair("zstd", "tar")], verified=False)
        layers.record(connection, [Pair("zstd", "tar", 100)], verified=True)
        assert layers.digests_of(connection, "tar") == ["zstd", "gzip"]
        assert layers.diff_id_of(connection, "gzip") == "tar"
        assert layers.diff_sizes(connection, ["gzip", "zstd"]) == {"zstd": 100}


def test_what_was_verified_goes_before_what_is_claimed_and_stays_so(scene: Scene) -> None:
    with scene.catalog.write() as connection:
        layers.record(connection, [Pair("blob", "true", 100)], verified=True)
        layers.record(connection, [Pair("blob", "lie"), Pair("blob", "true")], verified=False)
        assert layers.diff_id_of(connection, "blob") == "true"
        assert layers.diff_sizes(connection, ["blob"]) == {"blob": 100}


# --- lineage -------------------------------------------------------------------------------------


def test_children_are_the_held_images_that_were_made_from_another(scene: Scene) -> None:
    with scene.catalog.write() as connection:
        references.add_image(connection, _image("sha256:aa", "child"))
        for name in ("child", "lost child"):
            lineage.set_parent(connection, HOUSE, name, "parent")
        assert lineage.children(connection, HOUSE, "parent") == ["child"]
        assert lineage.parents(connection, HOUSE) == {"parent"}


def test_being_tagged_and_having_a_parent_are_kept_apart(scene: Scene) -> None:
    with scene.catalog.write() as connection:
        lineage.set_parent(connection, HOUSE, "child", "parent")
        lineage.tagged(connection, HOUSE, "child", scene.now)
        lineage.set_parent(connection, HOUSE, "child", "parent")
        row = lineage.get(connection, HOUSE, "child")
    assert row is not None
    assert (row.parent, row.tagged_at) == ("parent", scene.now)


# --- events of images ----------------------------------------------------------------------------


def test_events_of_images_are_read_by_id_and_by_time(scene: Scene) -> None:
    with scene.catalog.write() as connection:
        assert image_events.newest(connection) == 0
        for second in range(4):
            image_events.record(connection, HOUSE, "tag", f"image {second}", {}, scene.now + second)
        everything = image_events.after(connection, HOUSE, 0)
        since = scene.now + 1
        some = image_events.after(connection, HOUSE, 0, since=since, until=since + 1)
        rest = image_events.after(connection, HOUSE, everything[2].id)
        assert image_events.newest(connection) == everything[-1].id
    assert [event.actor for event in some] == ["image 1", "image 2"]
    assert [event.actor for event in rest] == ["image 3"]


# --- blobs ---------------------------------------------------------------------------------------

ME, YOU = Source(HERE, "app", "me"), Source(HERE, "app", "you")


def test_only_blobs_that_were_added_are_held(scene: Scene) -> None:
    with scene.catalog.write() as connection:
        blobs.add(connection, {"a": 10}, scene.now)
        assert blobs.held(connection, ["a", "b"], scene.now) == {"a"}


def test_many_blobs_are_asked_for_at_once(scene: Scene) -> None:
    digests = named("blob", 1234)
    with scene.catalog.write() as connection:
        for digest in digests:
            blobs.add(connection, {digest: 10}, scene.now)
        assert blobs.held(connection, digests, scene.now) == set(digests)


def test_a_forgotten_blob_is_not_held(scene: Scene) -> None:
    with scene.catalog.write() as connection:
        blobs.add(connection, {"a": 10}, scene.now)
        blobs.forget(connection, "a")
        assert blobs.held(connection, ["a"], scene.now) == set()


def test_what_one_credential_showed_says_nothing_of_another(scene: Scene) -> None:
    with scene.catalog.write() as connection:
        blobs.confirm(connection, ["a"], ME, scene.now)
        found = [blobs.confirmed(connection, ["a"], source) for source in (ME, YOU)]
    assert found == [{"a"}, set()]


def test_what_was_shown_again_counts_from_then(scene: Scene) -> None:
    with scene.catalog.write() as connection:
        blobs.confirm(connection, ["a"], ME, scene.now)
        early = blobs.confirmed(connection, ["a"], ME, since=scene.now)
        blobs.confirm(connection, ["a"], ME, scene.now + 1)
        late = blobs.confirmed(connection, ["a"], ME, since=scene.now)
    assert (early, late) == (set(), {"a"})


def test_a_blob_may_be_mounted_from_elsewhere_in_dockers_order(scene: Scene) -> None:
    seen = [
        Source(HERE, "team/a/older", "me"),
        Source(HERE, "team/b", "me"),
        Source(HERE, "team/a/newer", "me"),
        Source(HERE, "other", "me"),
        Source(HERE, "team/a/target", "me"),
        Source(HERE, "team/a/hidden", "you"),
        Source(HERE, "other", "you"),
        Source(THERE, "elsewhere", "me"),
    ]
    with scene.catalog.write() as connection:
        for age, source in enumerate(seen):
            blobs.confirm(connection, ["a"], source, scene.now + age)
        found = blobs.repositories_with(
            connection, "a", registry=HERE, fingerprint="me", but="team/a/target", limit=5
        )
    assert found == ["team/a/newer", "team/a/older", "team/b", "other", "team/a/hidden"]


def test_no_more_repositories_are_named_than_will_be_tried(scene: Scene) -> None:
    with scene.catalog.write() as connection:
        for age, name in enumerate(("older", "newer")):
            blobs.confirm(connection, ["a"], Source(HERE, name, "me"), scene.now + age)
        found = blobs.repositories_with(
            connection, "a", registry=HERE, fingerprint="me", but="target", limit=1
        )
    assert found == ["newer"]


def test_leasing_twice_is_leasing_once(scene: Scene) -> None:
    with scene.catalog.write() as connection:
        for _ in range(2):
            blobs.lease(connection, "one", ["a", "b"])
        found = connection.execute(select(leases.c.digest)).scalars().all()
    assert sorted(found) == ["a", "b"]


def test_linking_twice_is_linking_once(scene: Scene) -> None:
    with scene.catalog.write() as connection:
        for _ in range(2):
            blobs.link(connection, "parent", ["a", "b"])
        assert blobs.children(connection, "parent") == {"a", "b"}
