"""Sealing, and the key of a home."""

from __future__ import annotations

import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

import tests
from tests.contract.catalog.prepared import prepared_sqlite
from transship.store.catalog.access import credentials
from transship.store.catalog.access.credentials import (
    NamedCredential,
    SealedCredential,
    Sealer,
    kept_key,
)
from transship.store.catalog.db.engine import Catalog
from transship.store.errors import ConflictError, HomeUnusableError, NotFoundError, StoreError

KEY = Fernet.generate_key().decode()
ROOT = Path(tests.__path__[0]).parent
RACE = """
import sys
from pathlib import Path
from transship.store.catalog.access.credentials import kept_key
print("ready", flush=True)
sys.stdin.readline()
print(kept_key(Path(sys.argv[1]) / "secret.key"))
"""


def test_what_is_sealed_can_be_opened() -> None:
    value = {"username": "ada", "password": "secret"}
    assert Sealer(KEY).open(Sealer(KEY).seal(value)) == value


def test_sealing_hides() -> None:
    assert "secret" not in Sealer(KEY).seal({"password": "secret"})


def test_the_same_is_sealed_differently_each_time() -> None:
    sealer = Sealer(KEY)
    assert sealer.seal({"a": 1}) != sealer.seal({"a": 1})


def test_another_key_does_not_open() -> None:
    sealed = Sealer(KEY).seal({"a": 1})
    with pytest.raises(StoreError, match="another key"):
        Sealer(Fernet.generate_key().decode()).open(sealed)


@pytest.mark.parametrize("key", ["", "short", "ключ", KEY[:-2]], ids=range(4))
def test_a_key_of_the_wrong_form_is_refused_by_its_setting(key: str) -> None:
    with pytest.raises(StoreError, match="TRANSSHIP_SECRET_KEY"):
        Sealer(key)


def test_a_sealer_does_not_show_its_key() -> None:
    assert KEY not in repr(Sealer(KEY)) + repr(vars(Sealer(KEY)))


def test_a_home_keeps_its_key(tmp_path: Path) -> None:
    assert kept_key(tmp_path / "secret.key") == kept_key(tmp_path / "secret.key")


def test_a_homes_key_can_seal(tmp_path: Path) -> None:
    sealer = Sealer(kept_key(tmp_path / "secret.key"))
    assert sealer.open(sealer.seal({"a": 1})) == {"a": 1}


def test_a_homes_key_is_readable_by_its_owner_only(tmp_path: Path) -> None:
    kept_key(tmp_path / "secret.key")
    assert stat.S_IMODE((tmp_path / "secret.key").stat().st_mode) == 0o600


def test_making_a_key_leaves_nothing_else(tmp_path: Path) -> None:
    kept_key(tmp_path / "secret.key")
    assert [path.name for path in tmp_path.iterdir()] == ["secret.key"]


def test_a_home_that_cannot_keep_a_key_is_named(tmp_path: Path) -> None:
    with pytest.raises(HomeUnusableError, match=str(tmp_path)):
        kept_key(tmp_path / "nowhere" / "secret.key")


def test_processes_that_make_the_key_at_once_all_get_the_same(tmp_path: Path) -> None:
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", RACE, str(tmp_path)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    for racer in racers:
        assert racer.stdout is not None
        assert racer.stdout.readline() == "ready\n"
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("go\n")
        racer.stdin.flush()
    keys = {racer.communicate(timeout=30)[0].strip() for racer in racers}
    assert keys == {kept_key(tmp_path / "secret.key")}


# --- named ---------------------------------------------------------------------------------------


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    made = Catalog(prepared_sqlite(tmp_path))
    yield made
    made.close()


def named(name: str, registry: str = "r.test", sealed: str = "sealed") -> NamedCredential:
    kept = SealedCredential(registry, sealed, f"of {sealed}")
    return NamedCredential(name, kept, 1.0, f"id of {name}")


def test_named_credentials_are_listed_by_name(catalog: Catalog) -> None:
    with catalog.write() as connection:
        credentials.keep_named(connection, named("b"))
        credentials.keep_named(connection, named("a", "s.test/team"))
        assert credentials.all_named(connection) == [named("a", "s.test/team"), named("b")]


def test_a_name_is_given_another_secret_for_the_same_registry(catalog: Catalog) -> None:
    with catalog.write() as connection:
        credentials.keep_named(connection, named("a", sealed="old"))
        credentials.keep_named(connection, named("a", sealed="new"))
        assert credentials.all_named(connection) == [named("a", sealed="new")]


def test_a_name_does_not_change_its_registry(catalog: Catalog) -> None:
    with catalog.write() as connection:
        credentials.keep_named(connection, named("a"))
    with pytest.raises(ConflictError, match=r"r\.test"), catalog.write() as connection:
        credentials.keep_named(connection, named("a", "evil.test"))


def test_a_forgotten_one_is_gone(catalog: Catalog) -> None:
    with catalog.write() as connection:
        credentials.keep_named(connection, named("a"))
        credentials.forget_named(connection, "a")
        assert credentials.all_named(connection) == []
    with pytest.raises(NotFoundError), catalog.write() as connection:
        credentials.forget_named(connection, "a")


def test_what_is_sealed_does_not_show() -> None:
    assert "ciphertext" not in repr(SealedCredential("r.test", "ciphertext", "fingerprint"))
