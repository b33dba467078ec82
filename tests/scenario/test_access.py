"""Who may use a server, with whose login its jobs run, and which files of the machine count."""

from __future__ import annotations

import json
import stat
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from celery import Celery

from tests.support.images import Image, build_image, push_to_registry
from tests.support.nginx import nginx_before
from tests.support.processes import wait_until
from tests.support.registries import RegistryProcess
from tests.support.server import TRANSSHIP, Server, run
from tests.support.up import Up, bare_environment
from transship.store.home import read_token

USER, PASSWORD = "ann", "correct-horse-battery"


@pytest.fixture
def bare(tmp_path: Path) -> dict[str, str]:
    """A machine with nothing but Python on PATH, and no home yet."""
    return bare_environment(tmp_path)


def make_token(environ: dict[str, str], *options: str) -> str:
    made = run("tokens", "create", *options, environ=environ)
    assert made.returncode == 0, made.stderr
    return made.stdout.strip()


def add_login(environ: dict[str, str], registry: str, name: str = "hub") -> None:
    login = ("credentials", "add", registry, "--name", name, "-u", USER, "--password-stdin")
    subprocess.run(
        [*TRANSSHIP, *login],
        env=environ,
        input=f"{PASSWORD}\n",
        text=True,
        check=True,
        capture_output=True,
    )


def locked(directory: Path, image: Image) -> RegistryProcess:
    """A registry that has `team/app:1`, and wants a login."""
    with RegistryProcess(directory, host_name="localhost") as registry:
        push_to_registry(registry.url, "team/app", "1", image)
    return RegistryProcess(
        directory, htpasswd=(USER, PASSWORD), port=registry.port, host_name="localhost"
    )


# --- tokens ---------------------------------------------------------------------------------------


def test_a_server_makes_an_admin_token_which_commands_of_its_owner_find(
    bare: dict[str, str], tmp_path: Path
) -> None:
    with Up(tmp_path, environ=bare) as up:
        path = up.home / "token"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        with httpx.Client(base_url=up.url, trust_env=False) as anybody:
            assert anybody.get("/livez").status_code == 200
            for path_ in ("/api/v1/jobs", "/metrics", "/api/v1/openapi.json"):
                assert anybody.get(path_).status_code == 401
        assert run("tokens", "ls", environ={**bare, "TRANSSHIP_URL": up.url}).returncode == 0
        elsewhere = {**bare, "TRANSSHIP_HOME": str(tmp_path / "elsewhere")}
        refused = run("jobs", environ={**elsewhere, "TRANSSHIP_URL": up.url})
        assert (refused.returncode, "authentication required" in refused.stderr) == (1, True)
        assert run("tokens", "rm", "owner", environ=bare).returncode == 0
        wait_until(lambda: up.http.get("/api/v1/jobs").status_code == 401, 10, "the lock")
        assert run("jobs", environ=bare).returncode == 0  # over the socket


def test_the_first_token_is_made_before_any_server_and_opens_it(
    bare: dict[str, str], tmp_path: Path
) -> None:
    token = make_token(bare, "--name", "ops", "--scope", "read", "--expires", "1d")
    with Up(tmp_path, "--listen", "0.0.0.0:0", environ=bare) as up:
        assert up.http.get("/api/v1/jobs").status_code == 401
        client = {
            **bare,
            "TRANSSHIP_URL": up.url.replace("0.0.0.0", "127.0.0.1"),
            "TRANSSHIP_HOME": str(tmp_path / "elsewhere"),
        }
        refused = run("jobs", environ=client)
        assert (refused.returncode, "TRANSSHIP_TOKEN" in refused.stderr) == (1, True)
        known = {**client, "TRANSSHIP_TOKEN": token}
        assert run("jobs", environ=known).returncode == 0
        forbidden = run("pull", "localhost:1/x", environ=known)
        assert (forbidden.returncode, "'submit'" in forbidden.stderr) == (1, True)
        # The owner of the home needs none: its socket is his.
        assert run("jobs", environ=bare).returncode == 0
        listed = run("tokens", "ls", environ=bare).stdout
        assert "ops" in listed
        assert token not in listed


def test_behind_a_proxy_the_last_token_locks(
    start_server: Callable[..., Server], tmp_path: Path
) -> None:
    server = start_server(workers=0)
    with nginx_before(server.url, tmp_path) as url:
        token = read_token(server.home)
        bearer = {"Authorization": f"Bearer {token}"}

        def status(base: str, **headers: str) -> int:
            return httpx.get(f"{base}/api/v1/jobs", headers=headers, trust_env=False).status_code

        assert (status(url), status(url, **bearer)) == (401, 200)
        for one in server.client.tokens()["items"]:
            removed = run("tokens", "rm", one["name"], environ=server.environ)
            assert removed.returncode == 0, removed.stderr
        wait_until(lambda: status(url, **bearer) == 401, 10, "the token to be forgotten")
        assert [status(base) for base in (url, server.url)] == [401, 401]


def test_a_token_is_not_sent_in_the_clear(bare: dict[str, str]) -> None:
    environ = {**bare, "TRANSSHIP_URL": "http://192.0.2.1:5005", "TRANSSHIP_TOKEN": "ts_secret"}
    refused = run("jobs", environ=environ)
    assert refused.returncode == 2
    assert "plain HTTP" in refused.stderr
    assert "ts_secret" not in refused.stderr


# --- logins that the server keeps -----------------------------------------------------------------


def test_a_job_signs_in_with_what_its_token_may_use(bare: dict[str, str], tmp_path: Path) -> None:
    image = build_image("kept", layers=2)
    with locked(tmp_path / "locked", image) as registry:
        add_login(bare, registry.host)
        may, may_not = (
            make_token(bare, "--scope", "submit", *more) for more in (("--scope", "use:hub"), ())
        )
        name = f"{registry.host}/team/app:1"
        with Up(tmp_path, environ=bare) as up:
            client = {
                **bare, "TRANSSHIP_URL": up.url, "TRANSSHIP_HOME": str(tmp_path / "elsewhere")
            }  # fmt: skip
            refused = run("pull", name, environ={**client, "TRANSSHIP_TOKEN": may_not})
            assert refused.returncode == 1
            assert "at the source" in refused.stderr
            pulled = run("pull", name, "--json", environ={**client, "TRANSSHIP_TOKEN": may})
            assert pulled.returncode == 0, pulled.stderr
            assert json.loads(pulled.stdout)["result"]["digest"] == str(image.digest)


def test_the_owner_of_the_home_uses_them_all(bare: dict[str, str], tmp_path: Path) -> None:
    with locked(tmp_path / "locked", build_image("owned", layers=1)) as registry:
        add_login(bare, f"{registry.host}/team")
        add_login(bare, f"{registry.host}/team")  # once more, for a new password, say
        done = run("pull", f"{registry.host}/team/app:1", environ=bare)
        assert done.returncode == 0, done.stderr


def test_jobs_from_the_broker_use_what_the_setting_names(
    start_server: Callable[..., Server], tmp_path: Path
) -> None:
    server = start_server(workers=1, TRANSSHIP_BROKER_CREDENTIALS="hub")
    image = build_image("brokered", layers=1)
    celery = Celery(broker=server.redis.url)
    celery.conf.broker_transport_options = {"global_keyprefix": "transship:"}
    states = {}
    for name in ("hub", "private"):
        with locked(tmp_path / name, image) as registry:
            add_login(server.environ, registry.host, name)
            job = str(uuid4())
            spec = {"kind": "pull", "reference": f"{registry.host}/team/app:1"}
            celery.send_task(
                "transship.submit", kwargs={"id": job, "spec": spec}, queue="transship.control"
            )
            wait_until(partial(server.job_row, job), 20, "the job to be there")
            ended = server.client.wait(job)
            assert ended["requested_by"] == "broker"
            states[name] = ended["state"]
    celery.close()
    assert states == {"hub": "succeeded", "private": "failed"}


# --- files of the machine -------------------------------------------------------------------------


def test_a_login_for_a_namespace_goes_to_that_namespace_alone(
    bare: dict[str, str], tmp_path: Path
) -> None:
    docker = tmp_path / "docker"
    docker.mkdir()
    with locked(tmp_path / "locked", build_image("namespaced", layers=1)) as registry:
        entry = {"username": USER, "password": PASSWORD}
        auths = {f"{registry.host}/other": {"username": USER, "password": "wrong"}}
        auths[f"{registry.host}/team"] = entry
        (docker / "config.json").write_text(json.dumps({"auths": auths}))
        done = run("pull", f"{registry.host}/team/app:1", environ=bare)
        assert done.returncode == 0, done.stderr
        refused = run("pull", f"{registry.host}/other/app:1", environ=bare)
        assert refused.returncode == 1


def test_a_mirror_of_registries_conf_serves_what_its_registry_cannot(
    bare: dict[str, str], source: RegistryProcess, tmp_path: Path
) -> None:
    image = build_image("mirrored", layers=2)
    push_to_registry(source.url, "copies/library/app", "1", image)
    configuration = tmp_path / "registries.conf"
    configuration.write_text(
        '[[registry]]\nlocation = "registry.invalid"\n'
        f'[[registry.mirror]]\nlocation = "{source.host}/copies"\n'
    )
    environ = {**bare, "CONTAINERS_REGISTRIES_CONF": str(configuration)}
    done = run("pull", "registry.invalid/library/app:1", "--json", environ=environ)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)["result"]
    assert result["digest"] == str(image.digest)
    assert result["reference"].startswith("registry.invalid/library/app:1")


def test_a_blocked_registry_is_refused_in_one_sentence(
    bare: dict[str, str], source: RegistryProcess, tmp_path: Path
) -> None:
    configuration = tmp_path / "registries.conf"
    configuration.write_text(f'[[registry]]\nlocation = "{source.host}"\nblocked = true\n')
    environ = {**bare, "CONTAINERS_REGISTRIES_CONF": str(configuration)}
    refused = run("pull", f"{source.host}/team/app:1", environ=environ)
    assert refused.returncode == 1
    assert "registries.conf of this server blocks it" in refused.stderr
