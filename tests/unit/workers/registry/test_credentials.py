"""Docker's and containers' files of credentials, and helpers."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from transship.store.errors import RequestError
from transship.workers.registry.auth.credentials import (
    Credential,
    fingerprint,
    load_docker_config,
    most_specific,
)


def encoded(user: str, password: str) -> str:
    return base64.b64encode(f"{user}:{password}".encode()).decode()


def docker_config(directory: Path, document: object) -> dict[str, str]:
    text = document if isinstance(document, str) else json.dumps(document)
    (directory / "config.json").write_text(text)
    return {"DOCKER_CONFIG": str(directory)}


def helper(directory: Path, name: str, script: str) -> None:
    path = directory / f"docker-credential-{name}"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def test_secrets_do_not_show() -> None:
    shown = repr(Credential("ann", "pw-1", "id-2", "reg-3"))
    assert not any(secret in shown for secret in ("pw-1", "id-2", "reg-3"))


def test_fingerprints_tell_credentials_apart() -> None:
    several = [
        Credential("a", "b"),
        Credential("a", "c"),
        Credential("ab", ""),
        Credential("", "ab"),
        Credential(identity_token="ab"),
        Credential(registry_token="ab"),
    ]
    assert len({credential.fingerprint for credential in several}) == len(several)


def test_a_fingerprint_is_stable_and_does_not_tell_the_secret() -> None:
    mark = fingerprint(Credential("ann", "pw"))
    assert mark == fingerprint(Credential("ann", "pw"))
    assert "pw" not in mark


def test_anonymous_has_no_fingerprint() -> None:
    assert fingerprint(None) == fingerprint(Credential()) == ""


def test_no_files_mean_anonymous(tmp_path: Path) -> None:
    assert load_docker_config({"HOME": str(tmp_path)}).for_host("r.test") is None


def test_auth_is_decoded(tmp_path: Path) -> None:
    environ = docker_config(tmp_path, {"auths": {"r.test": {"auth": encoded("ann", "a:b")}}})
    assert load_docker_config(environ).for_host("r.test") == Credential("ann", "a:b")


def test_tokens_are_read(tmp_path: Path) -> None:
    entry = {"auth": encoded("<token>", ""), "identitytoken": "id", "registrytoken": "reg"}
    environ = docker_config(tmp_path, {"auths": {"r.test": entry}})
    found = load_docker_config(environ).for_host("r.test")
    assert found is not None
    assert (found.identity_token, found.registry_token) == ("id", "reg")


@pytest.mark.parametrize(
    "key",
    ["https://index.docker.io/v1/", "index.docker.io", "docker.io", "registry-1.docker.io"],
)
def test_docker_hub_goes_by_several_names(tmp_path: Path, key: str) -> None:
    environ = docker_config(tmp_path, {"auths": {key: {"auth": encoded("ann", "pw")}}})
    assert load_docker_config(environ).for_host("docker.io") == Credential("ann", "pw")


@pytest.mark.parametrize("key", ["r.test:5000", "https://r.test:5000", "http://r.test:5000/v2/"])
def test_keys_may_be_urls(tmp_path: Path, key: str) -> None:
    environ = docker_config(tmp_path, {"auths": {key: {"auth": encoded("ann", "pw")}}})
    assert load_docker_config(environ).for_host("r.test:5000") == Credential("ann", "pw")


@pytest.mark.parametrize("key", ["r.test", "r.test:5001", "r.test:5000/team", "evil-r.test:5000"])
def test_other_hosts_and_single_repositories_do_not_match(tmp_path: Path, key: str) -> None:
    environ = docker_config(tmp_path, {"auths": {key: {"auth": encoded("ann", "pw")}}})
    assert load_docker_config(environ).for_host("r.test:5000") is None


def test_the_variable_comes_before_the_file(tmp_path: Path) -> None:
    environ = docker_config(tmp_path, {"auths": {"r.test": {"auth": encoded("file", "pw")}}})
    environ["DOCKER_AUTH_CONFIG"] = json.dumps(
        {"auths": {"r.test": {"auth": encoded("variable", "pw")}}}
    )
    assert load_docker_config(environ).for_host("r.test") == Credential("variable", "pw")


def test_containers_file_comes_after_dockers(tmp_path: Path) -> None:
    environ = docker_config(tmp_path, {"auths": {"a.test": {"auth": encoded("docker", "pw")}}})
    other = tmp_path / "auth.json"
    both = {host: {"auth": encoded("containers", "pw")} for host in ("a.test", "b.test")}
    other.write_text(json.dumps({"auths": both}))
    config = load_docker_config({**environ, "REGISTRY_AUTH_FILE": str(other)})
    assert config.for_host("a.test") == Credential("docker", "pw")
    assert config.for_host("b.test") == Credential("containers", "pw")


def test_a_hosts_helper_is_asked_with_the_host(tmp_path: Path) -> None:
    helper(
        tmp_path,
        "mine",
        'read server; echo "{\\"Username\\":\\"$1-$server\\",\\"Secret\\":\\"s\\"}"',
    )
    environ = docker_config(tmp_path, {"credHelpers": {"r.test": "mine"}})
    environ["PATH"] = f"{tmp_path}:/usr/bin:/bin"
    assert load_docker_config(environ).for_host("r.test") == Credential("get-r.test", "s")


def test_the_general_helper_serves_docker_hub_by_its_url(tmp_path: Path) -> None:
    helper(
        tmp_path, "all", 'read server; echo "{\\"Username\\":\\"$server\\",\\"Secret\\":\\"s\\"}"'
    )
    environ = docker_config(tmp_path, {"credsStore": "all"})
    environ["PATH"] = f"{tmp_path}:/usr/bin:/bin"
    found = load_docker_config(environ).for_host("docker.io")
    assert found == Credential("https://index.docker.io/v1/", "s")


def test_a_helpers_token_user_means_an_identity_token(tmp_path: Path) -> None:
    helper(tmp_path, "all", 'echo "{\\"Username\\":\\"<token>\\",\\"Secret\\":\\"id\\"}"')
    environ = docker_config(tmp_path, {"credsStore": "all"})
    environ["PATH"] = f"{tmp_path}:/usr/bin:/bin"
    assert load_docker_config(environ).for_host("r.test") == Credential(identity_token="id")


def test_a_helper_that_knows_nothing_leaves_the_plain_entry(tmp_path: Path) -> None:
    helper(tmp_path, "all", "echo credentials not found in native keychain; exit 1")
    document = {"credsStore": "all", "auths": {"r.test": {"auth": encoded("ann", "pw")}}}
    environ = docker_config(tmp_path, document)
    environ["PATH"] = f"{tmp_path}:/usr/bin:/bin"
    assert load_docker_config(environ).for_host("r.test") == Credential("ann", "pw")


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("exit 3", "failed with status 3: it says nothing"),
        ("echo 'no \x1b[2Jkey' >&2; exit 1", "failed with status 1: no \\x1b[2Jkey"),
        ("echo 'pass not initialized'; exit 1", "failed with status 1: pass not initialized"),
        ('echo \'{"Secret":"hidden"}\'; exit 1', "failed with status 1: it says nothing"),
        ("echo nonsense", "the answer is not a JSON object"),
        ("echo '{\"Username\": 5}'", "the answer cannot be read"),
    ],
)
def test_a_failing_helper_is_warned_of_and_no_obstacle(
    tmp_path: Path, script: str, said: str
) -> None:
    helper(tmp_path, "bad", script)
    document = {"credsStore": "bad", "auths": {"s.test": {"auth": encoded("ann", "pw")}}}
    environ = docker_config(tmp_path, document)
    environ["PATH"] = f"{tmp_path}:/usr/bin:/bin"
    warnings: list[str] = []
    config = load_docker_config(environ, warn=warnings.append)
    assert config.for_registries(["r.test", "s.test"]) == {"s.test": Credential("ann", "pw")}
    assert warnings == [warnings[0]] * 2
    assert warnings[0].startswith("docker-credential-bad")
    assert said in warnings[0]
    assert "hidden" not in warnings[0]


@pytest.mark.parametrize("answer", ['{"Username":null,"Secret":null}', "{}"])
def test_a_helper_that_has_nothing_leaves_the_plain_entry(tmp_path: Path, answer: str) -> None:
    helper(tmp_path, "all", f"echo '{answer}'")
    document = {"credsStore": "all", "auths": {"r.test": {"auth": encoded("ann", "pw")}}}
    environ = docker_config(tmp_path, document)
    environ["PATH"] = f"{tmp_path}:/usr/bin:/bin"
    config = load_docker_config(environ, warn=pytest.fail)
    assert config.for_host("r.test") == Credential("ann", "pw")
    assert config.for_host("s.test") is None


@pytest.mark.parametrize("name", ["../evil", "a b", "-x", "a;b", "a/b", "x" * 65])
def test_a_helpers_name_is_no_path_and_no_command(tmp_path: Path, name: str) -> None:
    environ = docker_config(tmp_path, {"credHelpers": {"r.test": name}})
    warnings: list[str] = []
    assert load_docker_config(environ, warn=warnings.append).for_host("r.test") is None
    assert "cannot be the name of a credential helper" in warnings[0]


def test_a_missing_helper_is_named(tmp_path: Path) -> None:
    environ = {**docker_config(tmp_path, {"credsStore": "nowhere"}), "PATH": str(tmp_path)}
    warnings: list[str] = []
    assert load_docker_config(environ, warn=warnings.append).for_host("r.test") is None
    assert warnings == ["docker-credential-nowhere is not installed"]


@pytest.mark.parametrize(
    "text",
    ["{", "[]", '{"auths": 5}', '{"credHelpers": {"a": 5}}', '{"credsStore": []}', "\x00"],
)
def test_a_broken_file_is_named(tmp_path: Path, text: str) -> None:
    environ = docker_config(tmp_path, text)
    with pytest.raises(RequestError) as broken:
        load_docker_config(environ)
    assert broken.value.subject == str(tmp_path / "config.json")


def test_an_empty_file_is_no_error(tmp_path: Path) -> None:
    assert load_docker_config(docker_config(tmp_path, "")).for_host("r.test") is None


@pytest.mark.parametrize("entry", [5, {"auth": "!!!"}, {"auth": "bm9jb2xvbg=="}, {"username": 5}])
def test_a_broken_entry_is_named_without_its_content(tmp_path: Path, entry: object) -> None:
    environ = docker_config(tmp_path, {"auths": {"r.test": entry}})
    with pytest.raises(RequestError, match=r"the entry for r\.test cannot be read"):
        load_docker_config(environ).for_host("r.test")


def test_the_environment_does_not_show(tmp_path: Path) -> None:
    environ = {**docker_config(tmp_path, {"auths": {"r.test": {"auth": encoded("ann", "pw")}}})}
    environ["SECRET"] = "from-environ"
    shown = repr(load_docker_config(environ))
    assert "from-environ" not in shown
    assert encoded("ann", "pw") not in shown


# --- namespaces -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("r.test/team/app", "r.test/team/app"),
        ("r.test/team/other", "r.test/team"),
        ("r.test/teams/app", "r.test"),
        ("r.test", "r.test"),
        ("r.test.evil/team", None),
        ("team/app", None),
    ],
)
def test_the_longest_key_that_fits_is_taken(name: str, found: str | None) -> None:
    keys = ("r.test", "r.test/team", "r.test/team/app")
    assert most_specific({key: key for key in keys}, name) == found


def test_a_job_gets_what_there_is_for_its_registries_and_their_namespaces(tmp_path: Path) -> None:
    auths = {
        "r.test": {"auth": encoded("whole", "1")},
        "r.test/team": {"auth": encoded("team", "2")},
        "r.test/empty": {},
        "s.test/other": {"auth": encoded("other", "3")},
        "r.test.evil/team": {"auth": encoded("evil", "4")},
    }
    config = load_docker_config(docker_config(tmp_path, {"auths": auths}))
    assert config.for_registries(["r.test", "t.test"]) == {
        "r.test": Credential("whole", "1"),
        "r.test/team": Credential("team", "2"),
    }


def test_a_namespace_of_docker_hub_goes_by_any_of_its_names(tmp_path: Path) -> None:
    auths = {
        "index.docker.io/team": {"auth": encoded("team", "2")},
        "https://index.docker.io/v1/access-token": {"auth": encoded("docker", "3")},
    }
    config = load_docker_config(docker_config(tmp_path, {"auths": auths}))
    assert config.for_registries(["docker.io"]) == {"docker.io/team": Credential("team", "2")}


def test_the_first_file_with_a_namespace_wins(tmp_path: Path) -> None:
    inline = {"auths": {"r.test/team": {"auth": encoded("first", "1")}}}
    environ = docker_config(tmp_path, {"auths": {"r.test/team": {"auth": encoded("second", "2")}}})
    config = load_docker_config({**environ, "DOCKER_AUTH_CONFIG": json.dumps(inline)})
    assert config.for_registries(["r.test"]) == {"r.test/team": Credential("first", "1")}
