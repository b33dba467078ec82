"""What a collection has moved a moment before is taken back."""

from __future__ import annotations

import pytest

from tests.support.memory_store import MemoryStore
from transship.store.content.present import ensure_present
from transship.store.errors import BlobMissingError


def test_what_lies_in_the_trash_is_taken_back() -> None:
    content = MemoryStore()
    there, moved = content.put(b"there"), content.put(b"moved")
    content.remove(moved)
    ensure_present(content, [there, moved])
    assert content.size(moved) == len(b"moved")
    assert list(content.trashed()) == []


def test_what_is_not_there_either_is_missed() -> None:
    content = MemoryStore()
    digest = content.put(b"moved")
    content.remove(digest)
    content.erase(digest)
    with pytest.raises(BlobMissingError) as missed:
        ensure_present(content, [digest])
    assert missed.value.subject == str(digest)
