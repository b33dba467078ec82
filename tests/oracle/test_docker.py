"""The recorded answers are Docker's: scenarios are played again on a daemon.

A few here, which together use most of what the harness can do; all of them by `make oracle-check`.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.oracle.docker import DockerSubject
from tests.oracle.records import recorded
from tests.oracle.scenario import play
from tests.support.dockerd import daemon_or_skip
from tests.support.registries import RegistryProcess

pytestmark = pytest.mark.long

SAMPLE = (
    *("events_filtered", "images_plain", "importing_plain", "inspect_children", "load_legacy"),
    *("pull_index", "push_wrong", "resolve_names", "tag_names", "workspace_commit"),
)


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryProcess]:
    with RegistryProcess(tmp_path_factory.mktemp("registry")) as registry:
        yield registry


@pytest.fixture
def docker() -> Iterator[DockerSubject]:
    with daemon_or_skip() as daemon:
        if daemon.driver != "overlay2":
            pytest.skip("the answers are recorded over overlay2, which does not start here")
        yield DockerSubject(daemon)


@pytest.mark.parametrize("scenario", SAMPLE)
def test_docker_answers_as_recorded(
    scenario: str, docker: DockerSubject, registry: RegistryProcess
) -> None:
    assert play(scenario, docker, registry) == recorded(scenario)
