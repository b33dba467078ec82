"""The services of deploy/compose.yaml, as processes of this machine: they work together.

Every command, variable and health check is the file's own. What is not: Redis and PostgreSQL are
the tests' own, and the places of containers (host names, ports, paths) are mapped, all in one
table.
"""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from cryptography.fernet import Fernet

from tests.support.compose import dockerfile, here, is_healthy, moved, services
from tests.support.images import Image, build_image, push_to_registry
from tests.support.postgres import PASSWORD, PostgresCluster
from tests.support.processes import ChildProcess, free_port, wait_until
from tests.support.redis import RedisProcess
from tests.support.registries import RegistryProcess
from tests.support.server import environment

USER, FLOWERS_PASSWORD = "ops", "seen by nobody"
SECRETS = {
    "POSTGRES_PASSWORD": quote(PASSWORD),
    "REDIS_PASSWORD": "redis-secret",
    "TRANSSHIP_SECRET_KEY": Fernet.generate_key().decode(),
    "FLOWER_USER": USER,
    "FLOWER_PASSWORD": FLOWERS_PASSWORD,
}

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


class Composed:
    """The services, started in the order of their needs and stopped in the reverse one."""

    def __init__(self, directory: Path, redis: RedisProcess, postgres: PostgresCluster) -> None:
        self._directory = directory
        self._own = {"redis": redis.answers, "postgres": lambda: True}  # the tests' own, and there
        self._image = dict(dockerfile())
        self._running: dict[str, ChildProcess] = {}
        self.services = {service.name: service for service in services(SECRETS)}
        api, flower = free_port(), free_port()
        self.url, self.flower_url = f"http://127.0.0.1:{api}", f"http://127.0.0.1:{flower}"
        self.places = {
            "@postgres:5432/": f"@127.0.0.1:{postgres.port}/",
            "//:redis-secret@redis:6379/": f"//127.0.0.1:{redis.port}/",
            "/var/lib/transship": str(directory / "home"),
            "0.0.0.0": "127.0.0.1",
            "127.0.0.1:5005": f"127.0.0.1:{api}",
            "'127.0.0.1', 5005": f"'127.0.0.1', {api}",
            "'127.0.0.1', 5555": f"'127.0.0.1', {flower}",
            "--port=5555": f"--port={flower}",
        }

    def up(self) -> None:
        """Start everything, each when what it needs is as it should be."""
        for name in self.services:
            self._start(name)

    def run(self, name: str, *command: str) -> str:
        """Run another command in the place of a service, and return what it says."""
        self._await_needs(name)
        once = self._process(name, [*command], f"{name}, once")
        assert once.wait(60) == 0, once.log
        return once.output_path.read_text()

    def down(self) -> dict[str, float]:
        """Stop everything as compose does; how many seconds each took of those that it has."""
        took = {}
        for name in reversed(self.services):
            process = self._running.get(name)
            if process is not None and process.exit_status is None:
                begun = time.monotonic()
                process.send(signal.SIGTERM)
                status = process.wait(self.services[name].grace_seconds)
                took[name] = time.monotonic() - begun
                assert status in {0, -signal.SIGTERM}, process.log
        return took

    def kill(self) -> None:
        """End whatever is left."""
        for process in self._running.values():
            process.kill()

    def await_healthy(self, name: str) -> None:
        """Wait until the health check of a service, which may be that of the image, is content."""
        check = self.services[name].healthcheck
        if not check:
            check = ["CMD", *json.loads(self._image["HEALTHCHECK"].partition(" CMD ")[2])]
        self._running[name].wait_ready(lambda: is_healthy(check, self.places), 40)

    def command_lines(self) -> str:
        """What everybody on the machine may read."""
        running = [one for one in self._running.values() if one.exit_status is None]
        return "\n".join(Path(f"/proc/{one.pid}/cmdline").read_text() for one in running)

    def logs(self) -> str:
        """What all of them have said."""
        return "".join(process.log for process in self._running.values())

    def _start(self, name: str) -> None:
        if name in self._own or name in self._running:
            return
        self._await_needs(name)
        self._running[name] = self._process(name, self.services[name].command, name)

    def _await_needs(self, name: str) -> None:
        for need, condition in self.services[name].needs.items():
            self._start(need)
            if need in self._own:
                assert condition == "service_healthy"
                wait_until(self._own[need], 20, need)
            elif condition == "service_completed_successfully":
                assert self._running[need].wait(60) == 0, self._running[need].log
            else:
                self.await_healthy(need)

    def _process(self, name: str, command: list[str], log: str) -> ChildProcess:
        service = self.services[name]
        entrypoint = service.entrypoint or json.loads(self._image["ENTRYPOINT"])
        given = {key: moved(value, self.places) for key, value in service.environment.items()}
        return ChildProcess(
            here([*entrypoint, *command], self.places),
            directory=self._directory,
            name=log,
            environ={**environment(self._directory / "home"), **given},
            separate_output=True,
        )


@dataclass
class Story:
    """What was to be seen of the services while they ran, and how they ended."""

    ready: dict[str, Any]
    metrics: str
    job: dict[str, Any]
    arrived: str
    digest: str
    refused: int  # what the API answers without a token
    flower: dict[str, int]  # the status of its page and its API, without and with the login
    shown: set[str]
    readable: str
    logs: str
    took: dict[str, float]


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    directory = tmp_path_factory.mktemp("compose")
    with (
        RegistryProcess(directory / "source", host_name="localhost") as source,
        RegistryProcess(directory / "target", host_name="localhost") as target,
        RedisProcess(directory / "redis") as redis,
        PostgresCluster() as postgres,
    ):
        postgres.run("CREATE DATABASE transship")
        image = build_image("composed", layers=2)
        push_to_registry(source.url, "team/app", "1", image)
        composed = Composed(directory, redis, postgres)
        try:
            yield _play(composed, source, target, image)
        finally:
            composed.kill()


def _play(
    composed: Composed, source: RegistryProcess, target: RegistryProcess, image: Image
) -> Story:
    token = composed.run("api", "tokens", "create", "--name", "admin", "--scope", "admin").strip()
    composed.up()
    for name in ("api", "flower"):
        composed.await_healthy(name)
    bearer = {"Authorization": f"Bearer {token}"}
    with (
        httpx.Client(base_url=composed.url, timeout=70, headers=bearer, trust_env=False) as api,
        httpx.Client(base_url=composed.flower_url, timeout=30, trust_env=False) as flower,
    ):
        ready = wait_until(lambda: _ready(api), 40, "a worker for each queue")
        spec = {
            "kind": "mirror",
            "source": f"{source.host}/team/app",
            "destination": f"{target.host}/mirrored/app",
        }
        accepted = api.post("/api/v1/jobs", json=spec)
        assert accepted.status_code == 202, accepted.text
        job = api.get(f"/api/v1/jobs/{accepted.json()['id']}", params={"wait": 60}).json()
        answer = httpx.head(
            f"{target.url}/v2/mirrored/app/manifests/1",
            headers={"Accept": image.descriptor.media_type},
            trust_env=False,
        )
        login = (USER, FLOWERS_PASSWORD)
        return Story(
            ready=ready,
            metrics=api.get("/metrics").text,
            job=job,
            arrived=answer.headers.get("docker-content-digest", ""),
            digest=str(image.digest),
            refused=httpx.get(f"{composed.url}/api/v1/jobs", trust_env=False).status_code,
            flower={
                "page": flower.get("/tasks").status_code,
                "api": flower.get("/api/tasks").status_code,
                "page, with the login": flower.get("/tasks", auth=login).status_code,
                "api, with the login": flower.get("/api/tasks", auth=login).status_code,
            },
            shown=wait_until(lambda: _shown(flower, login), 20, "Flower to show the tasks"),
            readable=composed.command_lines(),
            logs=composed.logs(),
            took=composed.down(),
        )


def _ready(api: httpx.Client) -> dict[str, Any]:
    answer = api.get("/readyz")
    ready: dict[str, Any] = answer.json() if answer.status_code == 200 else {}
    return ready if ready and not ready["degraded"] else {}


def _shown(flower: httpx.Client, login: tuple[str, str]) -> set[str]:
    tasks = flower.get("/api/tasks", auth=login).json().values()
    names = {task["name"] for task in tasks if task["state"] == "SUCCESS"}
    return (
        names if {"transship.mirror", "transship.download", "transship.upload"} <= names else set()
    )


def test_one_worker_serves_each_queue(story: Story) -> None:
    assert story.ready["status"] == "ok"
    assert all(story.ready["threads"].values())
    assert "transship_workers 4.0" in story.metrics


def test_an_image_is_mirrored_through_them(story: Story) -> None:
    assert story.job["state"] == "succeeded", story.job
    assert story.arrived == story.digest


def test_nobody_is_served_without_a_token(story: Story) -> None:
    assert story.refused == 401


def test_flower_is_behind_its_login_and_shows_the_tasks(story: Story) -> None:
    assert story.flower == {
        "page": 401,
        "api": 401,
        "page, with the login": 200,
        "api, with the login": 200,
    }
    assert "transship.mirror" in story.shown


@pytest.mark.parametrize("name", [name for name in SECRETS if name != "FLOWER_USER"])
def test_no_secret_is_on_a_command_line_or_in_a_log(story: Story, name: str) -> None:
    assert SECRETS[name] not in story.readable
    assert SECRETS[name] not in story.logs


def test_all_of_them_end_within_ten_seconds_of_being_asked(story: Story) -> None:
    roles = {
        "api",
        "flower",
        "worker-control",
        "worker-downloads",
        "worker-uploads",
        "worker-local",
    }
    assert story.took.keys() == roles
    assert max(story.took.values()) < 10, story.took
