"""One server a module: starting it takes longer than most tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.api.serving import Api


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """A server without workers."""
    with Api(tmp_path_factory.mktemp("api")) as served:
        yield served


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Api]:
    """The same for one test, which changes what others would notice."""
    with Api(tmp_path) as served:
        yield served
