"""Sparse files: GNU tar writes them, and hostile maps."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.tars import described, entries_of, file
from transship.store.errors import ExpansionError, InvalidLayerError
from transship.store.layers.tar.reader import TarReader

GNU_TAR = shutil.which("tar")


def write_sparse(path: Path, size: int, data: dict[int, bytes]) -> None:
    with path.open("wb") as out:
        out.truncate(size)
        for offset, piece in data.items():
            out.seek(offset)
            out.write(piece)


@pytest.mark.skipif(GNU_TAR is None, reason="needs GNU tar")
@pytest.mark.parametrize(
    "options",
    [
        ("--format=gnu",),
        ("--format=posix", "--sparse-version=0.0"),
        ("--format=posix", "--sparse-version=0.1"),
        ("--format=posix", "--sparse-version=1.0"),
    ],
)
def test_every_format_of_gnu_tar_is_read(options: tuple[str, ...], tmp_path: Path) -> None:
    block = os.urandom(4096)
    shapes: dict[str, tuple[int, dict[int, bytes]]] = {
        "middle": (1_000_000, {400_000: block}),
        "both-ends": (1_000_000, {0: block, 995_904: block}),
        # More runs than an old header holds, and than one of its extensions does.
        "many": (60 * 65536, {at * 65536: block for at in range(60)}),
        "nothing-but-a-hole": (300_000, {}),
        "n" * 120: (100_000, {50_000: b"x"}),
        "odd": (99_999, {8192: b"abc"}),
    }
    for name, (size, data) in shapes.items():
        write_sparse(tmp_path / name, size, data)
    (tmp_path / "plain").write_bytes(b"plain")
    names = [*shapes, "plain"]
    archive = subprocess.run(
        ["tar", "--sparse", *options, "-cf", "-", *names],
        cwd=tmp_path,
        check=True,
        capture_output=True,
    ).stdout
    found = entries_of(archive)
    assert list(found) == names
    for name, (entry, content) in found.items():
        assert content == (tmp_path / name).read_bytes(), name
        assert entry.size == len(content)
    assert len(archive) < 600_000


def sparse(content: bytes, **records: bytes) -> bytes:
    named = {f"GNU__sparse__{key}": value for key, value in records.items()}
    return described(file("s", content), **named)


def leading(text: bytes, data: bytes, size: bytes = b"1000") -> bytes:
    content = text.ljust(-(-len(text) // 512) * 512, b"\0") + data
    return sparse(content, major=b"1", minor=b"0", name=b"s", realsize=size)


@pytest.mark.parametrize(
    "archive",
    [
        sparse(b"abc", size=b"1000", map=b"0,1,500"),
        sparse(b"abc", size=b"1000", map=b"0,2,1,1"),
        sparse(b"abc", size=b"1000", map=b"500,2,0,1"),
        sparse(b"abc", size=b"1000", map=b"999,3"),
        sparse(b"abc", size=b"1000", map=b"0,4"),
        sparse(b"abc", size=b"1000", map=b"0,2"),
        sparse(b"abc", size=b"1000", map=b"0,-3"),
        sparse(b"abc", size=b"x", map=b"0,3"),
        sparse(b"abc", size=b"-1", map=b""),
        sparse(b"abc", major=b"2", minor=b"0", realsize=b"1000"),
        leading(b"1\n0\n4\n", b"abc"),
        leading(b"9\n0\n3\n", b"abc"),
        leading(b"x\n0\n3\n", b"abc"),
        leading(b"99999999999999999999999\n", b"abc"),
        leading(b"", b""),
        leading(b"1\n0\n3\n", b"abc", b"2"),
    ],
)
def test_maps_that_cannot_be_are_refused(archive: bytes) -> None:
    with pytest.raises(InvalidLayerError):
        entries_of(archive)


def test_a_map_may_be_empty() -> None:
    assert entries_of(sparse(b"", size=b"1000", map=b""))["s"][1] == bytes(1000)
    assert entries_of(leading(b"0\n", b""))["s"][1] == bytes(1000)


def test_holes_are_bounded_over_the_whole_archive() -> None:
    archive = sparse(b"", size=b"9999999999999999", map=b"")
    with pytest.raises(ExpansionError) as caught:
        entries_of(archive)
    assert caught.value.subject == "s"

    twice = sparse(b"", size=b"600", map=b"")[:-1024] * 2
    assert len(list(TarReader(io.BytesIO(twice), max_hole_bytes=1200))) == 2
    with pytest.raises(ExpansionError):
        list(TarReader(io.BytesIO(twice), max_hole_bytes=1199))
