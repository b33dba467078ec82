"""Blobs that are there: looking, reading, putting, the trash."""

from __future__ import annotations

import pytest

from tests.contract.content.conftest import Spoiler
from tests.support.images import build_image, put_image
from transship.store.content.ports import ContentStore
from transship.store.errors import BlobMissingError, DigestMismatchError, SizeMismatchError
from transship.store.oci.digest import Digest

RAW = b"a manifest, say"
DIGEST = Digest.of(RAW)


def test_what_is_put_is_named_by_its_sha256(content: ContentStore) -> None:
    assert content.put(RAW) == DIGEST


def test_what_is_put_can_be_read(content: ContentStore) -> None:
    assert content.read(content.put(RAW), max_bytes=100) == RAW


def test_what_is_put_can_be_opened(content: ContentStore) -> None:
    with content.open(content.put(RAW)) as file:
        assert file.read() == RAW


def test_nothing_at_all_can_be_put(content: ContentStore) -> None:
    assert content.size(content.put(b"")) == 0


def test_putting_again_is_success(content: ContentStore) -> None:
    assert content.put(RAW) == content.put(RAW)


def test_putting_again_repairs_what_was_spoiled(content: ContentStore, spoil: Spoiler) -> None:
    content.put(RAW)
    spoil.blob(DIGEST, b"x" * len(RAW))
    content.put(RAW)
    assert content.read(DIGEST, max_bytes=100) == RAW


def test_putting_leaves_no_partial(content: ContentStore) -> None:
    content.put(RAW)
    assert list(content.partials()) == []


def test_the_size_is_the_number_of_bytes(content: ContentStore) -> None:
    assert content.size(content.put(RAW)) == len(RAW)


@pytest.mark.parametrize("digest", [DIGEST, Digest.of(RAW, "sha512")])
def test_an_absent_blob_has_no_size(content: ContentStore, digest: Digest) -> None:
    assert content.size(digest) is None


@pytest.mark.parametrize("digest", [DIGEST, Digest.of(RAW, "sha512")])
def test_an_absent_blob_cannot_be_opened(content: ContentStore, digest: Digest) -> None:
    with pytest.raises(BlobMissingError):
        content.open(digest)


def test_an_absent_blob_cannot_be_read(content: ContentStore) -> None:
    with pytest.raises(BlobMissingError):
        content.read(DIGEST, max_bytes=100)


def test_a_blob_may_be_as_long_as_allowed(content: ContentStore) -> None:
    assert content.read(content.put(RAW), max_bytes=len(RAW)) == RAW


def test_a_longer_blob_is_refused(content: ContentStore) -> None:
    content.put(RAW)
    with pytest.raises(SizeMismatchError):
        content.read(DIGEST, max_bytes=len(RAW) - 1)


def test_reading_hashes_again(content: ContentStore, spoil: Spoiler) -> None:
    content.put(RAW)
    spoil.blob(DIGEST, b"x" * len(RAW))
    with pytest.raises(DigestMismatchError):
        content.read(DIGEST, max_bytes=100)


def test_all_blobs_are_listed(content: ContentStore) -> None:
    put = {content.put(bytes([number])) for number in range(5)}
    assert set(content.digests()) == put


def test_blobs_can_be_removed_while_they_are_listed(content: ContentStore) -> None:
    put = {content.put(bytes([number])) for number in range(5)}
    removed = {digest for digest in content.digests() if content.remove(digest)}
    assert removed == put


def test_there_is_room_in_the_beginning(content: ContentStore) -> None:
    assert content.free_bytes() > 0


def test_a_whole_image_can_be_put(content: ContentStore) -> None:
    image = build_image("put", layers=2, layer_bytes=20_000)
    put_image(content, image)
    assert set(content.digests()) == {image.digest, *image.blobs}


# --- the trash ---------------------------------------------------------------------------------


def test_a_removed_blob_is_absent(content: ContentStore) -> None:
    content.remove(content.put(RAW))
    assert content.size(DIGEST) is None


def test_a_removed_blob_is_not_listed(content: ContentStore) -> None:
    content.remove(content.put(RAW))
    assert list(content.digests()) == []


def test_removing_says_that_the_blob_was_there(content: ContentStore) -> None:
    assert content.remove(content.put(RAW))


def test_removing_says_that_the_blob_was_absent(content: ContentStore) -> None:
    assert not content.remove(DIGEST)


def test_a_blob_that_is_open_stays_readable(content: ContentStore) -> None:
    with content.open(content.put(RAW)) as file:
        content.remove(DIGEST)
        assert file.read() == RAW


def test_a_removed_blob_can_be_restored(content: ContentStore) -> None:
    content.remove(content.put(RAW))
    assert content.restore(DIGEST)
    assert content.read(DIGEST, max_bytes=100) == RAW


def test_what_was_never_removed_cannot_be_restored(content: ContentStore) -> None:
    assert not content.restore(DIGEST)


def test_what_is_spoiled_is_not_restored(content: ContentStore, spoil: Spoiler) -> None:
    content.remove(content.put(RAW))
    spoil.trash(DIGEST, b"x" * len(RAW))
    assert not content.restore(DIGEST)
    assert content.size(DIGEST) is None


def test_what_was_removed_can_be_put_again(content: ContentStore) -> None:
    content.remove(content.put(RAW))
    content.put(RAW)
    assert content.read(DIGEST, max_bytes=100) == RAW


def test_what_was_put_again_can_be_removed_again(content: ContentStore) -> None:
    content.remove(content.put(RAW))
    assert content.remove(content.put(RAW))
