"""Where an upload goes on is kept with the transfer, for as long as it is worth anything."""

from __future__ import annotations

import pytest

from tests.contract.catalog.scene import Scene
from transship.store.catalog.scheduling import heartbeats, transfers
from transship.store.catalog.scheduling.transfers import TransferLease
from transship.store.errors import LeaseLostError


@pytest.fixture
def claim(scene: Scene) -> TransferLease:
    scene.want(scene.job("j"), "a", direction="upload")
    return scene.running("a", direction="upload")


def keep(
    scene: Scene, claim: TransferLease, sealed: str | None = "sealed", offset: int = 60
) -> None:
    with scene.catalog.write() as connection:
        transfers.keep_session(connection, claim, sealed, offset)


def test_the_next_owner_gets_the_session(scene: Scene, claim: TransferLease) -> None:
    claim.done = claim.moved = 60
    keep(scene, claim)
    row = scene.transfer("a")
    assert (row.upload_session, row.upload_offset, row.bytes_done) == ("sealed", 60, 60)
    with scene.catalog.write() as connection:
        heartbeats.bury_owner(connection, "a worker", scene.now)
    scene.worker("another", uploads=1)
    heir = scene.running("a", "another", direction="upload")
    assert heir.session == "sealed"
    assert "sealed" not in repr(heir)


def test_a_session_survives_a_delay(scene: Scene, claim: TransferLease) -> None:
    keep(scene, claim)
    scene.delay(claim, 5)
    assert scene.transfer("a").upload_session == "sealed"


def test_a_session_that_is_lost_is_forgotten(scene: Scene, claim: TransferLease) -> None:
    keep(scene, claim)
    keep(scene, claim, None, 0)
    row = scene.transfer("a")
    assert (row.upload_session, row.upload_offset) == (None, 0)


@pytest.mark.parametrize("end", ["complete", "fail", "exclude"])
def test_an_ended_transfer_keeps_no_session(scene: Scene, claim: TransferLease, end: str) -> None:
    keep(scene, claim)
    getattr(scene, end)(claim)
    assert scene.transfer("a").upload_session is None


def test_a_cancelled_transfer_keeps_no_session(scene: Scene) -> None:
    lease = scene.job("j")
    scene.want(lease, "a", direction="upload")
    claim = scene.running("a", direction="upload")
    keep(scene, claim)
    scene.delay(claim, 5)
    scene.end(lease, "cancelled")
    row = scene.transfer("a")
    assert (row.state, row.upload_session) == ("cancelled", None)


def test_a_session_is_kept_by_its_owner_only(scene: Scene, claim: TransferLease) -> None:
    scene.hand_back(claim)
    scene.running("a", "another", direction="upload")
    with pytest.raises(LeaseLostError):
        keep(scene, claim, "of the dead")
    assert scene.transfer("a").upload_session is None
