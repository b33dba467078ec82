"""DiffIDs are of the uncompressed bytes, all of them."""

from __future__ import annotations

import gzip
import hashlib
import io

import pytest

from tests.support.tars import file, tar_of
from transship.store.errors import CancelledError, DecompressionError
from transship.store.layers.codecs.formats import open_reader
from transship.store.layers.diffids import measure


def test_a_diff_id_counts_the_padding_and_whatever_follows_the_tar() -> None:
    data = tar_of(file("a", b"x" * 3_000_000)) + bytes(8192) + b"more"
    with open_reader(io.BytesIO(gzip.compress(data))) as reader:
        measured = measure(reader)
    assert str(measured.diff_id) == f"sha256:{hashlib.sha256(data).hexdigest()}"
    assert measured.size == len(data)


def test_a_cut_layer_has_no_diff_id() -> None:
    cut = gzip.compress(tar_of(file("a")))[:-3]
    with open_reader(io.BytesIO(cut)) as reader, pytest.raises(DecompressionError):
        measure(reader)


def test_measuring_can_be_stopped() -> None:
    def stop() -> None:
        raise CancelledError("stop")

    with pytest.raises(CancelledError):
        measure(io.BytesIO(b"x"), check=stop)
