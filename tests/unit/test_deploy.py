"""What lies in deploy/ is true."""

from __future__ import annotations

import re
import tomllib
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from tests.contract.catalog.prepared import prepared_sqlite
from tests.contract.catalog.scene import HERE, Scene
from tests.support.compose import DEPLOY, Service, dockerfile, services
from transship.api.cli.root import COMMANDS
from transship.api.http.auth import OPEN
from transship.api.views.liveness import Liveness
from transship.api.views.metrics import RECENT_SECONDS, Metrics
from transship.store.catalog.db.engine import Catalog
from transship.store.catalog.scheduling.admission import parking
from transship.store.settings import Settings
from transship.workers.process.bootstrap import make_context
from transship.workers.process.worker import threads_for
from transship.workers.runtime.wire import LocalWire, Queue

ROOT = DEPLOY.parent
NO_DEFAULT = {
    "home", "broker_url", "database_url", "secret_key", "certs_dir", "store_max_bytes",
    "insecure_registries", "broker_credentials", "url", "token",
    "token_store_bytes", "log", "broker_kinds",
}  # fmt: skip
SECRET = re.compile(r"password|secret|token|credential|key", re.IGNORECASE)
VARIABLE = re.compile(r"\b(?:TRANSSHIP|POSTGRES|FLOWER)_[A-Z_]+\b")
NOT_OF_SETTINGS = {"TRANSSHIP_CONFIG", "TRANSSHIP_TASK_EVENTS", "TRANSSHIP_IMAGE"}
GIVEN = {
    "POSTGRES_PASSWORD": "the-password-of-postgres",
    "REDIS_PASSWORD": "the-password-of-redis",
    "TRANSSHIP_SECRET_KEY": "the-key",
    "FLOWER_USER": "ops",
    "FLOWER_PASSWORD": "the-password-of-flower",
}
UNITS = ("transship.service", "transship-api.service", "transship-worker@.service")


# --- settings ----------------------------------------------------------------------------------


def test_the_example_shows_every_setting_with_its_default() -> None:
    text = (DEPLOY / "settings.example.toml").read_text()
    shown = tomllib.loads(re.sub(r"^# (?=[a-z_]+ = )", "", text, flags=re.MULTILINE))
    assert set(shown) == set(Settings.model_fields)
    settings = Settings.model_validate(shown)
    defaults = Settings()
    for name in set(shown) - NO_DEFAULT:
        assert getattr(settings, name) == getattr(defaults, name), name


def test_every_variable_that_is_named_exists() -> None:
    known = {f"TRANSSHIP_{name.upper()}" for name in Settings.model_fields} | NOT_OF_SETTINGS
    for path in DEPLOY.iterdir():
        if path.is_file():
            named = {n for n in VARIABLE.findall(path.read_text()) if n.startswith("TRANSSHIP_")}
            assert named <= known, path.name


# --- systemd -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", UNITS)
def test_a_unit_runs_a_command_that_exists_and_waits_for_its_end(name: str) -> None:
    unit = (DEPLOY / name).read_text()
    command = re.search(r"^ExecStart=\S+/transship (\w+)", unit, re.MULTILINE)
    assert command is not None
    assert command[1] in COMMANDS
    grace = re.search(r"^TimeoutStopSec=(\d+)$", unit, re.MULTILINE)
    assert grace is not None
    assert int(grace[1]) > 10


# --- the image ---------------------------------------------------------------------------------


def _stages() -> list[list[tuple[str, str]]]:
    stages: list[list[tuple[str, str]]] = []
    for name, arguments in dockerfile():
        if name == "FROM":
            stages.append([])
        stages[-1].append((name, arguments))
    return stages


def test_the_image_is_built_in_one_stage_and_runs_in_another() -> None:
    build, final = _stages()
    assert build[0][1].endswith(" AS build")
    copied = [arguments for name, arguments in final if name == "COPY"]
    assert copied == ["--from=build /opt/transship /opt/transship"]
    assert not any("pip install" in arguments for _, arguments in final)


def test_bases_are_named_by_what_they_are_and_not_by_latest() -> None:
    bases = [stage[0][1].split()[0] for stage in _stages()]
    assert all(re.fullmatch(r"python:3\.11-slim-\w+", base) for base in bases)


def test_nothing_is_installed_that_was_not_checked_against_the_lock() -> None:
    (fetching,) = [a for name, a in _stages()[0] if name == "RUN" and "pip download" in a]
    assert {"--require-hashes", "requirements.lock"} <= set(fetching.split())
    installing = re.findall(r"pip [^&]*install[^&]*", " && ".join(a for _, a in _stages()[0]))
    assert installing
    assert all("--no-index --find-links /wheels" in one for one in installing)


def test_it_does_not_run_as_root() -> None:
    final = _stages()[-1]
    users = [arguments for name, arguments in final if name == "USER"]
    assert users == ["10001"]
    last_run = max(i for i, (name, _) in enumerate(final) if name == "RUN")
    assert final.index(("USER", "10001")) > last_run


def test_what_it_copies_is_there_and_reaches_the_builder() -> None:
    ignored = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    let_in = [line.removeprefix("!") for line in ignored if line.startswith("!")]
    assert "*" in ignored
    for name, arguments in _stages()[0]:
        if name == "COPY":
            for source in arguments.split()[:-1]:
                assert (ROOT / source).exists()
                assert any(fnmatch(source.rstrip("/"), one) for one in let_in), source


def test_no_secret_is_in_the_image() -> None:
    for name, arguments in dockerfile():
        if name in {"ENV", "ARG"}:
            assert SECRET.search(arguments) is None, arguments


def test_its_health_is_asked_for_where_no_token_is_wanted() -> None:
    text = dict(dockerfile())["HEALTHCHECK"]
    path = re.search(r"'GET', '(/\w+)'", text)
    assert path is not None
    assert path[1] in OPEN


# --- compose -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def composed() -> dict[str, Service]:
    return {service.name: service for service in services(GIVEN)}


@pytest.mark.parametrize("name", GIVEN)
def test_compose_does_not_start_without_its_secrets(name: str) -> None:
    with pytest.raises(KeyError, match=name):
        services({**GIVEN, name: ""})


def test_the_example_of_an_environment_names_what_compose_wants() -> None:
    lines = (DEPLOY / "env.example").read_text().splitlines()
    assert {line.partition("=")[0] for line in lines if "=" in line and line[0] != "#"} == set(
        GIVEN
    )


def test_there_is_a_worker_for_each_queue_and_for_one_only(composed: dict[str, Service]) -> None:
    served = [s.command[2] for s in composed.values() if s.command[:2] == ["worker", "--queues"]]
    assert sorted(f"transship.{queue}" for queue in served) == sorted(Queue)


def test_every_role_waits_for_the_schema(composed: dict[str, Service]) -> None:
    for service in composed.values():
        if service.command[:1] in (["api"], ["worker"]):
            assert service.needs["migrate"] == "service_completed_successfully"
            assert service.needs["redis"] == "service_healthy"
            assert service.grace_seconds > 10


def test_the_roles_share_the_store_and_flower_has_none_of_it(
    composed: dict[str, Service],
) -> None:
    for name, service in composed.items():
        if name in {"redis", "postgres"}:
            continue
        has_store = any(volume.startswith("store:") for volume in service.volumes)
        assert has_store is (name != "flower")
    assert composed["flower"].environment.keys() == {"TRANSSHIP_BROKER_URL", "FLOWER_BASIC_AUTH"}


def test_no_secret_is_on_a_command_line(composed: dict[str, Service]) -> None:
    for service in composed.values():
        line = " ".join([*service.entrypoint, *service.command])
        assert not any(secret in line for secret in GIVEN.values() if secret != "ops")


def test_only_this_host_is_served() -> None:
    text = (DEPLOY / "compose.yaml").read_text()
    published = re.findall(r'^ +- "(\S+:\d+:\d+)"$', text, re.MULTILINE)
    assert len(published) == 2
    assert all(port.startswith("127.0.0.1:") for port in published)


# --- alerts ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """Every metric that there is, and the labels of its samples."""
    directory = tmp_path_factory.mktemp("metrics")
    catalog = Catalog(prepared_sqlite(directory))
    settings = Settings(home=directory / "home", store_max_bytes=10**9)
    context = make_context(settings, catalog, LocalWire(threads_for(set(Queue))))
    scene = Scene(catalog, now=context.now())
    scene.end(scene.job("ended"), "failed")
    with catalog.write() as connection:
        parking.park(connection, HERE, 60, context.now())
    found = {
        family.name: {label for labels, _ in family.samples for label in labels}
        for family in Metrics(context, Liveness()).families()
    }
    context.close()
    return found


def _rules() -> list[dict[str, Any]]:
    document = yaml.safe_load((DEPLOY / "prometheus-rules.yaml").read_text())
    return [rule for group in document["groups"] for rule in group["rules"]]


@pytest.mark.parametrize("rule", _rules(), ids=lambda rule: rule["alert"])
def test_an_alert_asks_for_what_is_told(rule: dict[str, Any], told: dict[str, set[str]]) -> None:
    named = set(re.findall(r"\btransship_\w+", rule["expr"]))
    assert named <= told.keys()
    labels = {label for name in named for label in told[name]} | {"job", "instance"}
    grouped = re.findall(r"(?:by|on) \(([a-z, ]+)\)", rule["expr"])
    used = {label.strip() for group in grouped for label in group.split(",")}
    used |= set(re.findall(r"[{,](\w+)=", rule["expr"]))
    used |= set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"]))
    assert used <= labels
    assert rule["expr"].count("(") == rule["expr"].count(")")


@pytest.mark.parametrize("rule", _rules(), ids=lambda rule: rule["alert"])
def test_the_run_book_says_what_to_do_about_an_alert(rule: dict[str, Any]) -> None:
    assert f"**{rule['alert']}**" in (DEPLOY / "README.md").read_text()


def test_the_run_book_explains_every_metric(told: dict[str, set[str]]) -> None:
    book = (DEPLOY / "README.md").read_text()
    assert [name for name in sorted(told) if f"`{name}`" not in book] == []
    assert set(re.findall(r"`(transship_\w+)", book)) <= told.keys()


def test_the_run_book_says_how_long_recently_is() -> None:
    assert f"last {RECENT_SECONDS / 60:.0f} minutes" in (DEPLOY / "README.md").read_text()


def test_the_run_book_names_commands_that_exist() -> None:
    book = (DEPLOY / "README.md").read_text()
    named = set(re.findall(r"(?:`|^|\$ )transship ([a-z]+)", book, re.MULTILINE))
    assert named
    assert named <= set(COMMANDS)


def test_every_file_is_mentioned_in_the_run_book() -> None:
    book = (DEPLOY / "README.md").read_text()
    files = {path.name for path in DEPLOY.iterdir() if path.is_file()} - {"README.md"}
    assert [name for name in sorted(files) if Path(name).name not in book] == []
