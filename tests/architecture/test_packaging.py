"""What is shipped: one package, the same whatever it is built from, in nobody's way."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from importlib.metadata import distributions, version
from pathlib import Path
from typing import Any

import pytest

import tests
from transship.api import cli

ROOT = Path(tests.__path__[0]).parent
FOLDERS = ("api", "store", "workers")
PACKAGE = "transship"


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sdist of the checkout, unpacked."""
    directory = tmp_path_factory.mktemp("sdist")
    with tarfile.open(_built(ROOT, "sdist", directory)) as archive:
        archive.extractall(directory, filter="data")
    (unpacked,) = (path for path in directory.iterdir() if path.is_dir())
    return unpacked


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of the checkout."""
    return _built(ROOT, "wheel", tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, wheel: Path) -> Path:
    """Where the wheel is installed, beside a distribution whose packages are `api` and `store`."""
    directory = tmp_path_factory.mktemp("site")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(directory)
    for name in FOLDERS:
        (directory / name).mkdir()
        (directory / name / "__init__.py").write_text("raise RuntimeError('of somebody else')\n")
    return directory


def _built(source: Path, target: str, directory: Path) -> Path:
    command = [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(directory)]
    subprocess.run(command, cwd=source, check=True, capture_output=True)
    (made,) = (path for path in directory.iterdir() if path.is_file())
    return made


def _contents(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_the_wheel_is_the_same_from_the_sdist(sdist: Path, wheel: Path, tmp_path: Path) -> None:
    assert _contents(_built(sdist, "wheel", tmp_path)) == _contents(wheel)


def test_the_sdist_has_the_folders_themselves(sdist: Path) -> None:
    assert all((sdist / name / "__init__.py").is_file() for name in FOLDERS)
    assert [path for path in sdist.rglob("*") if path.is_symlink()] == []


def test_the_wheel_has_one_name_and_every_module(wheel: Path) -> None:
    names = set(_contents(wheel))
    assert {name.partition("/")[0] for name in names if ".dist-info/" not in name} == {PACKAGE}
    shipped = {f"{PACKAGE}/{path}" for folder in FOLDERS for path in _modules(folder)}
    shipped |= {f"{PACKAGE}/{path}" for path in ("__init__.py", "__main__.py", "py.typed")}
    shipped |= {path.removeprefix("src/") for path in _modules(f"src/{PACKAGE}/client")}
    assert {name for name in names if name.endswith((".py", "py.typed"))} == shipped


def _modules(folder: str) -> list[str]:
    return [str(path.relative_to(ROOT)) for path in (ROOT / folder).rglob("*.py")]


def test_no_other_distribution_has_a_package_of_that_name() -> None:
    others = [
        one.metadata["Name"]
        for one in distributions()
        if one.metadata["Name"] != PACKAGE
        and any(path.parts[0] in (PACKAGE, "tests") for path in one.files or ())
    ]
    assert others == []


@pytest.mark.parametrize("in_the_way", ["beside it", "where it is run"])
def test_packages_named_like_its_folders_are_not_in_its_way(
    site: Path, tmp_path: Path, in_the_way: str
) -> None:
    if in_the_way == "where it is run":
        for name in FOLDERS:
            shutil.copytree(site / name, tmp_path / name)
    code = "import transship.api.app, transship.client; print(transship.api.app.__file__)"
    ran = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(1, {str(site)!r}); {code}"],
        cwd=tmp_path,
        check=True,
        capture_output=True,
        text=True,
    )
    assert Path(ran.stdout.strip()).is_relative_to(site)


def test_every_directory_of_modules_is_a_package() -> None:
    """A directory without one is found by accident, or not at all."""
    packages = (*FOLDERS, f"src/{PACKAGE}/client", "tests")
    directories = {path.parent for package in packages for path in (ROOT / package).rglob("*.py")}
    assert [d for d in sorted(directories) if not (d / "__init__.py").is_file()] == []


def test_the_links_for_tools_lead_to_the_folders() -> None:
    links = ROOT / "src" / PACKAGE
    assert {
        one.name: (links / one.readlink()).resolve() for one in links.iterdir() if one.is_symlink()
    } == {name: ROOT / name for name in FOLDERS}


def test_the_licence_is_shipped(project: dict[str, Any]) -> None:
    assert all((ROOT / name).is_file() for name in project["project"]["license-files"])


def test_the_version_is_said_by_the_program_and_the_package(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["transship", "--version"])
    cli.main()
    assert capsys.readouterr().out == f"transship, version {version('transship')}\n"
