"""What the contract cannot say of every store: the tree on disk, links, modes, a full disk."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import stat
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from transship.store.content.local import LocalStore
from transship.store.errors import BlobMissingError, DiskFullError, HomeUnusableError, StoreError
from transship.store.oci.digest import Digest

RAW = b"content " * 1000
DIGEST = Digest.of(RAW)


def allow() -> None:
    """The guard of an owner that still holds its fence."""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "home" / "store"


@pytest.fixture
def store(root: Path) -> LocalStore:
    return LocalStore(root)


def names(directory: Path) -> list[str]:
    return [path.name for path in directory.iterdir()]


def blob_of(root: Path) -> Path:
    return root / "blobs" / "sha256" / DIGEST.hex


def bring_in(store: LocalStore) -> None:
    with store.ingest(DIGEST, fence=1) as ingest:
        ingest.write(RAW)
        ingest.commit(size=len(RAW), guard=allow)


# --- the tree ----------------------------------------------------------------------------------


def test_the_store_is_an_oci_layout(store: LocalStore, root: Path) -> None:
    assert json.loads((root / "oci-layout").read_bytes()) == {"imageLayoutVersion": "1.0.0"}


def test_opening_again_finds_what_is_there(store: LocalStore, root: Path) -> None:
    store.put(RAW)
    assert LocalStore(root).read(DIGEST, max_bytes=len(RAW)) == RAW


def test_many_may_open_a_new_store_at_once(root: Path) -> None:
    with ThreadPoolExecutor(8) as threads:
        stores = list(threads.map(lambda _: LocalStore(root), range(32)))
    assert stores[0].put(RAW) == DIGEST
    assert names(root / "ingests") == []


def test_an_ingest_has_a_file_of_its_own(store: LocalStore, root: Path) -> None:
    with store.ingest(DIGEST, fence=7) as ingest:
        ingest.write(RAW[:10])
    assert names(root / "ingests") == [f"sha256-{DIGEST.hex}.7"]


def test_a_blob_is_named_by_its_digest(store: LocalStore, root: Path) -> None:
    bring_in(store)
    assert blob_of(root).read_bytes() == RAW


def test_a_removed_blob_lies_in_the_trash(store: LocalStore, root: Path) -> None:
    store.remove(store.put(RAW))
    assert (root / "trash" / f"sha256-{DIGEST.hex}").read_bytes() == RAW


@pytest.mark.parametrize("place", [".", "blobs", "blobs/sha256", "ingests", "trash"])
def test_directories_are_the_owners_alone(store: LocalStore, root: Path, place: str) -> None:
    assert stat.S_IMODE((root / place).stat().st_mode) == 0o700


def test_a_blob_that_was_put_is_read_only(store: LocalStore, root: Path) -> None:
    store.put(RAW)
    assert stat.S_IMODE(blob_of(root).stat().st_mode) == 0o444


def test_a_blob_that_was_brought_in_is_read_only(store: LocalStore, root: Path) -> None:
    bring_in(store)
    assert stat.S_IMODE(blob_of(root).stat().st_mode) == 0o444


def test_foreign_files_among_the_blobs_are_not_listed(store: LocalStore, root: Path) -> None:
    (root / "blobs" / "README").write_text("not a directory")
    (root / "blobs" / "sha256" / "README").write_text("not a digest")
    (root / "blobs" / "md5").mkdir()
    (root / "blobs" / "md5" / ("a" * 32)).write_text("not an algorithm of ours")
    assert list(store.digests()) == []


def test_foreign_files_among_the_ingests_are_not_listed(store: LocalStore, root: Path) -> None:
    for name in ("README", f"sha256-{DIGEST.hex}", "sha256-abc.1", f"sha256-{DIGEST.hex}.one"):
        (root / "ingests" / name).write_text("x")
    assert list(store.partials()) == []


def test_a_partial_says_when_it_was_last_written(store: LocalStore, root: Path) -> None:
    with store.ingest(DIGEST, fence=1) as ingest:
        ingest.write(RAW[:10])
    os.utime(root / "ingests" / f"sha256-{DIGEST.hex}.1", (1000.0, 1234.5))
    assert [partial.modified_at for partial in store.partials()] == [1234.5]


# --- a home that cannot be used ----------------------------------------------------------------


@pytest.mark.parametrize("place", [".", "blobs", "blobs/sha256", "ingests", "trash"])
def test_a_file_in_the_place_of_a_directory_makes_the_home_unusable(root: Path, place: str) -> None:
    (root / place).parent.mkdir(parents=True, exist_ok=True)
    (root / place).write_text("in the way")
    with pytest.raises(HomeUnusableError) as caught:
        LocalStore(root)
    assert (caught.value.subject, bool(caught.value.hint)) == (str(root), True)


def test_a_directory_that_cannot_be_written_makes_the_home_unusable(
    store: LocalStore, root: Path
) -> None:
    ingests = root / "ingests"
    ingests.chmod(0o500)
    if os.access(ingests, os.W_OK):
        pytest.skip("this user may write everywhere")
    try:
        with pytest.raises(HomeUnusableError):
            LocalStore(root)
    finally:
        ingests.chmod(0o700)


# --- what is no regular file -------------------------------------------------------------------


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "secret"
    path.write_bytes(RAW)
    return path


def test_a_blob_that_is_a_link_has_no_size(store: LocalStore, root: Path, secret: Path) -> None:
    blob_of(root).symlink_to(secret)
    assert store.size(DIGEST) is None


def test_a_blob_that_is_a_link_is_not_opened(store: LocalStore, root: Path, secret: Path) -> None:
    blob_of(root).symlink_to(secret)
    with pytest.raises(BlobMissingError):
        store.open(DIGEST)


def test_a_blob_that_is_a_link_is_not_read(store: LocalStore, root: Path, secret: Path) -> None:
    blob_of(root).symlink_to(secret)
    with pytest.raises(BlobMissingError):
        store.read(DIGEST, max_bytes=len(RAW))


def test_a_link_is_replaced_and_not_followed(store: LocalStore, root: Path, secret: Path) -> None:
    secret.write_bytes(b"unchanged")
    blob_of(root).symlink_to(secret)
    bring_in(store)
    assert (secret.read_bytes(), store.read(DIGEST, max_bytes=len(RAW))) == (b"unchanged", RAW)


def test_a_link_in_the_trash_is_not_restored(store: LocalStore, root: Path, secret: Path) -> None:
    (root / "trash" / f"sha256-{DIGEST.hex}").symlink_to(secret)
    assert not store.restore(DIGEST)


def test_an_ingest_does_not_write_through_a_link(
    store: LocalStore, root: Path, secret: Path
) -> None:
    before = secret.read_bytes()
    (root / "ingests" / f"sha256-{DIGEST.hex}.1").symlink_to(secret)
    bring_in(store)
    assert secret.read_bytes() == before


def test_an_ingest_does_not_take_over_a_link(store: LocalStore, root: Path, secret: Path) -> None:
    (root / "ingests" / f"sha256-{DIGEST.hex}.1").symlink_to(secret)
    with pytest.raises(StoreError):
        store.ingest(DIGEST, fence=2)
    assert [partial.fence for partial in store.partials()] == [1]


def test_a_blob_that_is_a_directory_is_missing(store: LocalStore, root: Path) -> None:
    blob_of(root).mkdir()
    with pytest.raises(BlobMissingError):
        store.open(DIGEST)


@pytest.mark.timeout(20)
def test_a_blob_that_is_a_pipe_is_missing(store: LocalStore, root: Path) -> None:
    """Opened as a regular file is, it would block until someone writes."""
    os.mkfifo(blob_of(root))
    with pytest.raises(BlobMissingError):
        store.open(DIGEST)


# --- durability, and the file that an earlier owner may hold -------------------------------------


def test_a_partial_is_copied_and_its_file_is_not_used_on(store: LocalStore, root: Path) -> None:
    with store.ingest(DIGEST, fence=1) as earlier:
        earlier.write(RAW[:100])
        held = (root / "ingests" / f"sha256-{DIGEST.hex}.1").stat().st_ino
        with store.ingest(DIGEST, fence=2) as later:
            later.write(RAW[100:])
            later.commit(size=len(RAW), guard=allow)
    assert blob_of(root).stat().st_ino != held


def test_what_a_disk_can_clone_is_hashed_and_not_written(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def clones(target: int, _: int, source: int) -> None:
        os.pwrite(target, os.pread(source, len(RAW), 0), 0)

    with store.ingest(DIGEST, fence=1) as ingest:
        ingest.write(RAW[:100])
    with monkeypatch.context() as patched:
        patched.setattr(fcntl, "ioctl", clones)
        patched.setattr(os, "write", full)
        resumed = store.ingest(DIGEST, fence=2)
    with resumed:
        assert resumed.resumed == 100
        resumed.write(RAW[100:])
        resumed.commit(size=len(RAW), guard=allow)
    assert store.read(DIGEST, max_bytes=len(RAW)) == RAW


def test_a_file_that_the_same_fence_left_is_not_written_to(store: LocalStore, root: Path) -> None:
    with store.ingest(DIGEST, fence=1) as ingest:
        ingest.write(RAW[:100])
    left = root / "ingests" / f"sha256-{DIGEST.hex}.1"
    with left.open("rb") as held:
        with store.ingest(DIGEST, fence=1) as ingest:
            ingest.write(b"other")
        assert held.read() == RAW[:100]


@pytest.mark.parametrize("ending", ["commit", "discard", "leave"])
def test_an_ingest_that_has_ended_writes_to_no_file(store: LocalStore, ending: str) -> None:
    with store.ingest(DIGEST, fence=1) as ingest:
        ingest.write(RAW)
        if ending == "commit":
            ingest.commit(size=len(RAW), guard=allow)
        elif ending == "discard":
            ingest.discard()
    with tempfile.TemporaryFile() as reused:  # is given the lowest free number
        with pytest.raises(StoreError):
            ingest.write(b"late")
        assert reused.seek(0, os.SEEK_END) == 0


def test_the_bytes_are_synced_before_they_are_named(
    store: LocalStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[tuple[bool, bool]] = []
    fsync = os.fsync

    def watched(descriptor: int) -> None:
        fsync(descriptor)
        is_directory = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        synced.append((is_directory, blob_of(root).exists()))

    monkeypatch.setattr(os, "fsync", watched)
    bring_in(store)
    assert synced == [(False, False), (True, True)]


def full(_: int, __: bytes) -> int:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_is_told(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    with store.ingest(DIGEST, fence=1) as ingest, monkeypatch.context() as patched:
        patched.setattr(os, "write", full)
        with pytest.raises(DiskFullError):
            ingest.write(RAW)


def test_what_was_written_before_the_disk_was_full_stays(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    with store.ingest(DIGEST, fence=1) as ingest:
        ingest.write(RAW[:100])
        with monkeypatch.context() as patched:
            patched.setattr(os, "write", full)
            with pytest.raises(DiskFullError):
                ingest.write(RAW[100:])
    with store.ingest(DIGEST, fence=2) as ingest:
        ingest.write(RAW[ingest.offset :])
        ingest.commit(size=len(RAW), guard=allow)
    assert store.read(DIGEST, max_bytes=len(RAW)) == RAW


def test_a_disk_too_full_for_a_copy_keeps_the_original(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    with store.ingest(DIGEST, fence=1) as ingest:
        ingest.write(RAW[:100])
    with monkeypatch.context() as patched:
        patched.setattr(os, "write", full)
        with pytest.raises(DiskFullError):
            store.ingest(DIGEST, fence=2)
    assert [(partial.fence, partial.size) for partial in store.partials()] == [(1, 100)]


def test_what_could_not_be_put_leaves_no_file(
    store: LocalStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", fails)
        with pytest.raises(DiskFullError):
            store.put(RAW)
    assert names(root / "ingests") == []


def test_an_owner_whose_file_was_taken_is_told(store: LocalStore) -> None:
    with store.ingest(DIGEST, fence=1) as earlier:
        earlier.write(RAW)
        with store.ingest(DIGEST, fence=2), pytest.raises(StoreError):
            earlier.commit(size=len(RAW), guard=allow)
