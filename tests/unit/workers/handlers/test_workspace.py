"""A workspace that is made by a job: over what is held, or over what is pulled first."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.workers.handlers.local import Local, local
from tests.unit.workers.handlers.test_pull_again import BLOBS, IMAGE, NAME, OTHER, harness
from transship.store.catalog.access.tenants import HOUSE
from transship.store.catalog.content import workspaces
from transship.store.catalog.content.workspaces import Workspace

__all__ = ["harness", "local"]

HELD_ID = str(IMAGE.manifest.config.digest)


def made(local: Local, name: str = "work") -> Workspace | None:
    with local.catalog.read() as connection:
        found = {one.name: one for one in workspaces.listed(connection, HOUSE)}
    return found.get(name)


def submit(local: Local, **more: Any) -> str:
    return local.submit(**{"kind": "workspace", "workspace": "work", "reference": NAME, **more})


def hold(local: Local) -> None:
    """Let the image be in the store, and the registry be asked for nothing yet."""
    local.result(local.submit(kind="pull", reference=NAME))
    local.harness.fake_registry.requests.clear()


def test_what_is_missing_is_pulled(local: Local) -> None:
    result = local.result(submit(local))
    assert result == {
        "workspace": "work",
        "reference": NAME,
        "base": str(IMAGE.digest),
        "pulled": True,
    }
    assert sorted(local.harness.fake_registry.bodies()) == BLOBS
    found = made(local)
    assert found is not None
    assert (found.base, found.reference, found.busy) == (str(IMAGE.digest), NAME, False)
    assert local.harness.stands_for() == str(IMAGE.digest)


def test_what_is_held_is_taken_without_asking(local: Local) -> None:
    hold(local)
    local.harness.fake_registry.put(OTHER)
    result = local.result(submit(local, busy=True))
    assert (result["base"], result["pulled"]) == (str(IMAGE.digest), False)
    assert not local.harness.fake_registry.requests
    found = made(local)
    assert found is not None
    assert found.busy


@pytest.mark.parametrize("id_", [HELD_ID, HELD_ID.removeprefix("sha256:"), HELD_ID[:20]])
def test_an_id_is_taken_where_it_is_held(local: Local, id_: str) -> None:
    hold(local)
    assert local.result(submit(local, reference=id_))["base"] == str(IMAGE.digest)
    assert not local.harness.fake_registry.requests


@pytest.mark.parametrize("id_", [HELD_ID, HELD_ID.removeprefix("sha256:"), HELD_ID[:20]])
def test_an_id_that_is_not_held_is_asked_of_nobody(local: Local, id_: str) -> None:
    assert local.failure(submit(local, reference=id_)) == ("not-found", "store")
    assert not local.harness.fake_registry.requests


def test_always_takes_what_the_registry_has_now(local: Local) -> None:
    hold(local)
    local.harness.fake_registry.put(OTHER)
    result = local.result(submit(local, pull="always"))
    assert (result["base"], result["pulled"]) == (str(OTHER.digest), True)


def test_never_asks_nobody(local: Local) -> None:
    assert local.failure(submit(local, pull="never")) == ("not-found", "store")
    assert not local.harness.fake_registry.requests
    assert made(local) is None


def test_another_platform_is_pulled_where_that_was_asked_for(local: Local) -> None:
    """It is held for amd64 alone: that the registry has no other is what the job says then."""
    hold(local)
    job = submit(local, platform="linux/s390x")
    assert local.failure(job)[0] == "platform-not-held"
    assert local.harness.fake_registry.requests
    assert made(local) is None


def test_a_name_that_is_taken_is_refused_before_anything_is_pulled(local: Local) -> None:
    local.result(submit(local))
    local.harness.fake_registry.requests.clear()
    local.harness.fake_registry.put(OTHER)
    assert local.failure(submit(local, pull="always")) == ("conflict", "store")
    assert not local.harness.fake_registry.requests


def test_a_pull_that_fails_fails_the_job(local: Local) -> None:
    job = submit(local, reference="r.test/app:nothing")
    assert local.failure(job) == ("manifest-not-found", "source")
    assert made(local) is None


@pytest.mark.parametrize("steps", range(1, 8))
def test_a_death_after_any_step_changes_nothing(local: Local, steps: int) -> None:
    harness = local.harness
    job = submit(local)
    for step in range(100):
        if not harness.broker.waiting:
            break
        harness.run(harness.broker.waiting.pop(0))
        if step < steps:
            harness.dies()
    row = local.row(job)
    assert (row.state, row.error) == ("succeeded", None)
    assert sorted(harness.fake_registry.bodies()) == BLOBS
    found = made(local)
    assert found is not None
    assert found.base == str(IMAGE.digest)
