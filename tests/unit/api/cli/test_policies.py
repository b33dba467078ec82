"""Policies in files of the user: what the commands make of them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.server import environment, run
from transship.api.cli.connect.policies import read_policy
from transship.store.errors import InvalidPolicyError
from transship.workers.specs import parse_spec

EXAMPLE = Path(__file__).parents[4] / "deploy" / "mirror.example.yaml"


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return environment(tmp_path / "home")


def test_the_example_is_a_policy() -> None:
    entries = read_policy(str(EXAMPLE)).entries_for()
    parse_spec({"kind": "mirror", "entries": entries})
    assert [entry["destination"].rpartition("/")[2] for entry in entries] == [
        "alpine", "nginx", "prometheus", "alertmanager", "pause:stable", "tools",
    ]  # fmt: skip


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidPolicyError, match="cannot be read: No such file") as caught:
        read_policy(str(tmp_path / "none.yaml"))
    assert caught.value.subject.endswith("none.yaml")


def test_a_directory_is_no_policy(tmp_path: Path) -> None:
    with pytest.raises(InvalidPolicyError, match="cannot be read"):
        read_policy(str(tmp_path))


def test_no_more_of_a_file_is_read_than_it_may_have() -> None:
    with pytest.raises(InvalidPolicyError, match="longer than"):
        read_policy("/dev/zero")


def test_a_file_of_skopeo_is_converted_and_its_warnings_go_elsewhere(
    environ: dict[str, str], tmp_path: Path
) -> None:
    file = tmp_path / "sync.yaml"
    file.write_text("here.test: {images: {a: [1.0]}, cert-dir: /certs}")
    done = run("mirrors", "convert", str(file), "there.test/m", "--scoped", environ=environ)
    assert done.returncode == 0
    assert done.stdout == (
        "defaults:\n  destination: there.test/m\n  scoped: true\n"
        "entries:\n- source: here.test/a\n  tags:\n  - '1.0'\n"
    )
    assert done.stderr.startswith(f"transship: {file}: here.test.cert-dir: not used")
    assert not (tmp_path / "home").exists()


def test_a_policy_may_come_from_the_input(environ: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-P", "-m", "transship", "mirrors", "convert", "-"],
        env=environ, input="entries: [{source: a, tags: []}]", capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(
        "transship: in the request: the input: entries.0.tags: names no tag\n"
    )


def test_reading_a_policy_imports_neither_the_database_nor_the_server() -> None:
    code = (
        "import sys, json; from transship.api.cli.root import cli\n"
        "cli(['mirrors', 'convert', sys.argv[1]], standalone_mode=False)\n"
        "print(json.dumps(sorted(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", code, str(EXAMPLE)], capture_output=True, text=True, check=True
    )
    modules = {name.partition(".")[0] for name in json.loads(done.stderr)}
    assert not modules & {"sqlalchemy", "fastapi", "starlette", "celery", "httpx", "rich"}
