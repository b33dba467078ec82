"""Logins written as Docker writes them, and read again by the one place that knows the format."""

from __future__ import annotations

import base64
import json
import stat
from pathlib import Path
from typing import Any

import pytest

from transship.store.errors import RequestError
from transship.workers.registry.auth.credentials import Credential, load_docker_config
from transship.workers.registry.auth.stored_logins import forget_login, remembered_user, store_login

HUB_KEY = "https://index.docker.io/v1/"
# Keeps what it is told in a file beside it, a line a server, as docker-credential-pass would.
HELPER = """#!/usr/bin/env python3
import json, pathlib, sys
kept = pathlib.Path(__file__).with_suffix(".json")
logins = json.loads(kept.read_text()) if kept.exists() else {}
given = sys.stdin.read()
if sys.argv[1] == "store":
    login = json.loads(given)
    logins[login["ServerURL"]] = login
elif given not in logins:
    print("credentials not found in native keychain")
    sys.exit(1)
elif sys.argv[1] == "get":
    print(json.dumps(logins[given]))
else:
    del logins[given]
kept.write_text(json.dumps(logins))
"""


class Machine:
    """A user's directory with Docker's file in it, and helpers on its PATH."""

    def __init__(self, directory: Path) -> None:
        self.config = directory / "docker" / "config.json"
        self.bin = directory / "bin"
        self.bin.mkdir()
        path = f"{self.bin}:/usr/bin:/bin"
        self.environ = {"DOCKER_CONFIG": str(self.config.parent), "PATH": path}

    def write(self, document: dict[str, Any]) -> None:
        self.config.parent.mkdir(exist_ok=True)
        self.config.write_text(json.dumps(document))

    @property
    def document(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.config.read_text())
        return found

    def add_helper(self, name: str, script: str = HELPER) -> Path:
        program = self.bin / f"docker-credential-{name}"
        program.write_text(script)
        program.chmod(0o755)
        return program.with_suffix(".json")

    def login(self, host: str) -> Credential | None:
        return load_docker_config(self.environ).for_host(host)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


@pytest.mark.parametrize(
    ("host", "key"), [("r.test:5000", "r.test:5000"), ("docker.io", HUB_KEY)], ids=["any", "hub"]
)
def test_a_login_is_kept_in_dockers_words_and_found_again(
    machine: Machine, host: str, key: str
) -> None:
    kept = store_login(host, "ann", "a:b", machine.environ)
    assert (kept.path, kept.helper) == (machine.config, "")
    assert machine.document == {"auths": {key: {"auth": base64.b64encode(b"ann:a:b").decode()}}}
    assert machine.login(host) == Credential("ann", "a:b")
    assert remembered_user(host, machine.environ) == "ann"
    assert stat.S_IMODE(machine.config.stat().st_mode) == 0o600


def test_what_else_is_in_the_file_stays(machine: Machine) -> None:
    other = {"HttpHeaders": {"a": "ü"}, "auths": {"other.test": {"auth": "eDp5"}}}
    machine.write(other)
    store_login("r.test", "ann", "pw", machine.environ)
    forget_login("r.test", machine.environ)
    assert machine.document == other


def test_an_entry_by_url_is_replaced_and_not_doubled(machine: Machine) -> None:
    machine.write({"auths": {"https://r.test/v1/": {"auth": "eDp5"}}})
    store_login("r.test", "ann", "pw", machine.environ)
    assert list(machine.document["auths"]) == ["r.test"]


def test_a_link_stays_one(machine: Machine, tmp_path: Path) -> None:
    real = tmp_path / "dotfiles.json"
    real.write_text("{}")
    machine.config.parent.mkdir()
    machine.config.symlink_to(real)
    store_login("r.test", "ann", "pw", machine.environ)
    assert machine.config.is_symlink()
    assert "r.test" in real.read_text()


@pytest.mark.parametrize(
    "document",
    [{"credsStore": "safe"}, {"credHelpers": {"r.test": "safe"}, "credsStore": "none"}],
    ids=["for all", "for this one"],
)
def test_a_helper_keeps_the_login_where_one_is_configured(
    machine: Machine, document: dict[str, Any]
) -> None:
    kept_by_helper = machine.add_helper("safe")
    machine.write(document)
    assert store_login("r.test", "ann", "pw-1", machine.environ).helper == "safe"
    assert machine.document == {**document, "auths": {"r.test": {}}}
    assert json.loads(kept_by_helper.read_text())["r.test"]["Secret"] == "pw-1"
    assert machine.login("r.test") == Credential("ann", "pw-1")
    assert remembered_user("r.test", machine.environ) == "ann"
    assert forget_login("r.test", machine.environ)
    assert json.loads(kept_by_helper.read_text()) == {}
    assert machine.document == {**document, "auths": {}}
    assert not forget_login("r.test", machine.environ)


def test_a_helper_that_fails_keeps_the_file_as_it_is(machine: Machine) -> None:
    machine.add_helper("safe", "#!/bin/sh\necho locked >&2\nexit 3\n")
    document = {"credsStore": "safe", "auths": {"r.test": {"auth": "eDp5"}}}
    machine.write(document)
    for change in (
        lambda: store_login("r.test", "ann", "pw-1", machine.environ),
        lambda: forget_login("r.test", machine.environ),
    ):
        with pytest.raises(RequestError, match="status 3: locked") as failed:
            change()
        assert "pw-1" not in str(failed.value)
        assert machine.document == document


def test_to_forget_what_is_not_there_writes_nothing(machine: Machine) -> None:
    assert not forget_login("r.test", machine.environ)
    assert not machine.config.exists()


def test_a_file_that_cannot_be_read_is_not_replaced(machine: Machine) -> None:
    machine.config.parent.mkdir()
    machine.config.write_text("{")
    with pytest.raises(RequestError, match="not valid JSON"):
        store_login("r.test", "ann", "pw", machine.environ)
    assert machine.config.read_text() == "{"
