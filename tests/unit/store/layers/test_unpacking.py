"""Which layers can be unpacked, as a daemon had it (tests/support/odd_layers.py)."""

from __future__ import annotations

import io

import pytest

from tests.support.odd_layers import REFUSED, UNPACKED, odd_layer
from tests.support.tars import file, folder, hardlink
from transship.store.errors import InvalidLayerError
from transship.store.layers.compose.unpacking import Unpacking
from transship.store.layers.tar.reader import TarReader


def unpack(layer: bytes) -> None:
    unpacking = Unpacking()
    for entry in TarReader(io.BytesIO(layer)):
        unpacking.add(entry)


@pytest.mark.parametrize("what", UNPACKED)
def test_it_can_be_unpacked(what: str) -> None:
    unpack(odd_layer(UNPACKED[what]))


@pytest.mark.parametrize("what", REFUSED)
def test_it_is_refused_and_the_entry_named(what: str) -> None:
    members = REFUSED[what]
    with pytest.raises(InvalidLayerError) as caught:
        unpack(odd_layer(members))
    assert caught.value.subject.rstrip("/") in {one.info.name for one in members}


@pytest.mark.parametrize("name", ["../a", "d/../../a", "../../etc/passwd"])
def test_a_name_that_leads_out_is_refused(name: str) -> None:
    """Docker writes it below the root, and can then not save what it has imported."""
    with pytest.raises(InvalidLayerError, match="leads out"):
        unpack(odd_layer([folder("d"), file(name, b"1")]))
    with pytest.raises(InvalidLayerError, match="leads out"):
        unpack(odd_layer([folder("d"), hardlink("b", name)]))
