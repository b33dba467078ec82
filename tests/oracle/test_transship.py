"""Transship answers as Docker did, but for the differences on purpose."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.oracle.compare import disagreements
from tests.oracle.records import recorded
from tests.oracle.scenario import all_scenarios, play
from tests.oracle.transship import TransshipSubject
from tests.support.registries import RegistryProcess
from tests.support.up import Up, bare_environment


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[RegistryProcess]:
    """A registry of which the server knows nothing yet: no layer is mounted from elsewhere."""
    with RegistryProcess(tmp_path) as registry:
        yield registry


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TransshipSubject]:
    directory = tmp_path_factory.mktemp("oracle")
    with (
        Up(directory, environ=bare_environment(directory)) as up,
        TransshipSubject(up.url, up.home) as subject,
    ):
        yield subject


@pytest.fixture
def transship(server: TransshipSubject) -> TransshipSubject:
    """A server in one process, with nothing in its store."""
    server.wipe()
    return server


@pytest.mark.parametrize("scenario", sorted(all_scenarios()))
def test_transship_answers_as_docker(
    scenario: str, transship: TransshipSubject, registry: RegistryProcess
) -> None:
    seen = play(scenario, transship, registry)

    found = disagreements(scenario, recorded(scenario), seen)

    assert not found, "\n".join(map(str, found))
