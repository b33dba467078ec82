"""The image service as its users have it: commands and jobs against a running server."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.oracle.index import SearchIndex
from tests.support.images import ARM64, build_image, build_index, push_index, push_to_registry
from tests.support.processes import ChildProcess, wait_until
from tests.support.registries import RegistryProcess
from tests.support.server import TRANSSHIP, run
from tests.support.up import Environment, up_environment

USER, PASSWORD = "ann", "correct-horse-battery-staple"


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Environment]:
    with up_environment(tmp_path_factory.mktemp("environment")) as opened:
        yield opened


def transship(here: Environment, *arguments: str, code: int = 0) -> str:
    """What a command prints; it has to end with *code*."""
    done = run(*arguments, environ=here.environ)
    assert (done.returncode, "Traceback" in done.stderr) == (code, False), done.stderr
    return done.stdout


def pulled(here: Environment, name: str) -> dict[str, Any]:
    """The result of a pull of a new image."""
    here.put(name)
    job = here.submit(kind="pull", reference=f"{here.source.host}/team/{name}:1")
    result: dict[str, Any] = here.up.client.wait(job)["result"]
    return result


def test_an_image_is_tagged_looked_at_and_removed(here: Environment) -> None:
    result = pulled(here, "looked-at")
    assert transship(here, "tag", result["reference"], "mine:1") == "mine:1\n"
    listed = transship(here, "images", "--filter", "reference=mine", "--filter", "dangling=false")
    assert listed.splitlines()[1].split()[:2] == ["mine:1", result["image_id"][7:19]]
    steps = transship(here, "history", "mine:1", "--no-trunc").splitlines()
    assert steps[0].split()[:2] == ["IMAGE", "CREATED"]
    assert result["image_id"] in steps[1]
    assert transship(here, "children", "mine:1") == ""
    assert transship(here, "rm", "mine:1") == "untagged: mine:1\n"
    transship(here, "rm", result["image_id"])
    transship(here, "inspect", result["image_id"], code=1)


def test_what_can_be_removed_is_although_something_else_cannot(here: Environment) -> None:
    """As with Docker."""
    result = pulled(here, "removed-in-part")
    for name in ("part:1", "part:2"):
        transship(here, "tag", result["reference"], name)
    done = run("rm", "part:1", "part:nope", "part:2", environ=here.environ)
    assert (done.returncode, done.stdout) == (1, "untagged: part:1\nuntagged: part:2\n")
    assert "part:nope" in done.stderr


def test_no_name_leads_to_another_path(here: Environment) -> None:
    result = pulled(here, "led-to")
    transship(here, "tag", result["reference"], "led-to:1")
    transship(here, "limits", "--max-concurrent-downloads", "9")
    transship(here, "rm", "../limits", "x/../led-to:1", ".", code=2)
    transship(here, "mirrors", "rm", "../images/led-to:1", code=2)
    limits = json.loads(transship(here, "limits", "--json"))
    assert limits["max_concurrent_downloads"]["value"] == 9
    transship(here, "inspect", "led-to:1")
    transship(here, "limits", "--reset")


def test_what_cannot_be_written_is_said(here: Environment, tmp_path: Path) -> None:
    result = pulled(here, "written-to")
    transship(here, "save", result["reference"], "-o", str(tmp_path), code=2)
    done = run("save", result["reference"], "-o", "/dev/full", environ=here.environ)
    assert (done.returncode, "/dev/full: cannot be written" in done.stderr) == (1, True)


def test_a_wrong_filter_is_a_wrong_usage(here: Environment) -> None:
    for command in (["images"], ["events"], ["prune"]):
        done = run(*command, "--filter", "odd=1", environ=here.environ)
        assert done.returncode == 2
        assert "odd=1" in done.stderr


def test_prune_is_a_job_with_a_report(here: Environment) -> None:
    result = pulled(here, "pruned")
    transship(here, "tag", result["reference"], "pruned:1")
    transship(here, "rm", result["reference"])
    said = transship(here, "prune", "--all", "--quiet")
    assert said == ""
    (job,) = json.loads(transship(here, "jobs", "--kind", "prune", "--json"))["items"][:1]
    assert (job["state"], job["error"]) == ("succeeded", None)
    assert {"untagged": "pruned:1"} in job["result"]["deleted"]
    assert {"deleted": result["image_id"]} in job["result"]["deleted"]
    assert job["result"]["space_reclaimed"] > 0
    assert here.up.client.images("pruned")["items"] == []


def test_usage_is_a_table_or_json(here: Environment) -> None:
    pulled(here, "used")
    lines = transship(here, "df", "-v").splitlines()
    assert lines[0].split() == ["WHAT", "TOTAL", "ACTIVE", "SIZE", "RECLAIMABLE"]
    assert f"{here.source.host}/team/used:1" in "\n".join(lines)
    assert json.loads(transship(here, "df", "--json"))["images"]["total"] >= 1


def test_events_are_followed_as_they_happen(here: Environment, tmp_path: Path) -> None:
    with ChildProcess(
        [*TRANSSHIP, "events", "-f", "--json", "--filter", "event=tag"],
        directory=tmp_path,
        name="events",
        environ=here.environ,
    ) as following:
        result = pulled(here, "followed")
        count = 0

        def heard() -> list[dict[str, Any]]:
            nonlocal count
            count += 1
            transship(here, "tag", result["reference"], f"heard:{count}")
            return [json.loads(line) for line in following.log.splitlines() if "{" in line]

        events = wait_until(heard, 20, "an event to be heard of")
    assert (events[0]["action"], events[0]["actor"]) == ("tag", result["image_id"])
    told = transship(here, "events", "--since", "1h", "--filter", "event=pull")
    assert f"image pull {result['reference']} (" in told


def test_an_image_is_looked_at_in_its_registry(here: Environment) -> None:
    index = build_index([build_image("remote"), build_image("remote", platform=ARM64)])
    push_index(here.source.url, "team/remote", "1", index)
    found = json.loads(transship(here, "inspect", "--remote", f"{here.source.host}/team/remote:1"))
    assert found["descriptor"] == {
        "digest": str(index.digest),
        "media_type": index.index.media_type,
        "size": len(index.index.raw),
    }
    assert [one["architecture"] for one in found["platforms"]] == ["amd64", "arm64"]
    single = f"{here.source.host}/team/remote@{index.images[0].digest}"
    found = json.loads(transship(here, "inspect", "--remote", single))
    assert found["platforms"] == [{"architecture": "amd64", "os": "linux"}]
    done = run("inspect", "--remote", f"{here.source.host}/team/nothing:1", environ=here.environ)
    assert (done.returncode, "image not found, or access denied" in done.stderr) == (1, True)


def test_the_users_own_login_is_used_to_look_and_kept_nowhere(
    here: Environment, tmp_path: Path
) -> None:
    with RegistryProcess(tmp_path, htpasswd=(USER, PASSWORD), host_name="localhost") as locked:
        push_to_registry(
            locked.url, "team/locked", "1", build_image("locked"), auth=(USER, PASSWORD)
        )
        name = f"{locked.host}/team/locked:1"
        refused = run("inspect", "--remote", name, environ=here.environ)
        assert (refused.returncode, "credentials" in refused.stderr) == (1, True)
        config = Path(here.environ["DOCKER_CONFIG"]) / "config.json"
        config.parent.mkdir(exist_ok=True)
        login = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        config.write_text(json.dumps({"auths": {locked.host: {"auth": login}}}))
        try:
            found = json.loads(transship(here, "inspect", "--remote", name))
        finally:
            config.unlink()
        assert found["reference"] == name
    assert PASSWORD not in here.up.process.log


def test_an_index_of_ones_own_is_searched(here: Environment) -> None:
    results = [
        {"name": "app", "description": "about app", "star_count": 100, "is_official": True},
        {"name": "other", "description": "", "star_count": 1, "is_official": False},
    ]
    with SearchIndex(results) as index:
        lines = transship(here, "search", f"{index.host}/app", "--filter", "stars=2").splitlines()
        assert index.asked == [{"q": ["app"], "n": ["25"]}]
    assert [line.split() for line in lines] == [
        ["NAME", "STARS", "OFFICIAL", "DESCRIPTION"],
        ["app", "100", "official", "about", "app"],
    ]
    done = run("search", "http://localhost/app", environ=here.environ)
    assert done.returncode == 2
