"""Flower shows tasks as people call them, and no secret is anywhere on their way."""

from __future__ import annotations

import base64
import json
import re
import subprocess
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

SENT = ("ann", "correct-horse-battery-staple")  # comes with the job
KEPT = ("ben", "incorrect-zebra-capacitor-nail")  # the server's own
TASKS = {"transship.copy", "transship.dispatch", "transship.download", "transship.upload"}
SHOWN_SECONDS = 2.0  # from the end of a job until Flower shows it


@dataclass
class Story:
    """What was to be seen while a job with credentials ran."""

    source: str
    target: str
    job: dict[str, Any]
    tasks: list[dict[str, Any]]
    failed: dict[str, Any]  # another job
    shown: dict[str, dict[str, Any]]  # both, by id, as Flower showed them when they had ended
    secrets: dict[str, str] = field(repr=False)
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


def basic(login: tuple[str, str]) -> str:
    """A name and a password as a header carries them."""
    return base64.b64encode(":".join(login).encode()).decode()


def transship(*arguments: str, environ: dict[str, str], typed: str = "") -> str:
    """Run a command that must succeed, and return what it printed."""
    done = subprocess.run(
        [*TRANSSHIP, *arguments],
        env=environ,
        input=typed,
        text=True,
        capture_output=True,
        check=True,
    )
    return done.stdout.strip()


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    require_redis()
    directory = tmp_path_factory.mktemp("flower")
    docker = directory / "docker"
    docker.mkdir()
    image = build_image("secret", layers=2)
    with RegistryProcess(directory / "source", host_name="localhost") as source:
        push_to_registry(source.url, "team/app", "1", image)
    environ = environment(directory / "home", FLOWER_UNAUTHENTICATED_API="true")
    with (
        RegistryProcess(
            directory / "source", htpasswd=SENT, port=source.port, host_name="localhost"
        ),
        RegistryProcess(directory / "target", htpasswd=KEPT, host_name="localhost") as locked,
        SlowProxy(locked.host, hold_upload_seconds=0.5, host_name="localhost") as target,
    ):
        (docker / "config.json").write_text(
            json.dumps({"auths": {source.host: {"auth": basic(SENT)}}})
        )
        login = ("credentials", "add", target.host, "--name=kept", "--username", KEPT[0])
        transship(*login, "--password-stdin", environ=environ, typed=KEPT[1])
        scopes = ("--scope=submit", "--scope=use:kept")
        token = transship("tokens", "create", *scopes, environ=environ)
        admin = transship("tokens", "create", "--scope=admin", environ=environ)
        with (
            Up(directory, "--flower=127.0.0.1:0", environ=environ) as up,
            httpx.Client(base_url=up.flower_url, timeout=30, trust_env=False) as flower,
        ):
            up.http.headers["Authorization"] = f"Bearer {admin}"
            redis: Any = Redis(unix_socket_path=str(up.home / "run" / "redis.sock"))
            wait_until(lambda: shown(flower) is not None, 30, "Flower to answer")
            wait_until(lambda: sees_workers(flower), 30, "Flower to hear the workers")

            names = f"{source.host}/team/app:1", f"{target.host}/team/app:2"
            client = {**environ, "TRANSSHIP_URL": up.url, "TRANSSHIP_TOKEN": token}
            with Monitor(redis) as monitor, ChildProcess(
                [*TRANSSHIP, "copy", *names, "--json"], directory=directory, name="copy",
                environ=client, separate_output=True,
            ) as copy:  # fmt: skip
                wait_until(lambda: target.upload_bodies > 0, 30, "a body to be sent")
                texts = {f"{name}, meanwhile": text for name, text in held(up, redis).items()}
                assert copy.wait(60) == 0, copy.log
            job = json.loads(copy.output_path.read_text())
            seen = {job["id"]: ended(flower, job["id"], SHOWN_SECONDS)}
            absent = {"kind": "pull", "reference": f"{source.host}/team/app:absent"}
            given = {source.host: {"username": SENT[0], "password": SENT[1]}}
            made = up.http.post("/api/v1/jobs", json={**absent, "credentials": given}).json()
            failed = wait_until(lambda: ended_job(up, made["id"]), 30, "a job to fail")
            seen[failed["id"]] = ended(flower, failed["id"], SHOWN_SECONDS)
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
            texts |= answers(up, job["id"], token)
            secrets = {
                "what was sent": SENT[1],
                "what was sent, as a header": basic(SENT),
                "what is kept": KEPT[1],
                "what is kept, as a header": basic(KEPT),
                "the token": token,
                "the admin's token": admin,
            }
            yield Story(*names, job, tasks, failed, seen, secrets, texts)


def answers(up: Up, job: str, token: str) -> dict[str, str]:
    """What the API says of a job and of who may what, refusals with secrets in them too."""
    api = f"/api/v1/jobs/{job}"
    paths = [api, f"{api}/log", f"{api}/transfers", f"{api}/events", "/api/v1/jobs"]
    paths += ["/api/v1/tokens", "/api/v1/credentials", "/api/v1/openapi.json"]
    texts = {f"the API's {path}": up.http.get(path).text for path in paths}
    entry = {"username": 1, "password": SENT[1]}
    for name, body in {
        "a wrong login": {"kind": "pull", "reference": "x", "credentials": {"x": entry}},
        "a wrong spec": {"kind": "pull", "reference": 1, "credentials": {}},
        "a field too many": {"kind": "pull", "reference": "x", "password": SENT[1]},
    }.items():
        refused = up.http.post("/api/v1/jobs", json=body)
        assert refused.status_code == 422
        texts[f"the answer to {name}"] = refused.text
    kept = {"registry": "localhost:1", "name": "a b", "username": "ben", "password": KEPT[1]}
    for path, wrong in {"credentials": kept, "tokens": {"scopes": [token]}}.items():
        refused = up.http.post(f"/api/v1/{path}", json=wrong)
        assert refused.status_code == 422
        texts[f"the answer to wrong {path}"] = refused.text
    for authorization in (f"Bearer {token[:-1]}0", f"Bearer {token}"):
        refused = up.http.get("/api/v1/tokens", headers={"Authorization": authorization})
        assert refused.status_code in (401, 403)
        texts[f"the answer {refused.status_code}"] = refused.text
    return texts


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


def ended_job(up: Up, job: str) -> dict[str, Any]:
    """The job as the API shows it; nothing before it has ended."""
    found: dict[str, Any] = up.http.get(f"/api/v1/jobs/{job}").json()
    return {} if found["state"] in ("queued", "running") else found


def ended(flower: httpx.Client, job: str, seconds: float) -> dict[str, Any]:
    """What Flower says of a job, as soon as it shows that it has ended."""

    def found() -> dict[str, Any]:
        answer = flower.get(f"/api/task/info/{job}")
        task: dict[str, Any] = answer.json() if answer.status_code == 200 else {}
        return task if task.get("state") in ("SUCCESS", "FAILURE", "REVOKED") else {}

    return wait_until(found, seconds, "Flower to show the end of the job")


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


def test_a_job_that_succeeded_is_shown_as_that_within_two_seconds(story: Story) -> None:
    shown = story.shown[story.job["id"]]
    assert (shown["name"], shown["state"]) == ("transship.copy", "SUCCESS")
    assert shown["args"] == f"{story.source} -> {story.target}"
    assert f"digest={story.job['result']['digest']}" in shown["result"]
    assert shown["started"]


def test_a_job_that_failed_is_shown_as_that_with_side_and_cause(story: Story) -> None:
    error, shown = story.failed["error"], story.shown[story.failed["id"]]
    assert (shown["name"], shown["state"]) == ("transship.pull", "FAILURE")
    assert shown["args"] == story.failed["label"]
    assert error["side"] == "source"
    assert shown["exception"] == ": ".join(
        error[name] for name in ("side", "code", "subject", "detail")
    )


def test_messages_that_only_carry_work_are_dispatches(story: Story) -> None:
    jobs = {story.job["id"], story.failed["id"]}
    others = {task["name"] for task in story.tasks if task["uuid"] not in jobs}
    assert others == {"transship.dispatch", "transship.download", "transship.upload"}


def test_a_transfer_reads_as_its_blob_and_size(story: Story) -> None:
    for name in ("transship.download", "transship.upload"):
        labels = [task["args"] for task in story.tasks if task["name"] == name]
        assert labels
        for label in labels:
            assert re.fullmatch(
                r"sha256:[0-9a-f]{12}…( and [0-9]+ more,)? [0-9.]+ [kKM]?B", label
            ), label


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
    assert "transship.upload" in story.texts["Flower's /api/tasks"]


def test_no_secret_is_to_be_seen_anywhere(story: Story) -> None:
    found = {
        (name, where)
        for name, secret in story.secrets.items()
        for where, text in story.texts.items()
        if secret in text
    }
    assert found == set()


def test_no_authorization_is_to_be_seen_anywhere(story: Story) -> None:
    pattern = re.compile(r"\b(?:Basic|Bearer) (?!ts_…)[A-Za-z0-9+/_=.-]{8,}")
    assert [where for where, text in story.texts.items() if pattern.search(text)] == []
