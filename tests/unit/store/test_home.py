"""The home is its owner's alone, or it is not used."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from transship.store.errors import HomeUnusableError
from transship.store.home import KEY_FILE, OWNER_FILE, check_private, prepare_home, read_token
from transship.store.settings import Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    made = Settings(home=tmp_path / "home")
    prepare_home(made.home)
    return made


def test_a_new_home_is_its_owners_alone(settings: Settings) -> None:
    assert settings.home.stat().st_mode & 0o777 == 0o700
    assert settings.run_dir.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("mode", [0o777, 0o755, 0o750, 0o701, 0o770])
def test_a_home_that_others_can_use_is_refused(settings: Settings, mode: int) -> None:
    settings.home.chmod(mode)
    with pytest.raises(HomeUnusableError, match=f"its mode is 0{mode:03o}") as refused:
        prepare_home(settings.home)
    assert refused.value.subject == str(settings.home)
    assert "chmod go=" in refused.value.hint


@pytest.mark.parametrize("name", [KEY_FILE, OWNER_FILE, "run"])
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o622])
def test_a_secret_that_others_can_read_or_write_is_refused(
    settings: Settings, name: str, mode: int
) -> None:
    path = settings.home / name
    if not path.exists():
        path.write_text("secret")
    path.chmod(mode | 0o100)
    with pytest.raises(HomeUnusableError) as refused:
        prepare_home(settings.home)
    assert refused.value.subject == str(path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize("name", [".", KEY_FILE])
def test_what_another_user_has_made_is_refused(settings: Settings, name: str) -> None:
    path = settings.home / name
    if not path.exists():
        path.touch(mode=0o600)
    os.chown(path, 12345, 12345)
    with pytest.raises(HomeUnusableError, match="another user"):
        prepare_home(settings.home)


def test_what_is_not_there_is_in_order(tmp_path: Path) -> None:
    check_private(tmp_path / "nothing")


def test_without_a_file_there_is_no_token(settings: Settings) -> None:
    assert read_token(settings.home) is None
    (settings.home / OWNER_FILE).write_text("ts_x\n")
    assert read_token(settings.home) == "ts_x"
