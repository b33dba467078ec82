"""What a server's log says, from its start to the end of a job."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.processes import wait_until
from tests.support.server import environment, run
from tests.support.up import Environment, up_environment


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Environment]:
    directory = tmp_path_factory.mktemp("logs")
    with up_environment(directory, TRANSSHIP_LOG_FORMAT="json") as environment:
        environment.put("app")
        yield environment


def test_each_process_says_what_it_is_and_each_job_how_it_ended(server: Environment) -> None:
    good = server.submit(kind="pull", reference=f"{server.source.host}/team/app:1")
    bad = server.submit(kind="pull", reference=f"{server.source.host}/team/none:1")
    for job in (good, bad):
        wait_until(lambda: server.up.client.job(job)["finished_at"], 20, "its end")  # noqa: B023
    wait_until(lambda: len(_about(server, {good, bad})) == 2, 10, "a line for each")
    told = {line["job"]: line for line in _about(server, {good, bad})}
    assert told[good]["outcome"] == "succeeded"
    assert told[bad]["outcome"] == "failed"
    assert "not found" in told[bad]["cause"]
    assert told[bad]["level"] == "WARNING"
    started = [line for line in _lines(server) if "started" in line["message"]]
    assert any(str(server.up.home) in line["message"] for line in started)


def test_migrate_says_what_it_did(tmp_path: Path) -> None:
    environ = environment(tmp_path / "home")
    assert "schema none -> " in run("migrate", environ=environ).stdout
    assert "nothing to do" in run("migrate", environ=environ).stdout


def _about(server: Environment, jobs: set[str]) -> list[dict[str, Any]]:
    return [line for line in _lines(server) if line.get("job") in jobs]


def _lines(server: Environment) -> list[dict[str, Any]]:
    """The lines of the log; what is printed for people is none."""
    text = server.up.process.log
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]
