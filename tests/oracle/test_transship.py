"""Transship answers as Docker did, but for the differences on purpose."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.oracle.compare import disagreements
from tests.oracle.implemented import IMPLEMENTED
from tests.oracle.records import recorded
from tests.oracle.scenario import play
from tests.oracle.transship import TransshipSubject
from tests.support.registries import RegistryProcess
from tests.support.up import Up, bare_environment


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryProcess]:
    with RegistryProcess(tmp_path_factory.mktemp("registry")) as registry:
        yield registry


@pytest.fixture
def transship(tmp_path: Path) -> Iterator[TransshipSubject]:
    """A server in one process, with nothing in its store."""
    with (
        Up(tmp_path, environ=bare_environment(tmp_path)) as up,
        TransshipSubject(up.url) as subject,
    ):
        yield subject


@pytest.mark.parametrize("scenario", IMPLEMENTED)
def test_transship_answers_as_docker(
    scenario: str, transship: TransshipSubject, registry: RegistryProcess
) -> None:
    seen = play(scenario, transship, registry)

    found = disagreements(scenario, recorded(scenario), seen)

    assert not found, "\n".join(map(str, found))
