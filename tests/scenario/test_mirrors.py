"""Policies on real registries: what is planned, what is copied, and what fails alone."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.images import build_image, push_to_registry
from tests.support.processes import wait_until
from tests.support.registries import RegistryProcess
from tests.support.server import Server, run
from tests.support.up import Environment, up_environment


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Environment]:
    with up_environment(tmp_path_factory.mktemp("environment")) as opened:
        for repository, tags in {
            "team/app": ("1.0", "1.1", "2.0", "2.1-rc1", "latest"),
            "team/tools": ("stable", "edge"),
        }.items():
            for tag in tags:
                image = build_image(repository, layers=2, labels={"tag": tag})
                push_to_registry(opened.source.url, repository, tag, image)
        yield opened


def transship(here: Environment, *arguments: str) -> subprocess.CompletedProcess[str]:
    done = run(*arguments, environ=here.environ)
    assert "Traceback" not in done.stderr
    return done


def policy(here: Environment, directory: Path, *, extra: str = "") -> str:
    file = directory / "policy.yaml"
    file.write_text(f"""
entries:
  - source: {here.source.host}/team/app
    select: {{semver: ">=1", newest: 2}}
  - source: {here.source.host}/team/tools
    tags: [stable]
{extra}""")
    return str(file)


def tags(registry: RegistryProcess, repository: str) -> list[str]:
    answer = httpx.get(f"{registry.url}/v2/{repository}/tags/list", trust_env=False)
    return sorted(answer.json().get("tags") or ()) if answer.status_code == 200 else []


def job(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_a_policy_is_planned_then_copied_then_up_to_date(here: Environment, tmp_path: Path) -> None:
    file, base = policy(here, tmp_path), f"{here.target.host}/whole"
    here.target.forget_requests()
    planned = transship(here, "mirror", "-f", file, base, "--dry-run")
    assert planned.returncode == 3, planned.stderr
    assert planned.stdout.count("to copy     ") == 3
    assert "3 images, 0 up to date, 3 to copy (at most " in planned.stdout
    assert {request.method for request in here.target.requests()} == {"HEAD"}

    copied = transship(here, "mirror", "-f", file, base, "--json")
    assert copied.returncode == 0, copied.stderr
    assert tags(here.target, "whole/app") == ["1.1", "2.0"]
    assert tags(here.target, "whole/tools") == ["stable"]
    found = job(copied)
    assert found["children"] == {"succeeded": 3}
    assert [item["destination"] for item in found["result"]["items"]] == [
        f"{base}/app:1.1", f"{base}/app:2.0", f"{base}/tools:stable",
    ]  # fmt: skip
    assert all(item["digest"] for item in found["result"]["items"])

    again = transship(here, "mirror", "-f", file, base, "--dry-run")
    assert again.returncode == 0, again.stderr
    assert "3 images, 3 up to date, 0 to copy" in again.stdout


def test_a_tag_that_moved_is_to_be_updated(here: Environment, tmp_path: Path) -> None:
    push_to_registry(here.source.url, "team/moving", "1", build_image("moving", layers=1))
    spec = [f"{here.source.host}/team/moving", f"{here.target.host}/moving"]
    assert transship(here, "mirror", *spec).returncode == 0
    other = build_image("moved", layers=1)
    push_to_registry(here.source.url, "team/moving", "1", other)
    planned = transship(here, "mirror", *spec, "--dry-run", "--json")
    assert planned.returncode == 3
    (item,) = job(planned)["result"]["items"]
    assert (item["state"], item["digest"]) == ("copy", str(other.digest))
    assert item["bytes"] == sum(blob.size for blob in other.manifest.blobs)
    assert item["replaces"] not in {None, item["digest"]}


def test_what_fails_does_not_keep_the_rest_and_is_tried_again_alone(
    here: Environment, tmp_path: Path
) -> None:
    base = f"{here.target.host}/partly"
    extra = f"""
  - source: {here.source.host}/team/nothing
  - source: {here.source.host}/team/tools
    destination: {base}/others
    tags: [edge, gone]
"""
    file = policy(here, tmp_path, extra=extra)
    done = transship(here, "mirror", "-f", file, base, "--json")
    assert done.returncode == 3
    found = job(done)
    assert found["error"]["code"] == "partial"
    assert found["error"]["detail"] == (
        "1 of 5 images were not mirrored; 1 repository was left out"
    )
    assert [(one["image"], one["error"]["code"]) for one in found["result"]["failed"]] == [
        (f"{here.source.host}/team/nothing", "not-in-registry"),
        (f"{base}/others:gone", "manifest-not-found"),
    ]
    assert tags(here.target, "partly/app") == ["1.1", "2.0"]
    assert tags(here.target, "partly/others") == ["edge"]

    for repository, tag in (("team/nothing", "now"), ("team/tools", "gone")):
        push_to_registry(here.source.url, repository, tag, build_image(tag, layers=1))
    again = here.up.client.retry(found["id"], credentials={})
    names = ("source", "destination", "tags")
    assert [{name: one[name] for name in names} for one in again["spec"]["entries"]] == [
        {
            "source": f"{here.source.host}/team/tools",
            "destination": f"{base}/others",
            "tags": ["gone"],
        },
        {
            "source": f"{here.source.host}/team/nothing",
            "destination": f"{base}/nothing",
            "tags": [],
        },
    ]
    assert here.up.client.wait(again["id"])["children"] == {"succeeded": 2}


def test_a_dry_run_says_what_is_missing_and_what_could_not_be_compared(
    here: Environment, tmp_path: Path
) -> None:
    extra = f"""
  - source: {here.source.host}/team/app
    tags: [9.9]
  - source: {here.source.host}/team/never
    destination: {here.target.host}/never
"""
    file = policy(here, tmp_path, extra=extra)
    done = transship(here, "mirror", "-f", file, f"{here.target.host}/odd", "--dry-run")
    assert done.returncode == 3
    assert f"missing     {here.source.host}/team/app:9.9 -> " in done.stdout
    assert "1 missing, 1 could not be compared" in done.stdout
    assert f"{here.source.host}/team/never: at the source" in done.stderr


def test_a_file_for_skopeo_keeps_host_and_path_where_scoped(
    here: Environment, tmp_path: Path
) -> None:
    file = tmp_path / "sync.yaml"
    file.write_text(f"""
{here.source.host}:
  images: {{team/tools: [stable]}}
  images-by-tag-regex: {{team/app: '^1\\.[01]$'}}
  credentials: {{username: ann, password: correct-horse}}
""")
    base = f"{here.target.host}/scoped"
    done = transship(here, "mirror", "-f", str(file), base, "--scoped")
    assert done.returncode == 0, done.stderr
    assert "credentials: not used" in done.stderr
    host = here.source.host.replace(":", "-")
    assert tags(here.target, f"scoped/{host}/team/app") == ["1.0", "1.1"]
    assert tags(here.target, f"scoped/{host}/team/tools") == ["stable"]


def test_a_wrong_file_is_2_and_enqueues_nothing(here: Environment, tmp_path: Path) -> None:
    before = here.up.client.jobs(limit=1)["items"][:1]
    file = policy(here, tmp_path, extra="    tgas: [1]\n")
    done = transship(here, "mirror", "-f", file, here.target.host)
    assert done.returncode == 2
    assert done.stderr.startswith(
        f"transship: in the request: {file}: entries.1.tgas: this key is not known here\n"
    )
    assert here.up.client.jobs(limit=1)["items"][:1] == before


# --- kept by the server --------------------------------------------------------------------------


def test_a_mirror_that_is_kept_runs_by_itself_and_when_it_is_asked_to(
    here: Environment, tmp_path: Path
) -> None:
    file, base = policy(here, tmp_path), f"{here.target.host}/kept"
    added = transship(here, "mirrors", "add", "nightly", "-f", file, base, "--every", "1h")
    assert (added.returncode, added.stdout) == (0, "nightly\n"), added.stderr
    wait_until(
        lambda: (
            [one["state"] for one in here.up.client.mirror_runs("nightly", limit=9)["items"]]
            == ["succeeded"]
        ),
        30,
        "the first run to end",
    )
    assert tags(here.target, "kept/app") == ["1.1", "2.0"]

    again = transship(here, "mirrors", "run", "nightly")
    assert again.returncode == 0, again.stderr
    assert "3 images, 3 up to date" in again.stdout
    told = transship(here, "mirrors", "show", "nightly").stdout
    assert {"mirror: nightly", "runs: every 1h"} <= {
        " ".join(line.split()) for line in told.splitlines()
    }
    kept = json.loads(transship(here, "mirrors", "show", "nightly", "--json").stdout)
    assert kept["name"] == "nightly"
    history = transship(here, "mirrors", "history", "nightly").stdout.splitlines()
    heading, asked, by_itself = (line.split()[-1] for line in history)
    assert (heading, asked.partition(":")[0], by_itself) == ("BY", "token", "nightly")

    whole = transship(here, "mirrors", "verify", "nightly")
    assert whole.returncode == 0, whole.stderr
    assert "3 of 3 images are whole" in whole.stdout
    digest = httpx.get(
        f"{here.target.url}/v2/kept/app/manifests/2.0",
        headers={"Accept": "application/vnd.oci.image.manifest.v1+json"},
        trust_env=False,
    ).json()["layers"][0]["digest"]
    here.target.lose_blob("kept/app", digest)
    damaged = transship(here, "mirrors", "verify", "nightly")
    assert damaged.returncode == 3, damaged.stderr
    assert f"{base}/app:2.0: blob {digest}: missing" in damaged.stdout
    assert "images are damaged" in damaged.stderr
    repaired = transship(here, "mirrors", "verify", "nightly", "--repair")
    assert repaired.returncode == 0, repaired.stderr
    assert "repaired" in repaired.stdout
    assert transship(here, "mirrors", "verify", "nightly", "--read").returncode == 0

    assert transship(here, "mirrors", "disable", "nightly").returncode == 0
    listed = transship(here, "mirrors").stdout.splitlines()
    assert listed[1].split() == ["nightly", "no", "1h", "-", "succeeded", "2"]
    assert transship(here, "mirrors", "rm", "nightly").returncode == 0
    gone = transship(here, "mirrors", "show", "nightly")
    assert gone.returncode == 1
    assert "no such mirror" in gone.stderr


def test_several_workers_start_a_run_once(
    start_server: Callable[..., Server], source: RegistryProcess, target: RegistryProcess
) -> None:
    push_to_registry(source.url, "team/app", "1", build_image("once", layers=1))
    server = start_server(workers=3)
    entry = {"source": f"{source.host}/team/app", "destination": f"{target.host}/once"}
    server.client.put_mirror("often", {"entries": [entry], "interval_seconds": 60})
    wait_until(lambda: server.client.mirror("often")["last_run"], 20, "a run")
    job = server.client.wait(server.client.mirror("often")["last_run"]["job"])
    assert (job["state"], job["requested_by"]) == ("succeeded", "mirror often")
    assert [one["id"] for one in server.client.jobs()["items"]] == [job["id"]]


def test_a_file_for_skopeo_sync_brings_the_same_to_the_same_places(
    here: Environment, tmp_path: Path
) -> None:
    program = shutil.which("skopeo")
    if program is None:
        pytest.skip("skopeo is not installed")
    file = tmp_path / "sync.yaml"
    file.write_text(f"""
{here.source.host}:
  tls-verify: false
  images: {{team/tools: [stable]}}
  images-by-tag-regex: {{team/app: '^[12]\\.[01]'}}
""")
    subprocess.run(
        [program, "sync", "--src", "yaml", "--dest", "docker", "--dest-tls-verify=false",
         str(file), f"{here.target.host}/theirs"],
        check=True, capture_output=True,
    )  # fmt: skip
    done = transship(here, "mirror", "-f", str(file), f"{here.target.host}/ours")
    assert done.returncode == 0, done.stderr
    ours, theirs = (
        {name: tags(here.target, f"{base}/{name}") for name in ("app", "tools")}
        for base in ("ours", "theirs")
    )
    assert ours == theirs == {"app": ["1.0", "1.1", "2.0", "2.1-rc1"], "tools": ["stable"]}
