"""The databases that keep to the contract, each test with one of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from store.catalog.engine import Catalog
from tests.contract.catalog.prepared import prepared_sqlite
from tests.contract.catalog.scene import Scene


@pytest.fixture(params=[prepared_sqlite], ids=["sqlite"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    make: Callable[[Path], str] = request.param
    return make(tmp_path)


@pytest.fixture
def catalog(url: str) -> Iterator[Catalog]:
    opened = Catalog(url)
    yield opened
    opened.close()


@pytest.fixture
def scene(catalog: Catalog) -> Scene:
    """A catalog with a worker that has threads to spare."""
    scene = Scene(catalog)
    scene.worker("a worker", control=64, downloads=64, uploads=64)
    return scene
