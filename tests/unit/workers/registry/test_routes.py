"""Where reads go by registries.conf."""

from __future__ import annotations

from pathlib import Path

import pytest

from transship.store.errors import RequestError
from transship.workers.registry.transport.routes import Endpoint, Route, Routes

MIRRORED = """
[[registry]]
location = "docker.io"
[[registry.mirror]]
location = "mirror.test:5000/hub"
insecure = true
[[registry.mirror]]
location = "second.test"
pull-from-mirror = "digest-only"
"""


@pytest.fixture
def system(tmp_path: Path) -> Path:
    (tmp_path / "system" / "registries.conf.d").mkdir(parents=True)
    return tmp_path / "system"


def routes(system: Path, text: str, **environ: str) -> Routes:
    (system / "registries.conf").write_text(text)
    return Routes.load(environ, system)


def registry(**fields: str | bool) -> str:
    lines = [f"{key.replace('_', '-')} = {_toml(value)}" for key, value in fields.items()]
    return "\n".join(["[[registry]]", *lines, ""])


def _toml(value: str | bool) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value).lower()


def test_without_files_everything_lies_where_it_is_named(system: Path) -> None:
    found = Routes.load({}, system)
    assert found.of("docker.io/library/alpine") == Route((), "docker.io/library/alpine")


def test_mirrors_are_asked_in_the_files_order(system: Path) -> None:
    assert routes(system, MIRRORED).of("docker.io/library/alpine") == Route(
        (
            Endpoint("mirror.test:5000/hub/library/alpine"),
            Endpoint("second.test/library/alpine", tags=False),
        ),
        "docker.io/library/alpine",
    )


def test_others_are_not_touched(system: Path) -> None:
    found = routes(system, MIRRORED)
    for name in ("quay.io/team/app", "docker.io.evil.test/app", "mirror.test:5000/hub/app"):
        assert found.of(name) == Route((), name)


@pytest.mark.parametrize(
    ("allowed", "tags", "digests"),
    [("all", True, True), ("digest-only", False, True), ("tag-only", True, False)],
)
def test_a_mirror_is_asked_for_what_it_may_give(
    system: Path, allowed: str, tags: bool, digests: bool
) -> None:
    text = registry(location="r.test") + (
        f'[[registry.mirror]]\nlocation = "m.test"\npull-from-mirror = "{allowed}"\n'
    )
    (stop,) = routes(system, text).of("r.test/app").mirrors
    assert (stop.serves("1.0"), stop.serves(f"sha256:{'0' * 64}")) == (tags, digests)


def test_mirror_by_digest_only_counts_for_every_mirror(system: Path) -> None:
    text = registry(location="r.test", mirror_by_digest_only=True) + (
        '[[registry.mirror]]\nlocation = "m.test"\n'
    )
    (stop,) = routes(system, text).of("r.test/app").mirrors
    assert not stop.serves("1.0")


def test_the_longest_prefix_wins_at_a_boundary(system: Path) -> None:
    text = registry(prefix="r.test", location="a.test") + registry(
        prefix="r.test/team", location="b.test/x"
    )
    found = routes(system, text)
    assert found.of("r.test/team/app").origin == "b.test/x/app"
    assert found.of("r.test/team").origin == "b.test/x"
    assert found.of("r.test/teams/app").origin == "a.test/teams/app"


def test_a_wildcard_means_names_below(system: Path) -> None:
    found = routes(system, registry(prefix="*.r.test", location="in.test/all"))
    assert found.of("eu.r.test/team/app").origin == "in.test/all/team/app"
    assert found.of("r.test/team/app").origin == "r.test/team/app"
    assert found.of("evilr.test/app").origin == "evilr.test/app"


def test_a_wildcard_without_a_location_keeps_the_name(system: Path) -> None:
    found = routes(system, registry(prefix="*.r.test", blocked=True)).of("eu.r.test/app")
    assert (found.origin, found.blocked) == ("eu.r.test/app", True)


def test_what_is_insecure_is_known_by_host(system: Path) -> None:
    text = MIRRORED + registry(location="plain.test/team", insecure=True)
    assert routes(system, text).insecure == ("mirror.test:5000", "plain.test")


# --- which files ----------------------------------------------------------------------------------


def test_drop_ins_replace_entries_of_the_same_prefix(system: Path) -> None:
    (system / "registries.conf.d" / "2.conf").write_text(registry(location="r.test", blocked=True))
    (system / "registries.conf.d" / "1.conf").write_text(registry(location="r.test"))
    (system / "registries.conf.d" / "3.txt").write_text("nonsense")
    found = routes(system, registry(location="r.test") + registry(location="s.test", blocked=True))
    assert found.of("r.test/app").blocked
    assert found.of("s.test/app").blocked


def test_the_users_file_takes_the_place_of_the_systems(system: Path, tmp_path: Path) -> None:
    own = tmp_path / ".config" / "containers"
    own.mkdir(parents=True)
    (own / "registries.conf").write_text(registry(location="s.test", blocked=True))
    found = routes(system, registry(location="r.test", blocked=True), HOME=str(tmp_path))
    assert not found.of("r.test/app").blocked
    assert found.of("s.test/app").blocked


def test_a_file_named_by_the_environment_is_the_only_one(system: Path, tmp_path: Path) -> None:
    (tmp_path / "own.conf").write_text(registry(location="s.test", blocked=True))
    found = routes(
        system,
        registry(location="r.test", blocked=True),
        CONTAINERS_REGISTRIES_CONF=str(tmp_path / "own.conf"),
    )
    assert not found.of("r.test/app").blocked
    assert found.of("s.test/app").blocked


@pytest.mark.parametrize(
    "text",
    [
        "[[registry",
        "registry = 3",
        "[[registry]]",
        '[[registry]]\nlocation = "https://r.test"',
        "[[registry]]\nlocation = 3",
        '[[registry]]\nlocation = "r.test"\nmirror = 3',
        '[[registry]]\nlocation = "r.test"\n[[registry.mirror]]',
        (
            '[[registry]]\nlocation = "r.test"\n[[registry.mirror]]\nlocation = "m.test"\n'
            'pull-from-mirror = "never"'
        ),
        (
            '[[registry]]\nlocation = "r.test"\nmirror-by-digest-only = true\n[[registry.mirror]]\n'
            'location = "m.test"\npull-from-mirror = "all"'
        ),
    ],
)
def test_what_cannot_be_understood_is_refused_by_its_file(system: Path, text: str) -> None:
    with pytest.raises(RequestError) as refused:
        routes(system, text)
    assert refused.value.subject == str(system / "registries.conf")
