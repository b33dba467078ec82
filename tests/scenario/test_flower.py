"""Flower shows tasks as people call them, and no secret is anywhere on their way."""

from __future__ import annotations

import base64
import json
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import httpx
import pytest
from redis import Redis

from tests.support.images import build_image, push_to_registry
from tests.support.processes import ChildProcess, wait_until
from tests.support.proxy import SlowProxy
from tests.support.redis import require_redis
from tests.support.registries import RegistryProcess
from tests.support.server import TRANSSHIP, environment
from tests.support.up import Up

USER, PASSWORD = "ann", "correct-horse-battery-staple"
BASIC = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
SECRETS = (PASSWORD, BASIC)
TASKS = {"transship.copy", "transship.download", "transship.upload"}


@dataclass
class Story:
    """What was to be seen while a job with credentials ran."""

    source: str
    target: str
    job: dict[str, Any]
    tasks: list[dict[str, Any]]
    texts: dict[str, str] = field(default_factory=dict)


class Monitor:
    """Writes down every command that Redis is given while the block runs."""

    def __init__(self, client: Any) -> None:
        self.lines: list[str] = []
        self._client = client
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        with self._client.monitor() as monitor:
            self._started.set()
            while True:
                command: str = monitor.next_command()["command"]
                if "the end of the story" in command:
                    return
                self.lines.append(command)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._started.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._client.echo("the end of the story")
        self._thread.join(10)


def dump(client: Any) -> str:
    """Every key of a Redis with what it holds, as text."""
    return "\n".join(f"{key!r}: {client.dump(key)!r}" for key in client.scan_iter())


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    require_redis()
    directory = tmp_path_factory.mktemp("flower")
    docker = directory / "docker"
    docker.mkdir()
    image = build_image("secret", layers=2)
    locked = RegistryProcess(directory / "locked", htpasswd=(USER, PASSWORD), host_name="localhost")
    plain = RegistryProcess(directory / "plain", host_name="localhost")
    environ = environment(directory / "home", FLOWER_UNAUTHENTICATED_API="true")
    with (
        locked,
        plain,
        SlowProxy(plain.host, host_name="localhost") as source,
        SlowProxy(locked.host, hold_upload_seconds=0.5, host_name="localhost") as target,
        Up(directory, "--flower=127.0.0.1:0", environ=environ) as up,
        httpx.Client(base_url=up.flower_url, timeout=30, trust_env=False) as flower,
    ):
        push_to_registry(plain.url, "team/app", "1", image)
        entry = {"username": USER, "password": PASSWORD}
        (docker / "config.json").write_text(json.dumps({"auths": {target.host: entry}}))
        redis: Any = Redis(unix_socket_path=str(up.home / "run" / "redis.sock"))
        wait_until(lambda: shown(flower) is not None, 30, "Flower to answer")
        wait_until(lambda: sees_workers(flower), 30, "Flower to hear the workers")

        command = ("copy", f"{source.host}/team/app:1", f"{target.host}/team/app:2", "--json")
        with Monitor(redis) as monitor, ChildProcess(
            [*TRANSSHIP, *command], directory=directory, name="copy", environ=up.environ,
            separate_output=True,
        ) as copy:  # fmt: skip
            wait_until(lambda: target.upload_bodies > 0, 30, "a body to be sent")
            texts = {f"{name}, meanwhile": text for name, text in held(up, redis).items()}
            assert copy.wait(60) == 0, copy.log
        job = json.loads(copy.output_path.read_text())
        tasks = wait_until(lambda: all_tasks(flower), 20, "Flower to know every task")

        texts |= held(up, redis)
        redis.close()
        texts["Redis' commands"] = "\n".join(monitor.lines)
        texts["the command's output"] = copy.output_path.read_text() + copy.log
        texts["the output of `up`"] = up.process.log
        pages = ["/", "/tasks", "/workers", "/broker", "/api/workers?refresh=1", "/api/tasks"]
        pages += [f"/task/{task['uuid']}" for task in tasks]
        pages += [f"/worker/{name}" for name in flower.get("/api/workers").json()]
        texts |= {f"Flower's {page}": flower.get(page).text for page in pages}
        api = f"/api/v1/jobs/{job['id']}"
        for path in (api, f"{api}/log", f"{api}/transfers", f"{api}/events", "/api/v1/jobs"):
            texts[f"the API's {path}"] = up.http.get(path).text
        yield Story(f"{source.host}/team/app:1", f"{target.host}/team/app:2", job, tasks, texts)


def held(up: Up, redis: Any) -> dict[str, str]:
    """What is kept in Redis, in files, and in command lines, which everybody may read."""
    texts = {"Redis' keys": dump(redis)}
    for path in up.home.rglob("*"):
        if path.is_file() and not {"blobs", "ingests"} & set(path.parts):
            texts[f"the file {path.name}"] = path.read_bytes().decode("latin-1")
    for pid in (up.process.pid, *up.children()):
        texts[f"the command line of {pid}"] = Path(f"/proc/{pid}/cmdline").read_text()
    return texts


def shown(flower: httpx.Client) -> Any:
    """The tasks that Flower knows; None before it answers."""
    try:
        answer = flower.get("/api/tasks")
    except httpx.TransportError:
        return None
    return answer.json() if answer.status_code == 200 else None


def sees_workers(flower: httpx.Client) -> bool:
    """Whether Flower has had events of both workers."""
    workers = flower.get("/api/workers", params={"refresh": 1, "status": 1})
    found: dict[str, bool] = workers.json() if workers.status_code == 200 else {}
    return sum(found.values()) == 2


def all_tasks(flower: httpx.Client) -> list[dict[str, Any]]:
    """The tasks, once each kind has been seen to end."""
    tasks = [task for task in shown(flower).values() if task["state"] == "SUCCESS"]
    return tasks if {task["name"] for task in tasks} >= TASKS else []


def test_a_job_reads_as_what_it_does(story: Story) -> None:
    labels = {task["args"] for task in story.tasks if task["name"] == "transship.copy"}
    assert labels == {f"{story.source} -> {story.target}"}


def test_a_transfer_reads_as_its_blob_and_size(story: Story) -> None:
    for name in ("transship.download", "transship.upload"):
        labels = [task["args"] for task in story.tasks if task["name"] == name]
        assert labels
        for label in labels:
            assert re.fullmatch(r"sha256:[0-9a-f]{12}… [0-9.]+ [kKM]?B", label), label


def test_flowers_page_of_tasks_shows_them(story: Story) -> None:
    page = next(text for name, text in story.texts.items() if name.startswith("Flower's /task/"))
    assert "transship." in page
    assert "Traceback" not in page


def test_the_job_was_done_with_its_credentials(story: Story) -> None:
    assert story.job["state"] == "succeeded"
    assert story.job["progress"]["bytes_moved"] > 0


def test_everything_that_could_show_a_secret_was_looked_at(story: Story) -> None:
    assert "transship.upload" in story.texts["Redis' commands"]
    assert "_kombu.binding" in story.texts["Redis' keys"]
    assert story.texts["the file catalog.sqlite3"].startswith("SQLite format 3")
    assert '"succeeded"' in story.texts[f"the API's /api/v1/jobs/{story.job['id']}/events"]
    assert "transship" in story.texts["Flower's /api/workers?refresh=1"]


@pytest.mark.parametrize("secret", SECRETS, ids=["password", "basic"])
def test_no_secret_is_to_be_seen_anywhere(story: Story, secret: str) -> None:
    assert [where for where, text in story.texts.items() if secret in text] == []


def test_no_authorization_is_to_be_seen_anywhere(story: Story) -> None:
    pattern = re.compile(r"\b(?:Basic|Bearer) [A-Za-z0-9+/_=.-]{8,}")
    assert [where for where, text in story.texts.items() if pattern.search(text)] == []
