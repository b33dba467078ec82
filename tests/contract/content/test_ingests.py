"""Blobs on their way in: writing, committing, taking over, and whoever does not notice."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from threading import Barrier

import pytest

from transship.store.content.ports import ContentStore, Ingest
from transship.store.errors import (
    BlobMissingError,
    DigestMismatchError,
    LeaseLostError,
    SizeMismatchError,
    StoreError,
)
from transship.store.oci.digest import Digest

RAW = b"".join(hashlib.sha256(bytes([number])).digest() for number in range(100))
DIGEST = Digest.of(RAW)
HALF = len(RAW) // 2


def allow() -> None:
    """The guard of an owner that still holds its fence."""


def refuse() -> None:
    """The guard of an owner that lost it."""
    raise LeaseLostError("the fence is stale")


def finish(ingest: Ingest) -> None:
    """Write the rest of the blob and commit it."""
    ingest.write(RAW[ingest.offset :])
    ingest.commit(size=len(RAW), guard=allow)


def leave_behind(content: ContentStore, data: bytes, *, fence: int) -> None:
    """Die after having written *data*."""
    with content.ingest(DIGEST, fence=fence) as ingest:
        if ingest.offset:
            ingest.rewind()
        ingest.write(data)


def held(content: ContentStore) -> dict[int, int]:
    """The sizes of the partials by their fences."""
    return {partial.fence: partial.size for partial in content.partials()}


# --- writing -----------------------------------------------------------------------------------


def test_an_ingest_begins_with_nothing(content: ContentStore) -> None:
    with content.ingest(DIGEST, fence=1) as ingest:
        assert (ingest.digest, ingest.offset, ingest.resumed) == (DIGEST, 0, 0)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_what_is_committed_can_be_read(
    content: ContentStore, kind: type[bytes | bytearray | memoryview]
) -> None:
    with content.ingest(DIGEST, fence=1) as ingest:
        ingest.write(kind(RAW[:HALF]))
        ingest.write(kind(RAW[HALF:]))
        ingest.commit(size=len(RAW), guard=allow)
    assert content.read(DIGEST, max_bytes=len(RAW)) == RAW


def test_a_buffer_may_be_used_again_after_the_write(content: ContentStore) -> None:
    buffer = bytearray(HALF)
    with content.ingest(DIGEST, fence=1) as ingest:
        for half in (RAW[:HALF], RAW[HALF:]):
            buffer[:] = half
            ingest.write(memoryview(buffer))
        ingest.commit(size=len(RAW), guard=allow)
    assert content.read(DIGEST, max_bytes=len(RAW)) == RAW


def test_a_blob_may_be_named_by_its_sha512(content: ContentStore) -> None:
    digest = Digest.of(RAW, "sha512")
    with content.ingest(digest, fence=1) as ingest:
        finish(ingest)
    assert content.read(digest, max_bytes=len(RAW)) == RAW


def test_a_blob_may_be_empty(content: ContentStore) -> None:
    digest = Digest.of(b"")
    with content.ingest(digest, fence=1) as ingest:
        ingest.commit(size=0, guard=allow)
    assert content.size(digest) == 0


def test_the_offset_counts_what_is_held(content: ContentStore) -> None:
    with content.ingest(DIGEST, fence=1) as ingest:
        ingest.write(RAW[:10])
        ingest.write(RAW[10:15])
        assert ingest.offset == 15


def test_a_rewound_ingest_begins_with_nothing(content: ContentStore) -> None:
    with content.ingest(DIGEST, fence=1) as ingest:
        ingest.write(b"what a registry sends that ignores ranges")
        ingest.rewind()
        assert ingest.offset == 0


def test_a_rewound_ingest_can_be_finished(content: ContentStore) -> None:
    with content.ingest(DIGEST, fence=1) as ingest:
        ingest.write(b"longer than the blob itself " * 200)
        ingest.rewind()
        finish(ingest)
    assert content.read(DIGEST, max_bytes=len(RAW)) == RAW


# --- before and after the commit ---------------------------------------------------------------


def test_nothing_is_visible_before_the_commit(content: ContentStore) -> None:
    with content.ingest(DIGEST, fence=1) as ingest:
        ingest.write(RAW)
        with pytest.raises(BlobMissingError):
            content.open(DIGEST)


def test_nothing_is_listed_before_the_commit(content: ContentStore) -> None:
    leave_behind(content, RAW, fence=1)
    assert list(content.digests()) == []


def test_the_guard_is_asked_once_and_before_the_blob_is_visible(content: ContentStore) -> None:
    seen: list[int | None] = []
    with content.ingest(DIGEST, fence=1) as ingest:
        ingest.write(RAW)
        ingest.commit(size=len(RAW), guard=lambda: seen.append(content.size(DIGEST)))
    assert seen == [None]


def test_a_commit_leaves_no_partial(content: ContentStore) -> None:
    with content.ingest(DIGEST, fence=1) as ingest:
        finish(ingest)
    assert held(content) == {}


def test_a_blob_that_is_there_already_is_success(content: ContentStore) -> None:
    with content.ingest(DIGEST, fence=1) as ingest:
        ingest.write(RAW)
        content.put(RAW)
        ingest.commit(size=len(RAW), guard=allow)
    assert content.read(DIGEST, max_bytes=len(RAW)) == RAW
    assert held(content) == {}


@pytest.mark.parametrize("error", [LeaseLostError("stale"), TimeoutError("the database hangs")])
def test_what_the_guard_raises_is_passed_on(content: ContentStore, error: Exception) -> None:
    def guard() -> None:
        raise error

    with content.ingest(DIGEST, fence=1) as ingest:
        ingest.write(RAW)
        with pytest.raises(type(error)) as caught:
            ingest.commit(size=len(RAW), guard=guard)
    assert caught.value is error


def test_nothing_becomes_visible_when_the_guard_raises(content: ContentStore) -> None:
    with content.ingest(DIGEST, fence=1) as ingest:
        ingest.write(RAW)
        with pytest.raises(LeaseLostError):
            ingest.commit(size=len(RAW), guard=refuse)
    assert content.size(DIGEST) is None


def test_the_partial_stays_when_the_guard_raises(content: ContentStore) -> None:
    with content.ingest(DIGEST, fence=1) as ingest:
        ingest.write(RAW)
        with pytest.raises(LeaseLostError):
            ingest.commit(size=len(RAW), guard=refuse)
    assert held(content) == {1: len(RAW)}


# --- wrong bytes -------------------------------------------------------------------------------

WRONG = [
    pytest.param(RAW[:-1], SizeMismatchError, id="short"),
    pytest.param(RAW + b"x", SizeMismatchError, id="long"),
    pytest.param(b"", SizeMismatchError, id="nothing"),
    pytest.param(RAW[:-1] + b"x", DigestMismatchError, id="other"),
]


@pytest.mark.parametrize(("data", "error"), WRONG)
def test_wrong_bytes_are_refused(
    content: ContentStore, data: bytes, error: type[Exception]
) -> None:
    with content.ingest(DIGEST, fence=1) as ingest:
        ingest.write(data)
        with pytest.raises(error):
            ingest.commit(size=len(RAW), guard=allow)
    assert content.size(DIGEST) is None


@pytest.mark.parametrize(("data", "error"), WRONG)
def test_wrong_bytes_are_dropped(
    content: ContentStore, data: bytes, error: type[Exception]
) -> None:
    with content.ingest(DIGEST, fence=1) as ingest:
        ingest.write(data)
        with pytest.raises(error):
            ingest.commit(size=len(RAW), guard=allow)
    assert held(content) == {}


def test_the_guard_is_not_asked_about_wrong_bytes(content: ContentStore) -> None:
    asked: list[None] = []
    with content.ingest(DIGEST, fence=1) as ingest:
        ingest.write(RAW[:-1])
        with pytest.raises(SizeMismatchError):
            ingest.commit(size=len(RAW), guard=lambda: asked.append(None))
    assert asked == []


def test_a_wrong_size_says_what_was_expected(content: ContentStore) -> None:
    with content.ingest(DIGEST, fence=1) as ingest:
        ingest.write(RAW[:-1])
        with pytest.raises(SizeMismatchError) as caught:
            ingest.commit(size=len(RAW), guard=allow)
    assert (caught.value.expected, caught.value.actual) == (len(RAW), len(RAW) - 1)


def test_a_wrong_size_is_found_though_the_digest_is_right(content: ContentStore) -> None:
    with content.ingest(DIGEST, fence=1) as ingest:
        ingest.write(RAW)
        with pytest.raises(SizeMismatchError):
            ingest.commit(size=len(RAW) + 1, guard=allow)


# --- partials, and taking over -----------------------------------------------------------------


def test_leaving_keeps_a_partial(content: ContentStore) -> None:
    leave_behind(content, RAW[:HALF], fence=3)
    assert [(one.digest, one.fence, one.size) for one in content.partials()] == [(DIGEST, 3, HALF)]


def test_leaving_with_an_error_keeps_a_partial(content: ContentStore) -> None:
    with suppress(ConnectionError), content.ingest(DIGEST, fence=3) as ingest:
        ingest.write(RAW[:HALF])
        raise ConnectionError
    assert held(content) == {3: HALF}


def test_leaving_with_nothing_keeps_nothing(content: ContentStore) -> None:
    with content.ingest(DIGEST, fence=1):
        pass
    assert held(content) == {}


def test_a_discarded_ingest_keeps_nothing(content: ContentStore) -> None:
    with content.ingest(DIGEST, fence=1) as ingest:
        ingest.write(RAW[:HALF])
        ingest.discard()
    assert held(content) == {}


def test_the_next_ingest_goes_on_where_the_last_ended(content: ContentStore) -> None:
    leave_behind(content, RAW[:HALF], fence=1)
    with content.ingest(DIGEST, fence=2) as ingest:
        assert (ingest.offset, ingest.resumed) == (HALF, HALF)


def test_what_was_resumed_does_not_grow(content: ContentStore) -> None:
    leave_behind(content, RAW[:HALF], fence=1)
    with content.ingest(DIGEST, fence=2) as ingest:
        ingest.write(RAW[HALF : HALF + 10])
        assert (ingest.offset, ingest.resumed) == (HALF + 10, HALF)


def test_a_blob_may_be_brought_in_by_several(content: ContentStore) -> None:
    for fence in range(1, 5):
        with content.ingest(DIGEST, fence=fence) as ingest:
            ingest.write(RAW[ingest.offset : ingest.offset + 700])
    with content.ingest(DIGEST, fence=5) as last:
        finish(last)
    assert content.read(DIGEST, max_bytes=len(RAW)) == RAW


def test_the_longest_partial_is_taken_over(content: ContentStore) -> None:
    """Partials of several fences are there when a taker died before it removed the old ones."""
    with content.ingest(DIGEST, fence=1) as one, content.ingest(DIGEST, fence=3) as three:
        with content.ingest(DIGEST, fence=2) as two:
            two.write(RAW[:10])
        one.write(RAW[:1])
        three.write(RAW[:HALF])
    with content.ingest(DIGEST, fence=4) as ingest:
        assert ingest.resumed == HALF


def test_taking_over_leaves_one_partial(content: ContentStore) -> None:
    leave_behind(content, RAW[:HALF], fence=1)
    leave_behind(content, RAW[:10], fence=2)
    with content.ingest(DIGEST, fence=3) as ingest:
        ingest.write(RAW[10:20])
    assert held(content) == {3: 20}


def test_a_partial_of_a_higher_fence_is_left_alone(content: ContentStore) -> None:
    leave_behind(content, RAW[:HALF], fence=9)
    with content.ingest(DIGEST, fence=8) as ingest:
        ingest.write(RAW[:10])
        assert ingest.resumed == 0
    assert held(content) == {8: 10, 9: HALF}


def test_the_same_fence_begins_anew(content: ContentStore) -> None:
    with content.ingest(DIGEST, fence=1) as ingest:
        ingest.write(RAW)
        with pytest.raises(LeaseLostError):
            ingest.commit(size=len(RAW), guard=refuse)
    with content.ingest(DIGEST, fence=1) as ingest:
        assert ingest.offset == 0
        finish(ingest)
    assert content.read(DIGEST, max_bytes=len(RAW)) == RAW


def test_fences_are_compared_as_numbers(content: ContentStore) -> None:
    leave_behind(content, RAW[:HALF], fence=9)
    with content.ingest(DIGEST, fence=10) as ingest:
        assert ingest.resumed == HALF


def test_a_partial_of_another_blob_is_left_alone(content: ContentStore) -> None:
    leave_behind(content, RAW[:HALF], fence=1)
    with content.ingest(Digest.of(RAW, "sha512"), fence=2) as ingest:
        assert ingest.resumed == 0
    assert held(content) == {1: HALF}


def test_a_wrong_partial_that_was_taken_over_is_found_out(content: ContentStore) -> None:
    leave_behind(content, b"x" * HALF, fence=1)
    with content.ingest(DIGEST, fence=2) as ingest:
        ingest.write(RAW[HALF:])
        with pytest.raises(DigestMismatchError):
            ingest.commit(size=len(RAW), guard=allow)
    assert held(content) == {}


def test_a_partial_that_was_taken_over_can_be_rewound(content: ContentStore) -> None:
    leave_behind(content, b"x" * HALF, fence=1)
    with content.ingest(DIGEST, fence=2) as ingest:
        ingest.rewind()
        assert ingest.resumed == 0
        finish(ingest)
    assert content.read(DIGEST, max_bytes=len(RAW)) == RAW


def test_partials_can_be_discarded(content: ContentStore) -> None:
    leave_behind(content, RAW[:HALF], fence=1)
    content.discard_partials(DIGEST)
    assert held(content) == {}


def test_discarding_leaves_the_partials_of_others(content: ContentStore) -> None:
    leave_behind(content, RAW[:HALF], fence=1)
    content.discard_partials(Digest.of(b"another"))
    assert held(content) == {1: HALF}


# --- an owner that was asleep ------------------------------------------------------------------


def test_a_stopped_owner_that_writes_on_changes_nothing_of_its_successor(
    content: ContentStore,
) -> None:
    with content.ingest(DIGEST, fence=1) as zombie:
        zombie.write(RAW[:HALF])
        with content.ingest(DIGEST, fence=2) as successor:
            zombie.write(b"x" * 1000)
            assert successor.offset == HALF
            successor.write(RAW[HALF:])
            zombie.write(b"y" * 10_000)
            successor.commit(size=len(RAW), guard=allow)
    assert content.read(DIGEST, max_bytes=len(RAW)) == RAW


def test_a_stopped_owner_that_writes_on_changes_nothing_of_the_blob(
    content: ContentStore,
) -> None:
    with content.ingest(DIGEST, fence=1) as zombie:
        zombie.write(RAW[:HALF])
        with content.ingest(DIGEST, fence=2) as successor:
            finish(successor)
        zombie.write(b"x" * 1000)
        zombie.rewind()
        zombie.write(b"y" * 10_000)
    assert content.read(DIGEST, max_bytes=len(RAW)) == RAW


def test_an_owner_that_committed_cannot_change_the_blob_by_a_late_discard(
    content: ContentStore,
) -> None:
    with content.ingest(DIGEST, fence=1) as ingest:
        finish(ingest)
        ingest.discard()
    assert content.read(DIGEST, max_bytes=len(RAW)) == RAW


def test_a_stopped_owner_that_lost_its_fence_makes_nothing_visible(content: ContentStore) -> None:
    with content.ingest(DIGEST, fence=1) as zombie:
        zombie.write(RAW[:HALF])
        with content.ingest(DIGEST, fence=2) as successor:
            successor.write(RAW[HALF : HALF + 1])
            zombie.write(RAW[HALF:])
            with pytest.raises(LeaseLostError):
                zombie.commit(size=len(RAW), guard=refuse)
            assert content.size(DIGEST) is None


def test_a_stopped_owner_that_finds_the_blob_there_succeeds(content: ContentStore) -> None:
    with content.ingest(DIGEST, fence=1) as zombie:
        zombie.write(RAW)
        with content.ingest(DIGEST, fence=2) as successor:
            finish(successor)
        zombie.commit(size=len(RAW), guard=allow)
    assert content.read(DIGEST, max_bytes=len(RAW)) == RAW


def test_a_stopped_owner_with_wrong_bytes_takes_nothing_from_its_successor(
    content: ContentStore,
) -> None:
    with content.ingest(DIGEST, fence=1) as zombie:
        zombie.write(RAW[:HALF])
        with content.ingest(DIGEST, fence=2):
            with pytest.raises((SizeMismatchError, StoreError)):
                zombie.commit(size=len(RAW), guard=allow)
            assert held(content) == {2: HALF}


def test_many_may_bring_in_the_same_blob_at_once(content: ContentStore) -> None:
    ready = Barrier(8)

    def bring(fence: int) -> int:
        ready.wait(timeout=30)
        with content.ingest(DIGEST, fence=fence) as ingest:
            ingest.rewind()
            for begin in range(0, len(RAW), 100):
                ingest.write(RAW[begin : begin + 100])
            try:
                ingest.commit(size=len(RAW), guard=allow)
            except StoreError:  # the file was taken over, and the blob is not there yet
                return 0
        return 1

    with ThreadPoolExecutor(8) as threads:
        succeeded = sum(threads.map(bring, range(1, 9)))
    assert succeeded >= 1
    assert content.read(DIGEST, max_bytes=len(RAW)) == RAW
