"""Drafts, the trash and quarantine: what upkeep needs of a content store."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from transship.store.content.local import LocalStore
from transship.store.content.ports import ContentStore
from transship.store.oci.digest import Digest

RAW = b"what nobody knows the digest of"
DIGEST = Digest.of(RAW)


def test_a_draft_gets_its_digest_at_its_end(content: ContentStore) -> None:
    with content.draft("a-job") as draft:
        draft.write(RAW[:5])
        draft.write(memoryview(RAW)[5:])
        assert draft.digest == DIGEST
        assert content.size(DIGEST) is None
        assert (draft.commit(), draft.size) == (DIGEST, len(RAW))
    assert content.read(DIGEST, max_bytes=100) == RAW


def test_a_draft_of_a_blob_that_is_there_is_a_success(content: ContentStore) -> None:
    content.put(RAW)
    with content.draft("a-job") as draft:
        draft.write(RAW)
        assert draft.commit() == DIGEST


def test_a_draft_that_is_left_early_is_gone(content: ContentStore) -> None:
    with content.draft("a-job") as draft:
        draft.write(RAW)
    assert content.discard_drafts("a-job") == 0
    assert list(content.digests()) == []


def test_what_a_dead_holder_left_is_dropped_by_its_name(content: ContentStore) -> None:
    drafts = [content.draft(holder) for holder in ("a-job", "a-job", "another")]
    assert [content.discard_drafts(h) for h in ("a-job", "another", "a-job")] == [2, 1, 0]
    for draft in drafts:
        draft.__exit__(None, None, None)


def test_old_drafts_are_dropped_whoever_left_them(content: ContentStore) -> None:
    draft = content.draft("a-job")
    assert content.discard_old_drafts(time.time() - 60) == 0
    assert content.discard_old_drafts(time.time() + 60) == 1
    draft.__exit__(None, None, None)


def test_a_committed_draft_is_no_draft_any_more(content: ContentStore) -> None:
    with content.draft("a-job") as draft:
        draft.write(RAW)
        draft.commit()
    assert content.discard_old_drafts(time.time() + 60) == 0


def test_the_trash_is_listed_and_erased_one_by_one(content: ContentStore) -> None:
    content.remove(content.put(RAW))
    content.remove(content.put(b"more"))
    assert {(t.digest, t.size) for t in content.trashed()} == {
        (DIGEST, len(RAW)),
        (Digest.of(b"more"), 4),
    }
    content.erase(DIGEST)
    assert [t.digest for t in content.trashed()] == [Digest.of(b"more")]
    assert not content.restore(DIGEST)


def test_what_was_erased_already_is_no_matter(content: ContentStore) -> None:
    content.erase(DIGEST)


def test_a_blob_in_quarantine_is_absent_and_may_come_again(content: ContentStore) -> None:
    content.put(RAW)
    assert content.quarantine(DIGEST)
    assert content.size(DIGEST) is None
    assert not content.quarantine(DIGEST)
    assert content.put(RAW) == DIGEST


def test_when_a_blob_was_written_is_told(content: ContentStore) -> None:
    assert content.modified_at(DIGEST) is None
    content.put(RAW)
    written = content.modified_at(DIGEST)
    assert written is not None
    assert written <= time.time() + 1


def test_the_time_in_the_trash_counts_from_the_removal(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    before = time.time() - 1
    store.remove(store.put(RAW))
    (trashed,) = store.trashed()
    assert before < trashed.since <= time.time() + 1


def test_a_holder_that_is_no_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holder"):
        LocalStore(tmp_path).draft("../escape")
