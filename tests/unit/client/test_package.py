"""What a program gets that imports the client: little that it does not need, and its types."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import pytest
from mypy import api

from transship.client import AsyncClient, Client

PROGRAM = Path(__file__).parent / "program.py"
HEAVY = {"sqlalchemy", "alembic", "celery", "kombu", "redis", "fastapi", "starlette", "uvicorn"}


@pytest.mark.parametrize(
    ("module", "loaded"),
    [
        ("transship.client", set()),
        ("transship.client.celery", {"celery", "kombu"}),
        ("transship.workers.specs", set()),
        ("transship.api.models.jobs", set()),
        ("transship.api.views.jobs", {"sqlalchemy"}),
    ],
)
def test_to_import_it_loads_no_more_than_it_needs(module: str, loaded: set[str]) -> None:
    code = f"import sys, {module}; print(*sys.modules)"
    ran = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True
    )
    assert {name.partition(".")[0] for name in ran.stdout.split()} & HEAVY == loaded


def test_both_clients_have_the_same_methods() -> None:
    def methods(client: type) -> dict[str, list[str]]:
        return {
            name: [str(one) for one in inspect.signature(method).parameters.values()]
            for name, method in inspect.getmembers(client, inspect.isfunction)
            if not name.startswith("_") and name not in ("close", "aclose")
        }

    assert methods(Client) == methods(AsyncClient)
    assert {"submit", "wait", "follow", "jobs", "images", "run_mirror"} <= set(methods(Client))
    undocumented = [name for name in methods(Client) if not inspect.getdoc(getattr(Client, name))]
    assert undocumented == []
    assert str(inspect.signature(Client.wait)).endswith("-> 'JobView'")
    assert str(inspect.signature(AsyncClient.jobs)).endswith("-> 'AsyncIterator[JobSummary]'")


@pytest.mark.slow
def test_a_program_is_checked_by_its_types(tmp_path: Path) -> None:
    program = tmp_path / "service.py"
    program.write_text(PROGRAM.read_text())
    options = ["--strict", "--config-file=", "--no-error-summary", f"--cache-dir={tmp_path}"]
    said, failed, status = api.run([*options, str(program)])
    assert (said, failed, status) == ("", "", 0)
