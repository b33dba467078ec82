"""The comparison notices each change of a recorded answer, but for those that are excused."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests.oracle.differences import DIFFERENCES
from tests.oracle.mutations import Excuse, unnoticed
from tests.oracle.records import recorded
from tests.oracle.scenario import all_scenarios

EXCUSES: Sequence[Excuse] = (
    Excuse(
        reason="entries of a layer have an order of their own, see the differences",
        scenario="squash_onto_parent",
        how="reverse",
    ),
    Excuse(
        reason="entries of a layer have an order of their own, see the differences",
        scenario="workspace_commit",
        how="reverse",
    ),
)


@pytest.mark.parametrize("scenario", sorted(all_scenarios()))
def test_each_change_of_an_answer_is_noticed(scenario: str) -> None:
    missed = [
        str(mutation)
        for mutation in unnoticed(scenario, recorded(scenario), DIFFERENCES)
        if not any(excuse.concerns(mutation) for excuse in EXCUSES)
    ]

    assert not missed, "\n".join(missed[:20])


@pytest.mark.parametrize("excuse", EXCUSES, ids=lambda excuse: excuse.scenario)
def test_each_excuse_is_needed(excuse: Excuse) -> None:
    assert any(
        excuse.concerns(mutation)
        for scenario in all_scenarios()
        for mutation in unnoticed(scenario, recorded(scenario), DIFFERENCES)
    )
