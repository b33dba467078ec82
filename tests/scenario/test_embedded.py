"""Without a server: a command brings its own engine, and others on the same home join it."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from tests.support.images import build_image, build_index, push_index, push_to_registry
from tests.support.processes import ChildProcess, wait_until
from tests.support.proxy import SlowProxy
from tests.support.registries import RegistryProcess
from tests.support.server import TRANSSHIP, environment, run
from transship.store.oci.platform import Platform


@pytest.fixture
def bare(tmp_path: Path) -> dict[str, str]:
    """A machine with nothing but Python on PATH."""
    empty = tmp_path / "bin"
    empty.mkdir()
    return {**environment(tmp_path / "home"), "PATH": str(empty)}


def raw_manifest(registry: RegistryProcess, name: str) -> bytes:
    """What stands at a name, as skopeo, an independent client, sees it."""
    program = shutil.which("skopeo")
    if program is None:
        pytest.skip("skopeo is not installed")
    read = subprocess.run(
        [program, "inspect", "--raw", "--tls-verify=false", f"docker://{registry.host}/{name}"],
        capture_output=True,
        check=True,
    )
    return read.stdout


def test_copy_works_with_no_server_and_no_redis(
    bare: dict[str, str], source: RegistryProcess, target: RegistryProcess
) -> None:
    image = build_image("alone", layers=4, compression=["gzip", "zstd"], repeated_layer=True)
    push_to_registry(source.url, "team/app", "1", image)
    done = run(
        "copy", f"{source.host}/team/app:1", f"{target.host}/other/app", "--json", environ=bare
    )
    assert done.returncode == 0, done.stderr
    job = json.loads(done.stdout)
    assert job["result"]["digest"] == str(image.digest)
    assert job["progress"]["bytes_moved"] == image.size
    assert raw_manifest(target, "other/app:1") == image.manifest.raw


def test_a_second_pass_asks_with_head_only(
    bare: dict[str, str], source: RegistryProcess, target: RegistryProcess
) -> None:
    arm = Platform("linux", "arm64")
    index = build_index([build_image("two"), build_image("two", platform=arm)])
    push_index(source.url, "team/app", "1", index)
    command = ("copy", f"{source.host}/team/app:1", f"{target.host}/other/app")
    assert run(*command, environ=bare).returncode == 0
    assert raw_manifest(target, "other/app:1") == index.index.raw
    source.forget_requests()
    target.forget_requests()

    again = run(*command, "--json", environ=bare)

    assert again.returncode == 0
    job = json.loads(again.stdout)
    assert job["result"]["up_to_date"] is True
    assert job["progress"]["bytes_moved"] == 0
    assert job["progress"]["bytes_skipped"] == job["progress"]["bytes_total"] > 0
    assert [r.method for r in source.requests()] == ["HEAD"]
    assert [r.method for r in target.requests()] == ["HEAD"]


def test_a_platform_of_an_index_is_copied_as_an_image_and_found_up_to_date(
    bare: dict[str, str], source: RegistryProcess, target: RegistryProcess
) -> None:
    wanted = build_image("subset", platform=Platform("linux", "arm64"))
    push_index(source.url, "team/app", "1", build_index([build_image("subset"), wanted]))
    command = (
        "copy", f"{source.host}/team/app:1", f"{target.host}/other/app",
        "--platform", "linux/arm64", "--json",
    )  # fmt: skip
    first, second = run(*command, environ=bare), run(*command, environ=bare)
    assert (first.returncode, second.returncode) == (0, 0), first.stderr
    assert raw_manifest(target, "other/app:1") == wanted.manifest.raw
    assert json.loads(first.stdout)["result"]["up_to_date"] is False
    assert json.loads(second.stdout)["result"]["up_to_date"] is True


def test_pull_then_push_moves_the_platform_that_was_pulled(
    bare: dict[str, str], source: RegistryProcess, target: RegistryProcess
) -> None:
    amd, arm = build_image("held"), build_image("held", platform=Platform("linux", "arm64"))
    push_index(source.url, "team/app", "1", build_index([amd, arm]))
    name = f"{source.host}/team/app:1"
    pulled = run("pull", name, "--platform", "linux/arm64", environ=bare)
    assert pulled.returncode == 0, pulled.stderr
    listed = json.loads(run("images", "--json", environ=bare).stdout)
    assert [i["platform"] for i in listed["items"][0]["images"]] == ["linux/arm64"]

    pushed = run("push", name, f"{target.host}/other/app:2", environ=bare)
    assert pushed.returncode == 0, pushed.stderr
    assert raw_manifest(target, "other/app:2") == arm.manifest.raw

    everything = run("push", name, f"{target.host}/other/app:3", "--all-platforms", environ=bare)
    assert everything.returncode == 1
    assert "linux/amd64 missing" in everything.stderr


def test_mirror_copies_every_tag_of_a_repository(
    bare: dict[str, str], source: RegistryProcess, target: RegistryProcess
) -> None:
    images = {f"v{n}": build_image("base", labels={"version": str(n)}) for n in range(5)}
    for tag, image in images.items():
        push_to_registry(source.url, "team/app", tag, image)
    done = run(
        "mirror", f"{source.host}/team/app", f"{target.host}/copy/app", "--json", environ=bare
    )
    assert done.returncode == 0, done.stderr
    job = json.loads(done.stdout)
    assert job["children"] == {"succeeded": 5}
    for tag, image in images.items():
        assert raw_manifest(target, f"copy/app:{tag}") == image.manifest.raw
    layers = sum(layer.size for layer in images["v0"].manifest.layers)
    uploads = [r for r in target.requests() if r.method == "PUT" and "/uploads/" in r.path]
    assert job["progress"]["bytes_moved"] < 2 * layers
    assert len(uploads) == len(images["v0"].manifest.layers) + 5


def test_a_mirror_of_which_a_tag_is_missing_ends_partial(
    bare: dict[str, str], source: RegistryProcess, target: RegistryProcess
) -> None:
    push_to_registry(source.url, "team/app", "here", build_image("partial"))
    done = run(
        "mirror", f"{source.host}/team/app", f"{target.host}/copy/app",
        "--tag", "here", "--tag", "gone", "--json", environ=bare,
    )  # fmt: skip
    assert done.returncode == 3
    job = json.loads(done.stdout)
    assert job["state"] == "failed"
    assert job["error"]["code"] == "partial"
    assert [(f["tag"], f["error"]["code"]) for f in job["result"]["failed"]] == [
        ("gone", "manifest-not-found")
    ]


def test_another_command_on_the_home_joins_and_outlives_a_killed_engine(
    bare: dict[str, str], tmp_path: Path, source: RegistryProcess, target: RegistryProcess
) -> None:
    push_to_registry(source.url, "team/app", "1", build_image("joined", layers=2))
    with SlowProxy(source.host, hold_blob_seconds=1.0, host_name="localhost") as proxy:

        def copy(name: str) -> ChildProcess:
            command = (*TRANSSHIP, "copy", f"{proxy.host}/team/app:1", f"{target.host}/{name}")
            return ChildProcess(command, directory=tmp_path, name=name, environ=bare)

        with copy("first") as first:
            wait_until(lambda: proxy.blob_bodies > 0, 20, "a body on its way")
            with copy("second") as second:
                wait_until(lambda: "second:1" in second.log, 20, "the second job")
                first.kill()
                assert second.wait(60) == 0, second.log
    assert raw_manifest(target, "second:1") == build_image("joined", layers=2).manifest.raw


def test_interrupting_a_command_cancels_its_job(
    bare: dict[str, str], tmp_path: Path, source: RegistryProcess, target: RegistryProcess
) -> None:
    push_to_registry(source.url, "team/app", "1", build_image("stopped", layers=2))
    with SlowProxy(source.host, hold_blob_seconds=30.0, host_name="localhost") as proxy:
        command = (*TRANSSHIP, "copy", f"{proxy.host}/team/app:1", f"{target.host}/stopped")
        with ChildProcess(command, directory=tmp_path, name="copy", environ=bare) as process:
            wait_until(lambda: proxy.blob_bodies > 0, 20, "a body on its way")
            process.send(signal.SIGINT)
            assert process.wait(15) == 130
            assert "Traceback" not in process.log
    listed = json.loads(run("jobs", "--json", environ=bare).stdout)
    assert [job["state"] for job in listed["items"]] == ["cancelled"]
    assert not any(r.method == "PUT" for r in target.requests())


def test_a_job_that_outlived_its_engine_ends_with_the_next_command(
    bare: dict[str, str], tmp_path: Path, source: RegistryProcess, target: RegistryProcess
) -> None:
    image = build_image("left behind", layers=2)
    push_to_registry(source.url, "team/app", "1", image)
    with SlowProxy(source.host, hold_blob_seconds=1.0, host_name="localhost") as proxy:
        command = (*TRANSSHIP, "copy", f"{proxy.host}/team/app:1", f"{target.host}/left")
        with ChildProcess(command, directory=tmp_path, name="copy", environ=bare) as process:
            wait_until(lambda: proxy.blob_bodies > 0, 20, "a body on its way")
            process.kill()
        (job,) = json.loads(run("jobs", "--json", environ=bare).stdout)["items"]
        waited = run("jobs", "wait", job["id"], environ=bare)
    assert waited.returncode == 0, waited.stderr
    assert raw_manifest(target, "left:1") == image.manifest.raw
