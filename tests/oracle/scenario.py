"""The scenarios by name, and how one is run."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable
from typing import TypeAlias

from tests.oracle import scenarios
from tests.oracle.harness import Harness
from tests.oracle.subject import Json, Subject
from tests.support.registries import RegistryProcess

Scenario: TypeAlias = Callable[[Harness], None]


def all_scenarios() -> dict[str, Scenario]:
    """Every public function of the modules in `scenarios` that takes a harness."""
    found: dict[str, Scenario] = {}
    for module in pkgutil.iter_modules(scenarios.__path__):
        loaded = importlib.import_module(f"{scenarios.__name__}.{module.name}")
        for name, function in inspect.getmembers(loaded, inspect.isfunction):
            if function.__module__ == loaded.__name__ and not name.startswith("_"):
                found[f"{module.name}_{name}"] = function
    return found


def play(name: str, subject: Subject, registry: RegistryProcess) -> Json:
    """Run a scenario on an empty subject, and return what was seen."""
    scenario = all_scenarios()[name]
    harness = Harness(subject, registry, name.replace("_", "-"))
    scenario(harness)
    return {
        "about": (inspect.getdoc(scenario) or "").splitlines()[0],
        "cases": [{"case": case.title, "steps": case.steps} for case in harness.cases],
    }
