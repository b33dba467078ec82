"""The services of deploy/compose.yaml, as processes of this machine: they work together.

Every command, variable and health check is the file's own. What is not: Redis and PostgreSQL are
the tests' own, and the places of containers (host names, ports, paths) are mapped, all in one
table.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from cryptography.fernet import Fernet

from tests.support.compose import Service, dockerfile, here, is_healthy, moved, services
from tests.support.images import build_image, push_to_registry
from tests.support.postgres import PASSWORD, PostgresCluster
from tests.support.processes import ChildProcess, free_port, wait_until
from tests.support.redis import RedisProcess
from tests.support.registries import RegistryProcess
from tests.support.server import environment

USER, FLOWERS_PASSWORD = "ops", "seen by nobody"
SECRETS = {
    "POSTGRES_PASSWORD": quote(PASSWORD),
    "TRANSSHIP_SECRET_KEY": Fernet.generate_key().decode(),
    "FLOWER_USER": USER,
    "FLOWER_PASSWORD": FLOWERS_PASSWORD,
}

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


class Composed:
    """The services, started in the order of their needs and stopped in the reverse one."""

    def __init__(self, directory: Path, redis: RedisProcess, postgres: PostgresCluster) -> None:
        self.directory = directory
        self._own = {"redis": redis, "postgres": postgres}  # of the tests
        self.services = services(SECRETS)
        api, flower = free_port(), free_port()
        self.url, self.flower_url = f"http://127.0.0.1:{api}", f"http://127.0.0.1:{flower}"
        self.places = {
            "@postgres:5432/": f"@127.0.0.1:{postgres.port}/",
            "//redis:6379/": f"//127.0.0.1:{redis.port}/",
            "/var/lib/transship": str(directory / "home"),
            "0.0.0.0": "127.0.0.1",
            "127.0.0.1:5005": f"127.0.0.1:{api}",
            "'127.0.0.1', 5005": f"'127.0.0.1', {api}",
            "'127.0.0.1', 5555": f"'127.0.0.1', {flower}",
            "--port=5555": f"--port={flower}",
        }
        self.image = dict(dockerfile())
        self.running: dict[str, ChildProcess] = {}
        self.stopped_in: dict[str, float] = {}

    def command(self, service: Service, *arguments: str) -> list[str]:
        """What the service runs; *arguments* instead of its own command, as `compose run` does."""
        own = list(arguments) or service.command
        has_entrypoint = own[0] == "celery"
        return here([*([] if has_entrypoint else self._entrypoint), *own], self.places)

    def environ(self, service: Service) -> dict[str, str]:
        """What the service sees: nothing of this machine but PATH."""
        given = {key: moved(value, self.places) for key, value in service.environment.items()}
        return {**environment(self.directory / "home"), **given}

    def up(self) -> None:
        """Start everything, each when what it needs is as it should be."""
        for service in self.services:
            for need, condition in service.needs.items():
                self._await(need, condition)
            if service.name in self._own:
                continue
            self.running[service.name] = ChildProcess(
                self.command(service),
                directory=self.directory,
                name=service.name,
                environ=self.environ(service),
                separate_output=True,
            )

    def run(self, name: str, *arguments: str) -> str:
        """Run another command in the place of a service, and return what it says."""
        service = self[name]
        for need, condition in service.needs.items():
            self._await(need, condition)
        once = ChildProcess(
            self.command(service, *arguments),
            directory=self.directory,
            name=f"{name}-once",
            environ=self.environ(service),
            separate_output=True,
        )
        assert once.wait(60) == 0, once.log
        return once.output_path.read_text()

    def down(self) -> None:
        """Stop everything as compose does: SIGTERM, and so many seconds."""
        for service in reversed(self.services):
            process = self.running.get(service.name)
            if process is not None and process.exit_status is None:
                begun = time.monotonic()
                process.send(signal.SIGTERM)
                status = process.wait(service.grace_seconds)
                self.stopped_in[service.name] = time.monotonic() - begun
                assert status in {0, -signal.SIGTERM}, process.log

    def kill(self) -> None:
        """End whatever is left."""
        for process in self.running.values():
            process.kill()

    def __getitem__(self, name: str) -> Service:
        return next(service for service in self.services if service.name == name)

    @property
    def _entrypoint(self) -> list[str]:
        (program,) = [part.strip('"') for part in self.image["ENTRYPOINT"].strip("[]").split(",")]
        return [program]

    def _await(self, name: str, condition: str) -> None:
        if name in self._own:
            return  # it has been waited for
        if name not in self.running:
            self._start_once(name)
        process = self.running[name]
        if condition == "service_completed_successfully":
            assert process.wait(60) == 0, process.log
            return
        assert condition == "service_healthy"
        check = self[name].healthcheck
        process.wait_ready(lambda: is_healthy(check, self.places), 40)

    def _start_once(self, name: str) -> None:
        service = self[name]
        self.running[name] = ChildProcess(
            self.command(service),
            directory=self.directory,
            name=name,
            environ=self.environ(service),
        )


@pytest.fixture(scope="module")
def composed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Composed]:
    directory = tmp_path_factory.mktemp("compose")
    with RedisProcess(directory / "redis") as redis, PostgresCluster() as postgres:
        postgres.run("CREATE DATABASE transship")
        made = Composed(directory, redis, postgres)
        try:
            yield made
        finally:
            made.kill()
