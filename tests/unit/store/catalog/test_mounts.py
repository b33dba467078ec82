"""Which file systems several hosts share, as the kernel lists its mounts."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from transship.store.catalog.db import mounts
from transship.store.catalog.db.mounts import network_filesystem


@pytest.fixture
def mounted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The kernel's list of mounts, to be written."""
    path = tmp_path / "mountinfo"
    monkeypatch.setattr(mounts, "MOUNTS", path)
    return path


def _line(directory: Path, kind: str) -> str:
    device = directory.stat().st_dev
    where = f"{os.major(device)}:{os.minor(device)}"
    return f"36 35 {where} / /mnt/my\\040store rw,noatime shared:7 master:1 - {kind} host:/x rw\n"


@pytest.mark.parametrize(
    "kind",
    ["nfs", "nfs4", "cifs", "smb3", "ceph", "lustre", "gpfs", "fuse.sshfs", "fuse.mount-s3"],
)
def test_a_file_system_of_a_network_is_told(mounted: Path, tmp_path: Path, kind: str) -> None:
    mounted.write_text("22 1 0:0 / /proc rw - proc proc rw\n" + _line(tmp_path, kind))
    assert network_filesystem(tmp_path) == kind


@pytest.mark.parametrize("kind", ["ext4", "xfs", "zfs", "tmpfs", "overlay", "9p", "fuse.ntfs-3g"])
def test_a_file_system_of_one_host_is_none(mounted: Path, tmp_path: Path, kind: str) -> None:
    mounted.write_text(_line(tmp_path, kind))
    assert network_filesystem(tmp_path) is None


def test_a_network_that_is_mounted_elsewhere_does_not_matter(mounted: Path, tmp_path: Path) -> None:
    mounted.write_text("36 35 999:999 / /mnt/far rw - nfs4 host:/x rw\n" + _line(tmp_path, "ext4"))
    assert network_filesystem(tmp_path) is None


@pytest.mark.parametrize("lines", ["", "nothing like a mount\n"])
def test_what_the_kernel_does_not_tell_is_not_held_against_it(
    mounted: Path, tmp_path: Path, lines: str
) -> None:
    mounted.write_text(lines)
    assert network_filesystem(tmp_path) is None


def test_without_a_list_of_mounts_nothing_is_refused(mounted: Path, tmp_path: Path) -> None:
    assert not mounted.exists()
    assert network_filesystem(tmp_path) is None


def test_a_directory_that_is_not_there_is_on_no_file_system(tmp_path: Path) -> None:
    assert network_filesystem(tmp_path / "nowhere") is None


def test_the_kernel_of_this_machine_is_understood() -> None:
    """The process list is a file system of this host, and has a line of its own."""
    proc = Path("/proc")
    device = proc.stat().st_dev
    wanted = f" {os.major(device)}:{os.minor(device)} "
    assert any(wanted in line for line in mounts.MOUNTS.read_text().splitlines())
    assert network_filesystem(proc) is None
