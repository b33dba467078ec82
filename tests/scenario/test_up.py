"""`transship up`: one command that runs a server, keeps it running, and takes it along."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.images import build_image, push_to_registry
from tests.support.processes import ChildProcess, free_port, wait_until
from tests.support.proxy import SlowProxy
from tests.support.redis import RedisProcess, require_redis
from tests.support.registries import RegistryProcess
from tests.support.server import TRANSSHIP, environment, remote, run
from tests.support.up import Up, bare_environment, runs

NOISE = ("celery@", "[config]", "[tasks]", "mingle", "Traceback", "Inspect method")


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryProcess]:
    with RegistryProcess(tmp_path_factory.mktemp("registry"), host_name="localhost") as started:
        push_to_registry(started.url, "team/app", "1", build_image("kept", layers=2))
        yield started


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """One that nobody stops or kills before the end of the module; its children may be killed."""
    require_redis()
    directory = tmp_path_factory.mktemp("up")
    environ = environment(directory / "home")
    with Up(directory, "--workers", "2", environ=environ) as started:
        yield started


@pytest.fixture
def starting(tmp_path: Path) -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


# --- one that runs -----------------------------------------------------------------------------


def test_it_runs_a_redis_an_api_and_as_many_workers_as_were_asked_for(up: Up) -> None:
    commands = sorted(up.children().values())
    assert sum(" -m transship worker" in command for command in commands) == 2
    assert sum(" -m transship api" in command for command in commands) == 1
    assert sum("redis.sock" in command for command in commands) == 1
    assert len(commands) == 4


def test_it_says_where_things_are_and_nothing_else(up: Up) -> None:
    lines = up.process.log.splitlines()
    assert lines[0] == f"API     {up.url}"
    assert lines[1].startswith(f"page    {up.url}/login?once=")
    assert lines[2].startswith("workers 2, over a private Redis; home ")
    assert not [line for line in lines if any(noise in line for noise in NOISE)]


def test_a_second_one_on_the_home_is_refused_and_names_the_first(up: Up) -> None:
    done = run("up", "--listen", "127.0.0.1:0", environ=up.environ)
    assert done.returncode == 1
    assert f"process {up.process.pid} (up) is already using this data directory" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("role", ["api", "worker"])
def test_a_role_by_hand_is_refused_beside_it(up: Up, role: str) -> None:
    done = run(role, environ={**up.environ, "TRANSSHIP_BROKER_URL": "redis://127.0.0.1:1/0"})
    assert done.returncode == 1
    assert f"process {up.process.pid} (up) is already using this data directory" in done.stderr


def test_commands_on_the_home_use_its_socket(up: Up, registry: RegistryProcess) -> None:
    before = set(up.children())
    done = run("pull", f"{registry.host}/team/app:1", "--json", environ=up.environ)
    assert done.returncode == 0, done.stderr
    job = json.loads(done.stdout)
    assert up.client.job(job["id"])["state"] == "succeeded"
    assert set(up.children()) == before


def test_detach_is_for_a_server_that_stays(up: Up, registry: RegistryProcess) -> None:
    done = run("pull", f"{registry.host}/team/app:1", "--detach", environ=up.environ)
    assert done.returncode == 0, done.stderr
    assert up.client.wait(done.stdout.strip())["state"] == "succeeded"


def test_its_files_are_for_its_owner_only(up: Up) -> None:
    assert up.home.stat().st_mode & 0o077 == 0
    for name in ("api.sock", "redis.sock"):
        assert (up.home / "run" / name).stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("killed", [" -m transship worker", " -m transship api", "redis.sock"])
def test_a_killed_child_is_started_again_and_jobs_go_on(
    up: Up, registry: RegistryProcess, killed: str
) -> None:
    image = build_image(f"while {killed} dies", layers=2)
    push_to_registry(registry.url, "team/going", "1", image)
    before = {pid: c for pid, c in up.children().items() if killed in c}
    with SlowProxy(registry.host, hold_blob_seconds=1.0, host_name="localhost") as proxy:
        job = up.client.submit(
            {"kind": "pull", "reference": f"{proxy.host}/team/going:1"}, credentials={}
        )["id"]
        wait_until(lambda: proxy.blob_bodies > 0, 20, "a body on its way")
        for pid in before:
            os.kill(pid, signal.SIGKILL)

        def back() -> bool:
            now = {pid for pid, c in up.children().items() if killed in c}
            return len(now) == len(before) and not now & set(before)

        wait_until(back, 20, "the child to be started again")
        wait_until(up.ready, 30, "a worker for each queue")
        ended = up.client.wait(job)
    assert ended["state"] == "succeeded", ended
    assert ended["result"]["digest"] == str(image.digest)
    assert "starting it again" in up.process.log


def test_a_command_goes_on_when_the_api_under_it_is_started_again(
    up: Up, registry: RegistryProcess, tmp_path: Path
) -> None:
    push_to_registry(registry.url, "team/follow", "1", build_image("followed", layers=2))
    with SlowProxy(registry.host, hold_blob_seconds=2.0, host_name="localhost") as proxy:
        command = (*TRANSSHIP, "pull", f"{proxy.host}/team/follow:1")
        environ = up.environ | remote(tmp_path / "elsewhere", up.url, up.home)
        with ChildProcess(command, directory=tmp_path, name="pull", environ=environ) as pull:
            wait_until(lambda: proxy.blob_bodies > 0, 20, "a body on its way")
            os.kill(up.child(" -m transship api"), signal.SIGKILL)
            assert pull.wait(40) == 0, pull.log
    wait_until(up.ready, 30, "the API")


# --- the end -----------------------------------------------------------------------------------


def test_sigterm_ends_all_in_good_time_although_work_is_under_way(
    tmp_path: Path, registry: RegistryProcess, starting: ExitStack
) -> None:
    require_redis()
    up = starting.enter_context(Up(tmp_path, environ=environment(tmp_path / "home")))
    image = build_image("handed back", layers=2)
    push_to_registry(registry.url, "team/back", "1", image)
    with SlowProxy(registry.host, hold_blob_seconds=60.0, host_name="localhost") as proxy:
        job = up.client.submit(
            {"kind": "pull", "reference": f"{proxy.host}/team/back:1"}, credentials={}
        )["id"]
        follow = ("jobs", "follow", job)
        follower = starting.enter_context(
            ChildProcess(
                [*TRANSSHIP, *follow], directory=tmp_path, name="follow",
                environ={**up.environ, "TRANSSHIP_URL": up.url},
            )
        )  # fmt: skip
        wait_until(lambda: proxy.blob_bodies > 0, 20, "a body on its way")
        wait_until(lambda: "pull" in follower.log, 20, "the follower")
        children = up.children()
        up.process.send(signal.SIGTERM)
        assert up.process.wait(12) == 0, up.process.log
        assert not [command for pid, command in children.items() if runs(pid)]
        follower.kill()
        proxy.hold_blob_seconds = 0.0
        waited = run("jobs", "wait", job, environ=up.environ)
    assert waited.returncode == 0, waited.stderr
    assert "Traceback" not in up.process.log


def test_not_even_sigkill_leaves_a_child_behind(tmp_path: Path) -> None:
    require_redis()
    environ = environment(tmp_path / "home")
    with Up(tmp_path, "--flower=127.0.0.1:0", environ=environ) as up:
        children = up.children()
        assert len(children) == 5
        os.kill(up.process.pid, signal.SIGKILL)
        wait_until(lambda: not any(map(runs, children)), 10, "the children to end")
    free = run("jobs", environ=environ)
    assert free.returncode == 0, free.stderr


# --- without Redis, and not at all -------------------------------------------------------------


def test_without_redis_it_is_one_process(tmp_path: Path, registry: RegistryProcess) -> None:
    with Up(tmp_path, environ=bare_environment(tmp_path)) as up:
        assert up.children() == {}
        assert "no Redis found: everything runs in this process" in up.process.log
        job = up.client.submit(
            {"kind": "pull", "reference": f"{registry.host}/team/app:1"}, credentials={}
        )["id"]
        assert up.client.wait(job)["state"] == "succeeded"
        up.process.send(signal.SIGTERM)
        assert up.process.wait(12) == 0
        assert "Traceback" not in up.process.log


def test_flower_without_redis_is_refused_with_a_reason(tmp_path: Path) -> None:
    done = run("up", "--flower", environ=bare_environment(tmp_path))
    assert done.returncode == 1
    assert "--flower" in done.stderr
    assert "there is no Redis for Celery" in done.stderr
    assert "install redis-server or valkey-server" in done.stderr


@pytest.mark.parametrize(
    ("address", "code", "said"),
    [
        ("nonsense", 2, "expected HOST:PORT"),
        ("0.0.0.0:5555", 2, "loopback only"),
        ("TAKEN", 1, "another program listens there"),
    ],
)
def test_a_flower_that_could_not_be_is_refused_at_the_start(
    tmp_path: Path, address: str, code: int, said: str, registry: RegistryProcess
) -> None:
    require_redis()
    taken = f"127.0.0.1:{registry.port}" if address == "TAKEN" else address
    environ = environment(tmp_path / "home")
    done = run("up", "--listen", "127.0.0.1:0", f"--flower={taken}", environ=environ)
    assert done.returncode == code
    assert said in done.stderr
    assert done.stdout == ""


def test_it_is_refused_beside_a_role_by_hand(tmp_path: Path) -> None:
    with RedisProcess(tmp_path / "redis") as redis:
        port = free_port()
        environ = environment(tmp_path / "home", TRANSSHIP_BROKER_URL=redis.url)
        api = ChildProcess(
            [*TRANSSHIP, "api", "--listen", f"127.0.0.1:{port}"],
            directory=tmp_path, name="api", environ=environ,
        )  # fmt: skip
        with api:
            lock = tmp_path / "home" / "run" / "engine.lock"
            wait_until(lambda: lock.exists() and lock.read_text(), 20, "the API to have the home")
            done = run("up", "--listen", "127.0.0.1:0", environ=environ)
            assert done.returncode == 1
            assert f"process {api.pid} (api) is already using this data directory" in done.stderr
            lost = run("jobs", environ=environ)
            assert lost.returncode == 1
            assert "set TRANSSHIP_URL" in lost.stderr
