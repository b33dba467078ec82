"""The command line against a server: what it prints, where, and how it ends."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.images import build_image, push_to_registry
from tests.support.processes import ChildProcess, free_port, wait_until
from tests.support.proxy import Action, SlowProxy
from tests.support.registries import RegistryProcess
from tests.support.server import TRANSSHIP, run
from tests.support.up import Environment, bare_environment, up_environment


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Environment]:
    with up_environment(tmp_path_factory.mktemp("environment")) as opened:
        yield opened


@pytest.fixture(scope="module")
def pulled(here: Environment) -> dict[str, Any]:
    """A pull of `team/pulled:1` that has ended."""
    here.put("pulled")
    return here.up.client.wait(
        here.submit(kind="pull", reference=f"{here.source.host}/team/pulled:1")
    )


@pytest.fixture
def held(here: Environment) -> Iterator[tuple[SlowProxy, threading.Event]]:
    """A way to the source that keeps blobs back until the event is set."""
    opened = threading.Event()
    with SlowProxy(here.source.host, host_name="localhost") as proxy:
        proxy.on_request = lambda r: Action(hold_until=opened) if r.is_blob_get else None
        yield proxy, opened
        opened.set()


def transship(here: Environment, *arguments: str) -> subprocess.CompletedProcess[str]:
    done = run(*arguments, environ=here.environ)
    assert "Traceback" not in done.stderr
    return done


def on_a_terminal(
    here: Environment, *arguments: str, seen: Callable[[str], None]
) -> tuple[int, str]:
    """Run a command on a terminal of its own; returns its exit code and what it showed.

    What it has shown so far is *seen* whenever there is more.
    """
    leader, follower = pty.openpty()
    with subprocess.Popen(
        [*TRANSSHIP, *arguments],
        env={**here.environ, "TERM": "xterm", "COLUMNS": "120", "LINES": "40"},
        stdin=follower,
        stdout=follower,
        stderr=follower,
    ) as process:
        os.close(follower)
        shown = b""
        with contextlib.suppress(OSError):  # EIO: nobody has the other side any more
            while piece := os.read(leader, 65536):
                shown += piece
                seen(shown.decode(errors="replace"))
        os.close(leader)
        return process.wait(30), shown.decode()


# --- jobs that are made ------------------------------------------------------------------------


def test_json_is_the_apis_own_object_and_nothing_else(here: Environment) -> None:
    here.put("json")
    done = transship(here, "pull", f"{here.source.host}/team/json:1", "--json")
    job = json.loads(done.stdout)
    assert (done.returncode, done.stderr) == (0, "")
    assert job == here.up.client.job(job["id"])


def test_elsewhere_than_on_a_terminal_progress_is_plain_lines(here: Environment) -> None:
    image = here.put("lines")
    done = transship(here, "pull", f"{here.source.host}/team/lines:1")
    assert done.returncode == 0
    assert "\x1b" not in done.stderr
    lines = done.stderr.splitlines()
    assert lines[0] == f"pull {here.source.host}/team/lines:1"
    assert sum(line.startswith("↓ ") and line.endswith(": done") for line in lines) == 3
    assert done.stdout.startswith(f"{here.source.host}/team/lines:1@{image.digest}: done; moved ")


def test_on_a_terminal_progress_is_bars(
    here: Environment, held: tuple[SlowProxy, threading.Event]
) -> None:
    proxy, opened = held
    image = here.put("bars", layers=1)
    bar = f"↓ {str(image.manifest.layers[0].digest)[7:19]}"
    late = threading.Timer(60, opened.set)
    late.start()
    code, shown = on_a_terminal(
        here,
        *("pull", f"{proxy.host}/team/bars:1"),
        seen=lambda text: opened.set() if bar in text else None,
    )
    late.cancel()
    assert code == 0
    assert "\x1b[" in shown
    assert "━" in shown
    assert bar in shown
    assert f"team/bars:1@{image.digest}" in shown.replace("\r\n", "")


def test_to_remove_what_is_missing_is_no_failure_by_force(here: Environment) -> None:
    for options, code in (((), 1), (("--force",), 0)):
        done = transship(here, "rm", *options, "nothing:1")
        assert (done.returncode, done.stdout) == (code, "")
        assert "no such image" in done.stderr.lower()


def test_quiet_shows_nothing_of_a_success(here: Environment, pulled: dict[str, Any]) -> None:
    done = transship(here, "pull", pulled["result"]["reference"], "--quiet")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_detach_prints_only_the_id(here: Environment, pulled: dict[str, Any]) -> None:
    done = transship(here, "pull", pulled["result"]["reference"], "--detach")
    assert (done.returncode, done.stderr) == (0, "")
    assert here.up.client.wait(done.stdout.rstrip("\n"))["state"] == "succeeded"


def test_options_reach_the_job(here: Environment, pulled: dict[str, Any]) -> None:
    done = transship(
        here, "pull", pulled["result"]["reference"], "--detach", "--json",
        "--priority", "-5", "--deadline", "60", "--platform", "linux/amd64",
    )  # fmt: skip
    job = json.loads(done.stdout)
    assert job["priority"] == -5
    assert job["deadline"] is not None
    assert job["spec"]["platforms"] == ["linux/amd64"]


def test_the_same_idempotency_key_gives_the_same_job(
    here: Environment, pulled: dict[str, Any]
) -> None:
    command = ("pull", pulled["result"]["reference"], "--detach", "--idempotency-key", "once")
    first, second = transship(here, *command), transship(here, *command)
    assert first.stdout == second.stdout
    other = transship(here, *command, "--priority", "1")
    assert other.returncode == 1
    assert "belongs to another request" in other.stderr


def test_copy_takes_all_platforms_and_says_so(here: Environment) -> None:
    here.put("all")
    source, target = f"{here.source.host}/team/all:1", f"{here.target.host}/all"
    done = transship(here, "copy", source, target, "--all-platforms")
    assert done.returncode == 0
    assert "copy takes all platforms anyway" in done.stderr


def test_a_failure_is_1_and_its_reason_one_sentence(here: Environment) -> None:
    name = f"{here.source.host}/team/nowhere:1"
    done = transship(here, "pull", name, "--quiet")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"transship: at the source: {name}: ")


def test_a_mirror_of_which_some_failed_is_3(here: Environment) -> None:
    here.put("some")
    done = transship(
        here, "mirror", f"{here.source.host}/team/some", f"{here.target.host}/some",
        "-t", "1", "-t", "gone",
    )  # fmt: skip
    assert done.returncode == 3
    assert "  gone: at the source: " in done.stderr


def test_a_server_that_does_not_answer_is_2(here: Environment) -> None:
    environ = {**here.environ, "TRANSSHIP_URL": f"http://127.0.0.1:{free_port()}"}
    done = run("pull", "localhost:1/a", environ=environ)
    assert done.returncode == 2
    assert environ["TRANSSHIP_URL"] in done.stderr


def test_a_server_that_is_no_transship_is_named(here: Environment) -> None:
    done = run("jobs", environ={**here.environ, "TRANSSHIP_URL": here.source.url})
    assert done.returncode == 1
    assert "not as a Transship server does" in done.stderr
    assert "TRANSSHIP_URL" in done.stderr


def test_ctrl_c_cancels_the_commands_own_job(
    here: Environment, held: tuple[SlowProxy, threading.Event], tmp_path: Path
) -> None:
    proxy, _ = held
    here.put("interrupted")
    command = (*TRANSSHIP, "pull", f"{proxy.host}/team/interrupted:1")
    with ChildProcess(command, directory=tmp_path, name="pull", environ=here.environ) as pull:
        wait_until(lambda: proxy.blob_bodies > 0, 20, "a body on its way")
        pull.send(signal.SIGINT)
        assert pull.wait(10) == 130
        assert pull.log.endswith("interrupted\n")
    (newest, *_) = here.up.client.jobs(limit=1)["items"]
    assert here.up.client.wait(newest["id"])["state"] == "cancelled"


@pytest.mark.parametrize("command", ["follow", "wait"])
def test_ctrl_c_leaves_a_job_alone_that_is_only_watched(
    here: Environment, held: tuple[SlowProxy, threading.Event], tmp_path: Path, command: str
) -> None:
    proxy, opened = held
    here.put(f"watched-{command}")
    job = here.submit(kind="pull", reference=f"{proxy.host}/team/watched-{command}:1")
    with ChildProcess(
        (*TRANSSHIP, "jobs", command, job), directory=tmp_path, name=command, environ=here.environ
    ) as watching:
        wait_until(lambda: connected(here, watching.pid), 20, "the command to wait")
        watching.send(signal.SIGINT)
        assert watching.wait(10) == 130
        assert "Traceback" not in watching.log
    assert here.up.client.job(job)["finished_at"] is None
    opened.set()
    assert here.up.client.wait(job)["state"] == "succeeded"


def test_ctrl_c_twice_leaves_although_others_use_this_engine_and_these_go_on(
    here: Environment, held: tuple[SlowProxy, threading.Event], tmp_path: Path
) -> None:
    proxy, opened = held
    here.put("twice")
    environ = bare_environment(tmp_path)  # no server: the first command brings an engine

    def pull(name: str) -> ChildProcess:
        command = (*TRANSSHIP, "pull", f"{proxy.host}/team/twice:1")
        return ChildProcess(command, directory=tmp_path, name=name, environ=environ)

    with pull("first") as first:
        wait_until(lambda: proxy.blob_bodies > 0, 20, "a body on its way")
        with pull("second") as second:
            wait_until(lambda: "pull" in second.log, 20, "the second job")
            first.send(signal.SIGINT)
            cancelled = ("jobs", "--state", "cancelled", "--json")
            wait_until(
                lambda: json.loads(run(*cancelled, environ=environ).stdout)["items"],
                20,
                "the first job to be cancelled",
            )
            assert first.exit_status is None
            first.send(signal.SIGINT)
            assert first.wait(15) == 130
            assert "Traceback" not in first.log
            opened.set()
            assert second.wait(40) == 0, second.log


def connected(here: Environment, pid: int) -> bool:
    """Whether a process has an open socket."""
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed since it was listed
            if str(descriptor.readlink()).startswith("socket:"):
                return True
    return False


# --- jobs that are looked at -------------------------------------------------------------------


def test_jobs_are_listed_in_columns(here: Environment, pulled: dict[str, Any]) -> None:
    lines = transship(here, "jobs").stdout.splitlines()
    assert lines[0].split() == ["JOB", "KIND", "STATE", "DONE", "AGE", "TIME", "WHAT", "REASON"]
    line = next(line for line in lines if line.startswith(pulled["id"]))
    assert line.split()[:4] == [pulled["id"], "pull", "succeeded", "100%"]
    assert line.split()[6:] == [pulled["result"]["reference"]]


def test_jobs_are_filtered_and_printed_as_the_api_has_them(
    here: Environment, pulled: dict[str, Any]
) -> None:
    done = transship(
        here, "jobs", "--state", "succeeded", "--state", "failed", "--kind", "pull",
        "--limit", "1000", "--json",
    )  # fmt: skip
    page = json.loads(done.stdout)
    assert {job["kind"] for job in page["items"]} == {"pull"}
    assert {job["state"] for job in page["items"]} <= {"succeeded", "failed"}
    assert {name: it for name, it in pulled.items() if name != "spec"} in page["items"]


def test_a_filter_that_cannot_match_is_2(here: Environment) -> None:
    done = transship(here, "jobs", "--state", "odd")
    assert done.returncode == 2
    assert "state" in done.stderr


def test_children_are_listed_by_their_parent(here: Environment) -> None:
    here.put("parent")
    source, target = f"{here.source.host}/team/parent", f"{here.target.host}/parent"
    parent = json.loads(transship(here, "mirror", source, target, "--json").stdout)["id"]
    listed = json.loads(transship(here, "jobs", "--parent", parent, "--json").stdout)
    assert [child["parent"] for child in listed["items"]] == [parent]


def test_a_job_is_shown(here: Environment, pulled: dict[str, Any]) -> None:
    assert json.loads(transship(here, "jobs", "show", "--json", pulled["id"]).stdout) == pulled
    told = transship(here, "jobs", "show", pulled["id"]).stdout
    assert {f"job: {pulled['id']}", "state: succeeded"} <= {
        " ".join(line.split()) for line in told.splitlines()
    }


def test_a_job_is_named_by_a_part_of_its_id_and_the_newest_by_last(
    here: Environment, pulled: dict[str, Any]
) -> None:
    newest = here.submit(kind="pull", reference=pulled["result"]["reference"])
    for name, id_ in ((pulled["id"][-12:], pulled["id"]), ("last", newest)):
        assert transship(here, "jobs", "wait", name).returncode == 0
        assert json.loads(transship(here, "jobs", "show", name, "--json").stdout)["id"] == id_
        assert transship(here, "jobs", "log", name).stdout.endswith("succeeded\n")


def test_an_unknown_job_is_1(here: Environment) -> None:
    for command in ("show", "transfers", "log", "wait", "follow", "cancel", "retry"):
        done = transship(here, "jobs", command, "none")
        assert (done.returncode, done.stdout) == (1, ""), command
        assert "none: no such job" in done.stderr, command


def test_the_transfers_of_a_job_are_listed(here: Environment, pulled: dict[str, Any]) -> None:
    lines = transship(here, "jobs", "transfers", pulled["id"]).stdout.splitlines()
    assert len(lines) == 1 + 3
    assert all(line.split()[2] == "done" for line in lines[1:])
    page = json.loads(transship(here, "jobs", "transfers", "--json", pulled["id"]).stdout)
    assert len(page["items"]) == 3


def test_the_log_of_a_job_has_times(here: Environment, pulled: dict[str, Any]) -> None:
    lines = transship(here, "jobs", "log", pulled["id"]).stdout.splitlines()
    assert lines[0] == f"{pulled['created_at']}  pull {pulled['label']}"
    assert lines[-1].endswith("  succeeded")


def test_following_a_job_that_has_ended_tells_its_story(
    here: Environment, pulled: dict[str, Any]
) -> None:
    done = transship(here, "jobs", "follow", pulled["id"])
    assert done.returncode == 0
    assert f"pull {pulled['label']}" in done.stderr
    assert pulled["result"]["digest"] in done.stdout


def test_waiting_ends_as_the_worst(here: Environment, pulled: dict[str, Any]) -> None:
    failed = here.submit(kind="pull", reference=f"{here.source.host}/team/none:1")
    partial = here.submit(
        kind="mirror",
        source=f"{here.source.host}/team/pulled",
        destination=f"{here.target.host}/worst",
        tags=["1", "gone"],
    )
    done = transship(here, "jobs", "wait", pulled["id"], partial, failed, "--json")
    assert done.returncode == 1
    assert [job["id"] for job in json.loads(done.stdout)] == [pulled["id"], partial, failed]
    assert transship(here, "jobs", "wait", pulled["id"], partial).returncode == 3
    assert transship(here, "jobs", "wait", pulled["id"]).returncode == 0


def test_jobs_are_cancelled_and_tried_again(
    here: Environment, held: tuple[SlowProxy, threading.Event]
) -> None:
    proxy, opened = held
    here.put("again")
    job = here.submit(kind="pull", reference=f"{proxy.host}/team/again:1")
    assert transship(here, "jobs", "cancel", job).returncode == 0
    waited = transship(here, "jobs", "wait", job)
    assert waited.returncode == 1
    assert "the job was cancelled" in waited.stderr
    opened.set()
    again = transship(here, "jobs", "retry", job).stdout.strip()
    assert here.up.client.wait(again)["retry_of"] == job


def test_a_retry_takes_credentials_from_the_users_own_files(
    here: Environment, pulled: dict[str, Any]
) -> None:
    credentials = {here.target.host: {"username": "ann", "password": "hunter2"}}
    spec = {"kind": "push", "reference": pulled["result"]["reference"]}
    job = here.submit(credentials, **spec, destination=f"{here.target.host}/mine:1")
    here.up.client.wait(job)
    refused = transship(here, "jobs", "retry", job)
    assert refused.returncode == 1
    assert f"credentials for {here.target.host}" in refused.stderr
    config = Path(here.environ["DOCKER_CONFIG"]) / "config.json"
    config.parent.mkdir(exist_ok=True)
    config.write_text(json.dumps({"auths": credentials}))
    again = transship(here, "jobs", "retry", job)
    config.unlink()
    assert again.returncode == 0, again.stderr
    assert here.up.client.wait(again.stdout.strip())["state"] == "succeeded"


# --- what is there -----------------------------------------------------------------------------


def test_images_are_listed_by_pattern(here: Environment, pulled: dict[str, Any]) -> None:
    lines = transship(here, "images", "*/team/pulled:*", "--digests").stdout.splitlines()
    assert lines[0].split() == ["REFERENCE", "IMAGE", "ID", "PLATFORM", "SIZE", "DIGEST"]
    assert len(lines) == 2
    assert lines[1].split()[0] == pulled["result"]["reference"]
    assert lines[1].split()[-1] == pulled["result"]["digest"]


def test_an_image_is_inspected_by_name_digest_and_id(
    here: Environment, pulled: dict[str, Any]
) -> None:
    result = pulled["result"]
    for name in (result["reference"], result["digest"], result["image_id"][7:19]):
        shown = json.loads(transship(here, "inspect", name).stdout)
        assert shown["references"][0] == result["reference"]
        assert shown["id"] == result["image_id"]


def test_names_are_removed_and_each_is_told(here: Environment) -> None:
    names = []
    for number in range(2):
        push_to_registry(here.source.url, "team/removed", str(number), build_image(f"r{number}"))
        names.append(f"{here.source.host}/team/removed:{number}")
        here.up.client.wait(here.submit(kind="pull", reference=names[-1]))
    done = transship(here, "rm", *names, "nowhere:1")
    assert done.returncode == 1
    said = done.stdout.splitlines()
    assert [line for line in said if line.endswith(tuple(names))] == [
        f"untagged: {name}" for name in names
    ]
    assert {line.partition(": ")[0] for line in said} == {"untagged", "deleted"}
    assert "No such image: " in done.stderr


def test_limits_are_shown_with_where_they_come_from(here: Environment) -> None:
    lines = transship(here, "limits").stdout.splitlines()
    assert lines[0].split() == ["LIMIT", "VALUE", "FROM"]
    assert ["max_concurrent_downloads", "3", "default"] in [line.split() for line in lines]
    assert json.loads(transship(here, "limits", "--json").stdout) == here.up.client.limits()


def test_a_reader_that_has_had_enough_hears_nothing_of_it(
    here: Environment, pulled: dict[str, Any]
) -> None:
    assert pulled["state"] == "succeeded"
    for command in (["jobs"], ["jobs", "show", pulled["id"]], ["images"]):
        with subprocess.Popen(
            [*TRANSSHIP, *command], env=here.environ, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        ) as process:  # fmt: skip
            assert process.stdout is not None
            assert process.stderr is not None
            process.stdout.close()
            assert process.stderr.read() == "", command


# --- registries and the server -----------------------------------------------------------------


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryProcess]:
    """A registry that wants ann's password."""
    directory = tmp_path_factory.mktemp("locked")
    registry = RegistryProcess(directory, htpasswd=("ann", "hunter2"), host_name="localhost")
    yield registry
    registry.stop()


def signing_in(
    here: Environment, *arguments: str, password: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*TRANSSHIP, "login", *arguments, "--password-stdin"],
        env=here.environ,
        input=f"{password}\n",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_login_is_checked_kept_used_and_forgotten(
    here: Environment, locked: RegistryProcess, pulled: dict[str, Any]
) -> None:
    host, config = locked.host, Path(here.environ["DOCKER_CONFIG"]) / "config.json"
    wrong = signing_in(here, host, "-u", "ann", password="nonsense")
    assert (wrong.returncode, config.exists()) == (1, False)
    assert host in wrong.stderr
    done = signing_in(here, f"http://{host}/v2/", "-u", "ann", password="hunter2")
    assert (done.returncode, done.stdout) == (0, f"signed in at {host} as ann\n")
    assert "hunter2" not in done.stdout + done.stderr
    assert f"not encrypted in {config}" in done.stderr
    assert list(json.loads(config.read_text())["auths"]) == [host]
    target = f"{host}/team/locked:1"
    assert transship(here, "push", pulled["result"]["reference"], target).returncode == 0
    assert transship(here, "tags", f"{host}/team/locked").stdout == "1\n"
    assert transship(here, "logout", host).stdout == f"signed out from {host}\n"
    assert transship(here, "logout", host).stdout == f"not signed in at {host}\n"
    refused = transship(here, "tags", f"{host}/team/locked")
    assert (refused.returncode, refused.stdout) == (1, "")
    config.unlink()


def test_on_a_terminal_the_login_is_asked_for(here: Environment, locked: RegistryProcess) -> None:
    leader, follower = pty.openpty()
    with subprocess.Popen(
        [*TRANSSHIP, "login", locked.host],
        env={**here.environ, "TERM": "xterm"},
        stdin=follower,
        stdout=follower,
        stderr=follower,
        start_new_session=True,
    ) as process:
        os.close(follower)
        shown, answers = b"", {b"Username": b"ann\n", b"Password": b"hunter2\n"}
        with contextlib.suppress(OSError):  # EIO: nobody has the other side any more
            while piece := os.read(leader, 65536):
                shown += piece
                for question in [one for one in answers if one in shown]:
                    os.write(leader, answers.pop(question))
        assert process.wait(30) == 0, shown
    os.close(leader)
    assert b"hunter2" not in shown
    assert f"signed in at {locked.host} as ann".encode() in shown
    assert transship(here, "logout", locked.host).returncode == 0
    (Path(here.environ["DOCKER_CONFIG"]) / "config.json").unlink()


def test_a_login_that_cannot_be_asked_for_is_2(here: Environment, locked: RegistryProcess) -> None:
    for arguments in (("login", locked.host), ("login", locked.host, "-u", "ann")):
        done = run(*arguments, environ=here.environ)
        assert (done.returncode, done.stdout) == (2, "")
        assert "no terminal" in done.stderr


def test_the_digest_of_a_registry_is_printed(here: Environment) -> None:
    image = here.put("digest")
    name = f"{here.source.host}/team/digest:1"
    assert transship(here, "digest", name).stdout == f"{image.digest}\n"
    assert transship(here, "digest", name, "--platform", "linux/amd64").stdout.strip() == str(
        image.digest
    )
    missing = transship(here, "digest", f"{here.source.host}/team/digest:nope")
    assert (missing.returncode, missing.stdout) == (1, "")


def test_the_server_is_shown(here: Environment, pulled: dict[str, Any]) -> None:
    done = transship(here, "status")
    facts = {
        name: value.strip()
        for name, _, value in (line.partition(":") for line in done.stdout.splitlines())
    }
    assert done.returncode == 0
    assert facts["state"] == "ok"
    assert facts["address"] == here.up.url
    assert facts["home"] == str(here.up.home)
    assert facts["database"].startswith("sqlite ")
    assert done.stdout.splitlines()[-2].split()[:2] == ["JOBS", "QUEUED"]
    versions = transship(here, "version", "--json")
    found = json.loads(versions.stdout)
    assert found["client"] == found["server"]


def test_requests_are_traced_without_secrets(here: Environment) -> None:
    for line in (("--debug", "jobs"), ("jobs", "-v")):
        done = run(*line, environ=here.environ)
        assert f"> GET {here.up.url}/api/v1/jobs" in done.stderr
        assert "< 200 OK, after " in done.stderr
        assert here.environ["TRANSSHIP_TOKEN"] not in done.stderr
        assert done.stdout.startswith("JOB ")


def test_a_shell_completes_what_the_server_has(here: Environment, pulled: dict[str, Any]) -> None:
    def words(line: str, at: int) -> set[str]:
        asked = {"_TRANSSHIP_COMPLETE": "bash_complete", "COMP_WORDS": line, "COMP_CWORD": str(at)}
        answers = run(environ={**here.environ, **asked}).stdout
        return {one.partition(",")[2] for one in answers.split()}

    assert {"last", pulled["id"]} <= words("transship jobs show ", 3)
    assert words("transship inspect localhost", 2) >= {pulled["result"]["reference"]}


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_on_a_terminal_no_line_of_the_jobs_is_wider(
    here: Environment, pulled: dict[str, Any], columns: int
) -> None:
    leader, follower = pty.openpty()
    with subprocess.Popen(
        [*TRANSSHIP, "jobs"],
        env={**here.environ, "TERM": "xterm", "COLUMNS": str(columns)},
        stdin=follower,
        stdout=follower,
        stderr=follower,
    ):
        os.close(follower)
        shown = b""
        with contextlib.suppress(OSError):
            while piece := os.read(leader, 65536):
                shown += piece
    os.close(leader)
    lines = shown.decode().replace("\r\n", "\n").splitlines()
    assert len(lines) > 1
    assert max(map(len, lines)) <= columns
    assert any(pulled["id"][-12:] in line for line in lines)
