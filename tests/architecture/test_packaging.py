"""What is shipped, and that its names are nobody else's."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any

import pytest

import tests

ROOT = Path(tests.__path__[0]).parent
SHIPPED = ("api", "store", "workers")


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def _top_levels(distribution: Distribution) -> Iterator[str]:
    """The names that *distribution* lets others import."""
    for path in distribution.files or ():
        first = path.parts[0]
        if len(path.parts) > 1 and path.name.endswith(".py"):
            yield first
        elif first.endswith(".py"):
            yield first.removesuffix(".py")


def test_the_wheel_holds_the_three_packages_and_nothing_else(project: dict[str, Any]) -> None:
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert wheel == {"packages": list(SHIPPED)}


@pytest.mark.parametrize("package", [*SHIPPED, "tests"])
def test_no_other_distribution_has_a_package_of_that_name(package: str) -> None:
    others = [d for d in distributions() if d.metadata["Name"] != "transship"]
    assert [d.metadata["Name"] for d in others if package in set(_top_levels(d))] == []


def test_every_package_of_the_wheel_is_there() -> None:
    assert all((ROOT / package / "__init__.py").is_file() for package in SHIPPED)


def test_every_directory_of_modules_is_a_package() -> None:
    """A directory without one is found by accident, or not at all."""
    directories = {
        path.parent for package in (*SHIPPED, "tests") for path in (ROOT / package).rglob("*.py")
    }
    assert [d for d in sorted(directories) if not (d / "__init__.py").is_file()] == []


def test_the_licence_is_shipped(project: dict[str, Any]) -> None:
    assert all((ROOT / name).is_file() for name in project["project"]["license-files"])
