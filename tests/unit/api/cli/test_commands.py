"""What all commands have: an example that they would take, forms, and help with misspellings."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import pytest
import yaml  # type: ignore[import-untyped]
from click.testing import CliRunner

from tests.support.server import environment, run
from transship.api.cli.commands import access, archives, images, remote, server
from transship.api.cli.connect import completion, connection
from transship.api.cli.examples import EXAMPLES
from transship.api.cli.root import COMPLETE_VARIABLE, cli
from transship.api.client.http import HttpClient
from transship.api.client.images import ImageCalls
from transship.api.client.requests import Request
from transship.store.errors import ProtocolError


def commands(
    group: click.Group = cli, context: click.Context | None = None
) -> Iterator[tuple[str, click.Command]]:
    """Every command by its path, groups too."""
    context = context or click.Context(cli, info_name="transship")
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        path = " ".join([*context.command_path.split()[1:], name])
        yield path, command
        if isinstance(command, click.Group):
            below = click.Context(command, parent=context, info_name=name)
            yield from commands(command, below)


ALL = dict(commands())


def test_every_command_has_an_example_and_there_is_no_other() -> None:
    assert EXAMPLES.keys() == ALL.keys()


@pytest.mark.parametrize("path", ALL)
def test_the_example_is_in_the_help_and_the_command_would_take_it(
    path: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    for name in ("config.json", "step.json"):
        (tmp_path / name).write_text("{}")
    monkeypatch.chdir(tmp_path)
    example = EXAMPLES[path]
    command: click.Command = cli
    context = click.Context(cli, info_name="transship")
    words = shlex.split(example)
    assert " ".join(words[: len(path.split())]) == path
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        name = words.pop(0)
        found = command.get_command(context, name)
        assert found is not None
        command = found
        if isinstance(command, click.Group):
            context = click.Context(command, parent=context, info_name=name)
    command.make_context(path, words, parent=context)  # raises for what it would not take
    shown = ALL[path].get_help(click.Context(ALL[path], info_name=path))
    assert f"Example:\n    transship {example}" in shown


@pytest.mark.parametrize("path", ALL)
def test_requests_are_shown_on_request(path: str) -> None:
    options = {name for one in ALL[path].params for name in one.opts}
    assert "--debug" in options


@pytest.mark.parametrize(
    ("line", "suggestion"),
    [
        (["pul", "alpine"], "'pull'"),
        (["jobs", "sho", "last"], "'show'"),
        (["mirrors", "hist0ry"], "'history'"),
        (["images", "--digest"], "'--digests'"),
        (["copy", "a", "b", "--plattform", "x"], "'--platform'"),
    ],
    ids=" ".join,
)
def test_what_is_mistyped_is_answered_with_what_is_like_it(
    line: list[str], suggestion: str
) -> None:
    done = CliRunner().invoke(cli, line, prog_name="transship")
    # `main` turns the error into a code.
    assert done.return_value == 2 or done.exit_code == 2
    assert "Did you mean" in done.stderr
    assert suggestion in done.stderr


@pytest.mark.parametrize(
    ("source", "fetched"),
    [
        ("http://r.test/x.tar", True),
        ("https://r.test", True),
        ("r.test/x.tar", True),
        ("localhost/x.tar", True),
        ("10.0.0.1:8000/a/x.tar", True),
        ("x.tar", False),
        ("-", False),
        ("./x.tar", False),
        ("../x.tar", False),
        ("/srv/x.tar", False),
        ("images/x.tar", False),
        ("here.d/x.tar", False),
    ],
)
def test_an_import_without_a_scheme_is_fetched_where_it_begins_with_a_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, fetched: bool
) -> None:
    (tmp_path / "here.d").mkdir()
    (tmp_path / "here.d" / "x.tar").touch()
    monkeypatch.chdir(tmp_path)
    asked: list[Any] = []

    def ask(spec: dict[str, Any], options: dict[str, Any]) -> int:
        del options
        asked.append(spec["url"])
        return 0

    def send(*_: Any) -> int:
        asked.append(None)
        return 0

    monkeypatch.setattr(archives, "ask", ask)
    monkeypatch.setattr(archives, "_send", send)
    CliRunner().invoke(archives.import_, [source], catch_exceptions=False)
    assert asked == [source if fetched else None]


# --- forms -------------------------------------------------------------------------------------

PAGE = {"items": [{"name": "ü", "registry": "r.test", "created_at": "t"}], "next": None}


def shown(monkeypatch: pytest.MonkeyPatch, *options: str) -> Any:
    local = SimpleNamespace(credentials=lambda: PAGE)
    monkeypatch.setattr(access, "_local", lambda: nullcontext(local))
    return CliRunner().invoke(access.credentials, ["ls", *options])


@pytest.mark.parametrize("options", [["--json"], ["-o", "json"], ["--output=json", "--json"]])
def test_json_is_the_apis_own_object(monkeypatch: pytest.MonkeyPatch, options: list[str]) -> None:
    assert json.loads(shown(monkeypatch, *options).stdout) == PAGE


def test_yaml_is_the_same_object(monkeypatch: pytest.MonkeyPatch) -> None:
    done = shown(monkeypatch, "-o", "yaml")
    assert yaml.safe_load(done.stdout) == PAGE
    assert "ü" in done.stdout


def test_a_table_is_what_comes_without(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = shown(monkeypatch).stdout
    assert plain == shown(monkeypatch, "-o", "table").stdout
    assert plain.splitlines()[0].split() == ["CREDENTIAL", "REGISTRY", "ADDED"]


@pytest.mark.parametrize("options", [["-o", "xml"], ["-o", "yaml", "--json"]])
def test_a_form_that_cannot_be_is_2(monkeypatch: pytest.MonkeyPatch, options: list[str]) -> None:
    done = shown(monkeypatch, *options)
    assert done.exit_code == 2
    assert "json" in done.stderr


def test_every_command_that_shows_something_takes_a_form() -> None:
    files = {"save", "workspace diff", "workspace get"}  # whose -o is a file
    for path, command in ALL.items():
        options = {name: one.name for one in command.params for name in one.opts}
        if "--json" in options and path not in files:
            assert options.get("-o") == "shown_as", path
        if path in files:
            assert options["-o"] == "output"


# --- registries --------------------------------------------------------------------------------


class Paged(ImageCalls):
    """A client of a server whose tags come in pages, which may not end."""

    def __init__(self, pages: dict[str | None, tuple[list[str], str | None]]) -> None:
        self._pages = pages

    def _before_logins(self, logins: object) -> None:
        assert not logins

    def _object(self, request: Request, **_: Any) -> dict[str, Any]:
        assert (request.method, request.path) == ("GET", "/remote/r.test/app/tags")
        items, following = self._pages[request.params.get("cursor")]
        return {"items": items, "next": following}


def test_tags_are_printed_once_each_from_all_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    client = Paged({None: (["a", "b"], "2"), "2": ([], "3"), "3": (["b", "c"], None)})
    monkeypatch.setattr(remote, "connect", lambda: nullcontext(SimpleNamespace(client=client)))
    monkeypatch.setattr(remote, "credential_of", lambda _: None)
    done = CliRunner().invoke(remote.tags, ["r.test/app"])
    assert done.stdout == "a\nb\nc\n"
    done = CliRunner().invoke(remote.tags, ["r.test/app", "--json"])
    assert json.loads(done.stdout) == {"items": ["a", "b", "c"], "next": None}


def test_pages_that_go_round_in_circles_end() -> None:
    client = Paged({None: (["a"], "2"), "2": (["b"], "2")})
    with pytest.raises(ProtocolError, match="never end"):
        list(client.tags("r.test/app"))


# --- completion --------------------------------------------------------------------------------


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_script_of_completions_is_printed(shell: str) -> None:
    done = CliRunner().invoke(server.completion, [shell])
    assert done.exit_code == 0
    assert COMPLETE_VARIABLE in done.stdout
    assert "transship" in done.stdout


def completed(monkeypatch: pytest.MonkeyPatch, client: Any, ask: Any, incomplete: str) -> Any:
    monkeypatch.setattr(connection, "running_client", lambda *_, **__: nullcontext(client))
    return ask(None, None, incomplete)


def test_jobs_mirrors_and_references_are_completed(monkeypatch: pytest.MonkeyPatch) -> None:
    client = SimpleNamespace(
        jobs=lambda **_: {"items": [{"id": "01a2"}, {"id": "01b3"}]},
        mirrors=lambda: {"items": [{"name": "nightly"}, {"name": "weekly"}]},
        images=lambda _: {"items": [{"repo_tags": ["app:1", "base:2"]}]},
    )
    assert completed(monkeypatch, client, completion.jobs, "") == ["last", "01a2", "01b3"]
    assert completed(monkeypatch, client, completion.jobs, "01b") == ["01b3"]
    assert completed(monkeypatch, client, completion.mirrors, "w") == ["weekly"]
    assert completed(monkeypatch, client, completion.references, "app") == ["app:1"]


def test_a_server_that_fails_completes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    client = SimpleNamespace(mirrors=lambda: 1 / 0)
    assert completed(monkeypatch, client, completion.mirrors, "") == []


def test_a_shell_is_answered_without_a_server_and_starts_none(tmp_path: Any) -> None:
    environ = environment(tmp_path / "home", _TRANSSHIP_COMPLETE="bash_complete")

    def words(line: str, at: int) -> list[str]:
        answers = run(environ={**environ, "COMP_WORDS": line, "COMP_CWORD": str(at)})
        assert answers.stderr == ""
        return [one.partition(",")[2] for one in answers.stdout.split()]

    assert words("transship mirr", 1) == ["mirror", "mirrors"]
    assert "--parent" in words("transship jobs --pa", 2)
    assert words("transship jobs show 01", 3) == []
    assert not (tmp_path / "home").exists()


# --- what is told besides ----------------------------------------------------------------------


def test_a_variable_that_is_no_setting_is_warned_of_once(tmp_path: Any) -> None:
    environ = environment(tmp_path / "home", TRANSSHIP_HOEM="x")
    done = run("version", environ=environ)
    assert done.stderr.count("TRANSSHIP_HOEM is not a setting; did you mean TRANSSHIP_HOME?") == 1
    assert done.stdout.splitlines()[1] == "server  none is running"
    quiet = run("version", environ={**environ, "TRANSSHIP_CHILD_OF": "1"})
    assert quiet.stderr == ""


def test_status_starts_nothing_and_needs_a_server(tmp_path: Any) -> None:
    done = run("status", environ=environment(tmp_path / "home"))
    assert (done.returncode, done.stdout) == (2, "")
    assert "no server uses this data directory" in done.stderr
    assert not (tmp_path / "home").exists()


def test_a_trace_has_no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr(HttpClient, "trace", staticmethod(told.append))
    with (
        pytest.raises(Exception, match="refused"),
        HttpClient("http://ann:s3cret@127.0.0.1:1/base", token="t0ken") as client,
    ):
        client.request("POST", "/jobs", params={"change": "ENV K=s3cret"}, json={"p": "s3cret"})
    assert told[0] == "> POST http://127.0.0.1:1/base/jobs"
    assert told[1].startswith("! ")
    assert not any("s3cret" in line or "t0ken" in line for line in told)


def test_digests_are_completed_in_images() -> None:
    argument = next(one for one in images.inspect.params if one.name == "reference")
    assert argument._custom_shell_complete is completion.references
