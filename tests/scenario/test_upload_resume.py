"""An upload whose worker dies is taken up by the next one where the registry stands."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.scenario.faulted import CHUNK, LAYER, Faulted
from tests.support.registry_simulator import LIKE, Quirks, RegistrySimulator
from transship.store.catalog.scheduling import progress, transfers
from transship.store.catalog.scheduling.transfers import TransferLease


class Died(BaseException):
    """The end of a worker: nothing handles it."""


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("transship.workers.registry.upload_sessions.UPLOAD_CHUNK_BYTES", CHUNK)
    monkeypatch.setattr("transship.workers.registry.uploads.CHUNKED_FROM_BYTES", 2 * CHUNK)


@pytest.fixture
def story(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Faulted]:
    quirks: Quirks = getattr(request, "param", Quirks())
    made = Faulted(tmp_path, [], quirks)
    yield made
    made.close()


@pytest.fixture
def dies_at(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Lets the worker die when it has committed that an upload has got so far, once."""
    keep_session = transfers.keep_session

    def set_up(end: int) -> None:
        crashes: list[int] = []

        def keep(connection: Any, claim: TransferLease, sealed: str | None, offset: int) -> None:
            keep_session(connection, claim, sealed, offset)
            if offset >= end and not crashes:
                crashes.append(offset)
                connection.commit()
                raise Died

        monkeypatch.setattr(transfers, "keep_session", keep)

    return set_up


def sent_of_the_layer(target: RegistrySimulator) -> int:
    return sum(
        request.received
        for request in target.requests()
        if request.method == "PATCH" and request.status != 401
    )


def test_nothing_is_sent_twice(story: Faulted, dies_at: Callable[[int], None]) -> None:
    dies_at(3 * CHUNK)
    with pytest.raises(Died):
        story.copy()
    story.reap()
    assert story.go_on().state == "succeeded"
    assert story.arrived
    assert sent_of_the_layer(story.target) == len(LAYER)
    row = story.transfer("upload")
    assert (row.bytes_done, row.bytes_moved) == (len(LAYER), len(LAYER))


def test_the_session_is_kept_sealed_and_forgotten_at_the_end(
    story: Faulted, dies_at: Callable[[int], None]
) -> None:
    dies_at(2 * CHUNK)
    with pytest.raises(Died):
        story.copy()
    row = story.transfer("upload")
    assert row.upload_offset == 2 * CHUNK
    assert "uploads" not in row.upload_session
    assert story.context.sealer.open(row.upload_session)["location"].count("/blobs/uploads/") == 1
    story.reap()
    story.go_on()
    assert story.transfer("upload").upload_session is None


@pytest.mark.parametrize("story", [LIKE["ecr"]], indirect=True)
def test_where_sessions_cannot_be_asked_for_the_blob_goes_anew(
    story: Faulted, dies_at: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("transship.workers.registry.upload_sessions.MAX_UPLOAD_CHUNK_BYTES", CHUNK)
    dies_at(2 * CHUNK)
    with pytest.raises(Died):
        story.copy()
    story.reap()
    assert story.go_on().state == "succeeded"
    assert story.arrived
    assert sent_of_the_layer(story.target) == len(LAYER) + 2 * CHUNK


def test_a_worker_that_dies_before_it_hears_of_the_end_sends_nothing_again(
    story: Faulted, monkeypatch: pytest.MonkeyPatch
) -> None:
    complete = transfers.complete

    def die(_c: Any, arrived: Any, *rest: Any, **named: Any) -> Any:
        if any(one.direction == "upload" and one.size == len(LAYER) for one, _ in arrived):
            raise Died
        return complete(_c, arrived, *rest, **named)

    with monkeypatch.context() as patched:
        patched.setattr(transfers, "complete", die)
        with pytest.raises(Died):
            story.copy()
    story.reap()
    assert story.go_on().state == "succeeded"
    assert sent_of_the_layer(story.target) == len(LAYER)


def test_what_was_sent_before_the_death_counts_for_the_job(
    story: Faulted, dies_at: Callable[[int], None]
) -> None:
    dies_at(3 * CHUNK)
    with pytest.raises(Died):
        story.copy()
    story.reap()
    story.go_on()
    with story.catalog.read() as connection:
        figures = progress.of_jobs(connection, [story.job])[story.job]
    assert figures.bytes_done == figures.bytes_total
    # The config had arrived as well, and nobody was there to write it down.
    assert figures.bytes_moved == len(LAYER)
    assert figures.bytes_skipped == figures.bytes_total - len(LAYER)
