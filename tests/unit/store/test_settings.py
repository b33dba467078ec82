"""The settings: where they come from, and what is said when one is wrong."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from pydantic import ValidationError

from transship.store.errors import InvalidSpecError, RequestError
from transship.store.settings import Settings

SECRET = "do-not-show-this"


@pytest.fixture(autouse=True)
def _nothing_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("TRANSSHIP_"):
            monkeypatch.delenv(name)


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The settings file; the test writes it."""
    path = tmp_path / "settings.toml"
    path.touch()
    monkeypatch.setenv("TRANSSHIP_CONFIG", str(path))
    return path


def test_the_defaults_are_dockers() -> None:
    settings = Settings.load()
    assert (
        settings.max_concurrent_downloads,
        settings.max_concurrent_uploads,
        settings.max_download_attempts,
    ) == (3, 5, 5)


def test_the_home_is_in_the_users_data_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", "/data/of/ada")
    assert Settings.load().home == Path("/data/of/ada/transship")


def test_without_a_database_the_catalog_is_in_the_home(tmp_path: Path) -> None:
    assert Settings.load(home=tmp_path).catalog_url == f"sqlite:///{tmp_path}/catalog.sqlite3"


def test_a_database_that_is_set_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRANSSHIP_DATABASE_URL", "sqlite:////elsewhere.sqlite3")
    assert Settings.load().catalog_url == "sqlite:////elsewhere.sqlite3"


# --- sources -------------------------------------------------------------------------------------


def test_the_environment_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRANSSHIP_MAX_CONCURRENT_DOWNLOADS", "7")
    assert Settings.load().max_concurrent_downloads == 7


def test_the_file_is_read(file: Path) -> None:
    file.write_text("max_concurrent_downloads = 8\n")
    assert Settings.load().max_concurrent_downloads == 8


def test_the_environment_beats_the_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text("max_concurrent_downloads = 8\nmax_concurrent_uploads = 9\n")
    monkeypatch.setenv("TRANSSHIP_MAX_CONCURRENT_DOWNLOADS", "7")
    settings = Settings.load()
    assert (settings.max_concurrent_downloads, settings.max_concurrent_uploads) == (7, 9)


def test_an_override_beats_both(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text("max_concurrent_downloads = 8\n")
    monkeypatch.setenv("TRANSSHIP_MAX_CONCURRENT_DOWNLOADS", "7")
    assert Settings.load(max_concurrent_downloads=2).max_concurrent_downloads == 2


def test_which_settings_were_given_is_known(file: Path) -> None:
    file.write_text("max_concurrent_downloads = 3\n")
    assert "max_concurrent_downloads" in Settings.load().model_fields_set
    assert "max_concurrent_uploads" not in Settings.load().model_fields_set


def test_settings_do_not_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Settings.load().listen = "127.0.0.1:1"


# --- lists ---------------------------------------------------------------------------------------


def test_lists_are_separated_by_commas_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRANSSHIP_INSECURE_REGISTRIES", "a.test:5000, 10.0.0.0/8,,")
    assert Settings.load().insecure_registries == ("a.test:5000", "10.0.0.0/8")


def test_lists_are_arrays_in_the_file(file: Path) -> None:
    file.write_text('allow_private = ["10.0.0.0/8", "192.168.0.0/16"]\n')
    assert Settings.load().allow_private == ("10.0.0.0/8", "192.168.0.0/16")


# --- addresses -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("listen", "host", "port"),
    [
        ("127.0.0.1:5005", "127.0.0.1", 5005),
        ("0.0.0.0:0", "0.0.0.0", 0),
        ("[::1]:5005", "::1", 5005),
        ("localhost:80", "localhost", 80),
    ],
)
def test_an_address_to_listen_on_has_a_host_and_a_port(listen: str, host: str, port: int) -> None:
    settings = Settings.load(listen=listen)
    assert (settings.listen_host, settings.listen_port) == (host, port)


# --- wrong values --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MAX_CONCURRENT_DOWNLOADS", "0"),
        ("MAX_CONCURRENT_UPLOADS", "-1"),
        ("MAX_DOWNLOAD_ATTEMPTS", "many"),
        ("MAX_UPLOAD_ATTEMPTS", "1.5"),
        ("LEASE_SECONDS", "0"),
        ("LISTEN", "5005"),
        ("LISTEN", ":5005"),
        ("LISTEN", "localhost:65536"),
        ("URL", "localhost:5005"),
        ("BROKER_URL", "localhost:6379"),
        ("BROKER_URL", "amqp://localhost"),
        ("TRUST", "everyone"),
    ],
)
def test_a_wrong_value_is_named_by_its_variable(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(f"TRANSSHIP_{name}", value)
    with pytest.raises(InvalidSpecError) as caught:
        Settings.load()
    assert [error["field"] for error in caught.value.errors] == [f"TRANSSHIP_{name}"]


def test_all_wrong_values_are_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRANSSHIP_LISTEN", "nowhere")
    monkeypatch.setenv("TRANSSHIP_TRUST", "everyone")
    with pytest.raises(InvalidSpecError, match=r"TRANSSHIP_LISTEN: .*TRANSSHIP_TRUST: "):
        Settings.load()


def test_a_wrong_value_of_the_file_is_named_too(file: Path) -> None:
    file.write_text("max_concurrent_downloads = 0\n")
    with pytest.raises(InvalidSpecError, match="TRANSSHIP_MAX_CONCURRENT_DOWNLOADS"):
        Settings.load()


def test_a_name_in_the_file_that_is_no_setting_is_refused(file: Path) -> None:
    file.write_text("max_concurent_downloads = 1\n")
    with pytest.raises(RequestError, match="no setting max_concurent_downloads") as caught:
        Settings.load()
    assert caught.value.subject == str(file)


@pytest.mark.parametrize("content", [b"max_concurrent_downloads =", b"\xff\xfe"])
def test_a_file_that_cannot_be_understood_is_named(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    with pytest.raises(RequestError, match=str(file)):
        Settings.load()


def test_a_file_that_is_not_there_is_named(file: Path) -> None:
    file.unlink()
    with pytest.raises(RequestError, match=str(file)):
        Settings.load()


# --- secrets -------------------------------------------------------------------------------------


def test_secrets_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SECRET_KEY", "DATABASE_URL", "BROKER_URL", "TOKEN"):
        monkeypatch.setenv(f"TRANSSHIP_{name}", f"redis://user:{SECRET}@host")
    settings = Settings.load()
    assert SECRET not in f"{settings} {settings!r} {settings.model_dump()}"


def test_a_wrong_value_is_not_shown_for_it_may_hold_a_secret(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TRANSSHIP_URL", f"user:{SECRET}@host")
    with pytest.raises(InvalidSpecError) as caught:
        Settings.load()
    assert SECRET not in f"{caught.value} {caught.value.as_json()}"


WITH_SECRET = 'broker_url = "redis://:word@127.0.0.1/0"\n'
PLAIN = 'listen = "127.0.0.1:1"\n'


@pytest.mark.parametrize(
    ("content", "mode", "taken"),
    [
        (PLAIN, 0o644, True),
        (PLAIN, 0o600, True),
        (PLAIN, 0o664, False),
        (PLAIN, 0o646, False),
        (WITH_SECRET, 0o600, True),
        (WITH_SECRET, 0o644, False),
        (WITH_SECRET, 0o604, False),
        (WITH_SECRET, 0o620, False),
    ],
)
def test_a_file_that_others_could_have_written_or_can_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str, mode: int, taken: bool
) -> None:
    path = tmp_path / "settings.toml"
    path.write_text(content)
    path.chmod(mode)
    monkeypatch.setenv("TRANSSHIP_CONFIG", str(path))
    if taken:
        Settings.load()
    else:
        with pytest.raises(RequestError, match="others can"):
            Settings.load()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_file_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "settings.toml"
    path.write_text(PLAIN)
    os.chown(path, 65534, 65534)
    monkeypatch.setenv("TRANSSHIP_CONFIG", str(path))
    with pytest.raises(RequestError, match="another user"):
        Settings.load()
