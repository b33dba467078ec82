"""Every fault at every kind of request, and what comes of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.scenario.fault_table import BEGIN, EVERY, README, ROWS, written_in
from tests.scenario.faulted import CHUNK, Faulted, Outcome
from tests.support.faults import Rule, Verb
from transship.workers.transfers.retry import decide

CELLS = [cell for row in ROWS for cell in row.cells()]


@pytest.fixture(autouse=True)
def _small_and_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks of a blob that is small, little patience, and delays of which the last is known."""
    monkeypatch.setattr("transship.workers.registry.upload_sessions.UPLOAD_CHUNK_BYTES", CHUNK)
    monkeypatch.setattr("transship.workers.registry.uploads.CHUNKED_FROM_BYTES", 2 * CHUNK)
    monkeypatch.setattr("transship.workers.registry.body.SILENCE_SECONDS", 0.2)
    monkeypatch.setattr("transship.workers.registry.body.DRIP_SECONDS", 0.3)
    assert decide.__kwdefaults__ is not None
    monkeypatch.setitem(decide.__kwdefaults__, "jitter", lambda: 1.0)


@pytest.fixture
def faulted(tmp_path: Path) -> Iterator[Callable[[list[Rule]], Faulted]]:
    made: list[Faulted] = []

    def make(rules: list[Rule]) -> Faulted:
        made.append(Faulted(tmp_path, rules))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.mark.parametrize(
    ("rules", "verb", "outcome"), [cell[1:] for cell in CELLS], ids=[cell[0] for cell in CELLS]
)
def test_the_table_holds(
    faulted: Callable[[list[Rule]], Faulted], rules: list[Rule], verb: Verb, outcome: Outcome
) -> None:
    story = faulted(rules)
    found = story.mirror() if verb is Verb.TAGS_LIST else story.copy()
    assert found == outcome
    assert story.arrived == (outcome.state == "succeeded")
    assert story.count(verb) > rules[-1].after, "nothing met the fault"


def test_every_kind_of_request_is_in_the_table() -> None:
    assert {verb for row in ROWS for verb in row.verbs} == set(EVERY)


def test_the_readme_shows_the_table() -> None:
    shown = README.read_text()
    assert BEGIN in shown
    assert shown == written_in(shown), "run python -m tests.scenario.fault_table"
