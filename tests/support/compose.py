"""deploy/compose.yaml as docker compose reads it, its services as processes of this machine."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

import tests

DEPLOY = Path(tests.__path__[0]).parent / "deploy"
_VARIABLE = re.compile(r"\$\{(?P<name>\w+)(?P<kind>:-|:\?)(?P<rest>[^}]*)\}")
_UNITS = {"s": 1, "m": 60}

# The programs of the image, as this checkout has them.
PROGRAMS = {
    "transship": [sys.executable, "-P", "-m", "transship"],
    "celery": [sys.executable, "-P", "-m", "celery"],
    "python": [sys.executable],
}


@dataclass(frozen=True, slots=True)
class Service:
    """One service, all anchors and variables resolved."""

    name: str
    image: str
    entrypoint: list[str]  # none: the image's
    command: list[str]
    environment: dict[str, str]
    needs: dict[str, str]  # other services, and what is awaited of them
    healthcheck: list[str] = field(default_factory=list)
    grace_seconds: float = 10.0
    volumes: tuple[str, ...] = ()


def services(environ: Mapping[str, str], path: Path = DEPLOY / "compose.yaml") -> list[Service]:
    """Every service, those first that others need.

    Raises:
        KeyError: a variable that has to be set is not in *environ*.
    """
    document = yaml.safe_load(_VARIABLE.sub(lambda m: _value(m, environ), path.read_text()))
    found: dict[str, dict[str, Any]] = document["services"]
    order = TopologicalSorter({name: one.get("depends_on", {}) for name, one in found.items()})
    return [_service(name, found[name]) for name in order.static_order()]


def dockerfile(path: Path = DEPLOY / "Dockerfile") -> list[tuple[str, str]]:
    """The instructions of a Dockerfile with their arguments, a line each."""
    lines = [line for line in path.read_text().splitlines() if not line.lstrip().startswith("#")]
    text = "\n".join(lines).replace("\\\n", " ")
    pairs = [line.partition(" ")[::2] for line in text.splitlines() if line.strip()]
    return [(name.upper(), " ".join(rest.split())) for name, rest in pairs]


def here(command: list[str], places: Mapping[str, str]) -> list[str]:
    """A command of the image as one of this machine, with *places* instead of the image's."""
    program, *arguments = [moved(part, places) for part in command]
    return [*PROGRAMS[program], *arguments]


def moved(text: str, places: Mapping[str, str]) -> str:
    """*text* with each place of the containers replaced by the one that stands for it."""
    for there, at in places.items():
        text = text.replace(there, at)
    return text


def is_healthy(command: list[str], places: Mapping[str, str]) -> bool:
    """Run a health check; a shell form is not understood."""
    assert command[0] == "CMD", command
    done = subprocess.run(
        here(command[1:], places), capture_output=True, timeout=10, check=False, env={}
    )
    return done.returncode == 0


def _value(match: re.Match[str], environ: Mapping[str, str]) -> str:
    given = environ.get(match["name"], "")
    if given:
        return given
    if match["kind"] == ":?":
        raise KeyError(match["name"])
    return match["rest"]


def _service(name: str, made: Mapping[str, Any]) -> Service:
    grace = re.fullmatch(r"(\d+)([sm])", made.get("stop_grace_period", "10s"))
    assert grace is not None
    return Service(
        name=name,
        image=made["image"],
        entrypoint=list(made.get("entrypoint", [])),
        command=list(made.get("command", [])),
        environment={key: str(value) for key, value in made.get("environment", {}).items()},
        needs={other: how["condition"] for other, how in made.get("depends_on", {}).items()},
        healthcheck=list(made.get("healthcheck", {}).get("test", [])),
        grace_seconds=float(grace[1]) * _UNITS[grace[2]],
        volumes=tuple(made.get("volumes", ())),
    )
