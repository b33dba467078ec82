"""Habits that a reader may rely on in every module."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import tests

ROOT = Path(tests.__path__[0]).parent
SHIPPED = ("api", "store", "workers", "src/transship/client")
# Names that a reader would have to ask about, and what took their places.
RETIRED = {
    r"_?MOST(_[A-Z]+)*": "MAX_",
    "ring|rung|rung_until": "dispatch, dispatched, dispatched_until",
    "RING_SECONDS": "RESEND_SECONDS",
    "bury|buried|bury_predecessors": "reap",
    "strike|struck|Strike": "exclude, excluded",
    "Keeper|keeper": "LeaseRenewer; LocalAccess",
    "rationing": "job_admission",
    "wiring": "bootstrap",
    "World|world|make_world": "WorkerContext, context",
    "Asked|AskedForPlatforms": "JobSpec, RequestContext",
    "JobQueue": "JobService",
    "Upkeep|upkeep": "MaintenancePolicy; maintenance",
    "Held|Claim": "LeaseMonitor; TransferLease",
    "deaths|MAX_DEATHS|RepeatedDeathError": "crashes",
    "spared|blobs_spared": "skipped",
    "making|entitlement|receiving|rehearsal|in_store": "the rooms of `workers`",
    "handover|News|Watch": "pipes, Notifications, Liveness",
    "Look|Telling": "JobSnapshot, DockerStream",
    "Shelf|Shelves|shelf": "ImageView, view",
    "Stop|Wish|Plans": "Endpoint, SearchFilter, UploadCapabilities",
    "see_present": "ensure_present",
    "FRUGAL|ADMINS_KINDS|DRAFTING": "class variables of specs",
    "Shop|Yard|Bells|Stage": "FakeRegistry, Environment, FakeBroker, Harness",
}
VAGUE = {"utils", "util", "helpers", "helper", "common", "manager", "base", "misc"}


def _modules(*packages: str) -> list[Path]:
    """Every module below, by its path from the root."""
    found = [path for package in packages for path in (ROOT / package).rglob("*.py")]
    return sorted(path.relative_to(ROOT) for path in found)


def _tree(module: Path) -> ast.Module:
    return ast.parse((ROOT / module).read_text())


def _imported(module: Path) -> Iterator[str]:
    for node in ast.walk(_tree(module)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@cache
def _identifiers(module: Path) -> frozenset[str]:
    """Every name that a module gives or uses, and its own."""
    names = set(module.with_suffix("").parts)
    for node in ast.walk(_tree(module)):
        match node:
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.arg(arg=name):
                names.add(name)
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name) | ast.alias(name=name):
                names.add(name.rpartition(".")[2])
            case ast.keyword(arg=str(name)):
                names.add(name)
    return frozenset(names)


@pytest.mark.parametrize("package", [*SHIPPED, "tests/support", "tests/contract"])
def test_each_module_says_what_it_is_for(package: str) -> None:
    assert [m for m in _modules(package) if not ast.get_docstring(_tree(m))] == []


@pytest.mark.parametrize("package", [*SHIPPED, "tests"])
def test_no_module_has_a_name_that_says_nothing(package: str) -> None:
    assert [m for m in _modules(package) if {Path(p).stem for p in m.parts} & VAGUE] == []


def test_no_test_patches_what_it_tests() -> None:
    """A test that replaces inner parts holds them in place; ports are there for that."""
    patching = {
        str(module)
        for module in _modules("tests")
        for name in _imported(module)
        if name.startswith("unittest")
    }
    assert patching == set()


@pytest.mark.parametrize("name", RETIRED)
def test_retired_names_stay_retired(name: str) -> None:
    word = re.compile(name)
    found = [
        f"{module}: {identifier}"
        for module in _modules(*SHIPPED, "tests")
        for identifier in sorted(_identifiers(module))
        if word.fullmatch(identifier)
    ]
    assert found == [], f"call it {RETIRED[name]}"


@pytest.mark.parametrize("package", SHIPPED)
def test_what_is_shipped_does_not_know_its_tests(package: str) -> None:
    knowing = {
        str(module)
        for module in _modules(package)
        for name in _imported(module)
        if name.partition(".")[0] in {"tests", "pytest"}
    }
    assert knowing == set()
