"""The comparison notices each change of a recorded answer."""

from __future__ import annotations

import pytest

from tests.oracle.differences import DIFFERENCES
from tests.oracle.mutations import unnoticed
from tests.oracle.records import recorded
from tests.oracle.scenario import all_scenarios


@pytest.mark.parametrize("scenario", sorted(all_scenarios()))
def test_each_change_of_an_answer_is_noticed(scenario: str) -> None:
    missed = list(map(str, unnoticed(scenario, recorded(scenario), DIFFERENCES)))

    assert not missed, "\n".join(missed[:20])
