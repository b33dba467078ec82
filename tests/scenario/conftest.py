"""What the stories run in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.redis import RedisProcess
from tests.support.registries import RegistryProcess
from tests.support.server import Server


@pytest.fixture
def source(tmp_path: Path) -> Iterator[RegistryProcess]:
    """A registry to take from."""
    with RegistryProcess(tmp_path / "source", host_name="localhost") as registry:
        yield registry


@pytest.fixture
def target(tmp_path: Path) -> Iterator[RegistryProcess]:
    """A registry to bring to."""
    with RegistryProcess(tmp_path / "target", host_name="localhost") as registry:
        yield registry


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisProcess]:
    """A broker that keeps nothing."""
    with RedisProcess(tmp_path / "redis") as server:
        yield server


@pytest.fixture
def start_server(tmp_path: Path, redis: RedisProcess) -> Iterator[Callable[..., Server]]:
    """Starts a server whose processes nobody starts again."""
    with ExitStack() as running:

        def start(*, workers: int = 2, **settings: str) -> Server:
            directory = tmp_path / "server"
            directory.mkdir()
            return running.enter_context(
                Server(directory, workers=workers, redis=redis, **settings)
            )

        yield start
