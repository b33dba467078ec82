"""The command itself: help that costs nothing, usage errors, and a reader that has had enough."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from tests.support.server import TRANSSHIP, environment, run
from transship.api.cli.root import COMMANDS, cli

HEAVY = {
    "fastapi", "starlette", "sqlalchemy", "celery", "httpx", "rich", "pydantic", "cryptography",
    "redis", "uvicorn",
}  # fmt: skip
HELPS = [
    *((name,) for name in COMMANDS),
    *(("jobs", name) for name in ("show", "transfers", "log", "wait", "follow", "cancel", "retry")),
    *((group, name) for group in ("tokens", "credentials") for name in ("ls", "rm")),
    ("tokens", "create"),
    ("credentials", "add"),
    *(
        ("mirrors", name)
        for name in ("add", "ls", "show", "run", "history", "enable", "disable", "rm", "convert")
    ),
    (),
]


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return environment(tmp_path / "home")


def test_help_of_everything_imports_nothing_heavy() -> None:
    code = (
        "import sys; from transship.api.cli.root import cli\n"
        "for line in sys.argv[1:]: cli([*line.split(), '--help'], standalone_mode=False)\n"
        "import json; print(json.dumps(sorted(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", code, *(" ".join(words) for words in HELPS)],
        capture_output=True,
        text=True,
        check=True,
    )
    modules = {name.partition(".")[0] for name in json.loads(done.stderr)}
    assert "click" in modules
    assert not modules & HEAVY
    assert done.stdout.count("Usage: ") == len(HELPS)


def test_help_is_fast(environ: dict[str, str]) -> None:
    def seconds() -> float:
        before = os.times()
        assert run("--help", environ=environ).returncode == 0
        after = os.times()
        return (
            after.children_user
            + after.children_system
            - (before.children_user + before.children_system)
        )

    # CPU time, and the best of a few: the machine may be busy with other tests.
    assert min(seconds() for _ in range(3)) < 0.2


def test_help_lists_every_command_with_a_line(environ: dict[str, str]) -> None:
    listed = run("--help", environ=environ).stdout
    for name, (_, _, line) in COMMANDS.items():
        assert f"  {name} " in listed
        assert line.split()[0] in listed


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_loads_and_explains_its_options(name: str) -> None:
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    assert command.help
    options = [p for p in command.params if isinstance(p, click.Option)]
    assert all(option.help or option.show_default for option in options)


def test_the_version_is_shown(environ: dict[str, str]) -> None:
    assert run("--version", environ=environ).stdout.startswith("transship, version ")


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["copy", "only-one"],
        ["pull", "--odd", "a"],
        ["pull", "a", "--priority", "101"],
        ["pull", "a", "--platform", "not a platform"],
        ["pull", "a", "--platform", "linux/amd64", "--all-platforms"],
        ["pull", "a", "--deadline", "-1"],
        ["mirror", "a@sha256:" + "0" * 64, "b"],
        ["mirror"],
        ["mirror", "a"],
        ["mirror", "a", "b", "--scoped"],
        ["mirror", "-f", "there-is-no-such-file"],
        ["mirror", "-f", "a", "b", "c"],
        ["mirror", "-f", "a", "b", "--tag", "1"],
        ["mirrors", "convert", "there-is-no-such-file"],
        ["mirrors", "add", "nightly"],
        ["mirrors", "add", "nightly", "-f", "there-is-no-such-file"],
        ["mirrors", "add", "nightly", "-f", "a", "--every", "often"],
        ["jobs", "--limit", "0"],
        ["jobs", "wait"],
        ["tokens", "create"],
        ["tokens", "create", "--scope", "read", "--expires", "soon"],
        ["tokens", "create", "--scope", "read", "--expires", "0d"],
        ["credentials", "add"],
        ["up", "--workers", "0"],
        ["worker", "--queues", "odd"],
    ],
    ids=" ".join,
)
def test_a_wrong_usage_is_2_and_starts_nothing(
    arguments: list[str], environ: dict[str, str], tmp_path: Path
) -> None:
    done = run(*arguments, environ=environ)
    assert done.returncode == 2
    assert done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert not (tmp_path / "home").exists()


def test_a_reader_that_has_had_enough_hears_nothing_of_it(environ: dict[str, str]) -> None:
    with subprocess.Popen(
        [*TRANSSHIP, "--help"],
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()  # before it has written anything
        assert process.stderr.read() == ""
        assert process.wait() == 1
