"""/limits: shown, changed, taken back."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import delete

from tests.unit.api.serving import Api
from transship.store.catalog.db.schema import lanes
from transship.store.catalog.scheduling.admission import parking

DEFAULTS = {
    "max_concurrent_downloads": {"value": 3, "source": "default"},
    "max_concurrent_uploads": {"value": 5, "source": "default"},
    "max_download_attempts": {"value": 5, "source": "default"},
    "max_upload_attempts": {"value": 5, "source": "default"},
    "registries": {},
}
HOST = "here.test:5000"
OPEN = {
    "concurrency": None,
    "requests_per_second": None,
    "bytes_per_second": None,
    "paused": False,
    "parked_seconds": 0.0,
    "budget_parked_seconds": 0.0,
}


@pytest.fixture(autouse=True)
def _reset(api: Api) -> None:
    assert api.http.delete("/api/v1/limits").status_code == 200


def patch(api: Api, **change: Any) -> dict[str, Any]:
    answer = api.http.patch("/api/v1/limits", json=change)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_each_limit_comes_with_its_source(api: Api) -> None:
    assert api.get("/limits").json() == DEFAULTS


def test_a_change_is_shown_and_stays(api: Api) -> None:
    assert patch(api, max_concurrent_downloads=7)["max_concurrent_downloads"] == {
        "value": 7,
        "source": "override",
    }
    assert api.get("/limits").json()["max_concurrent_downloads"]["value"] == 7


def test_null_leaves_a_limit_as_it_is(api: Api) -> None:
    patch(api, max_concurrent_uploads=2)
    found = patch(api, max_concurrent_uploads=None, max_upload_attempts=3)
    assert (found["max_concurrent_uploads"]["value"], found["max_upload_attempts"]["value"]) == (
        2,
        3,
    )


def test_a_registry_keeps_what_a_later_change_does_not_name(api: Api) -> None:
    patch(api, registries={HOST: {"concurrency": 2, "bytes_per_second": 4096}})
    found = patch(api, registries={HOST: {"paused": True}})
    assert found["registries"] == {
        HOST: {**OPEN, "concurrency": 2, "bytes_per_second": 4096, "paused": True}
    }


def test_docker_hub_has_one_name(api: Api) -> None:
    found = patch(api, registries={"index.docker.io": {"requests_per_second": 0.5}})
    assert found["registries"] == {"docker.io": {**OPEN, "requests_per_second": 0.5}}


def test_a_reset_takes_everything_back(api: Api) -> None:
    patch(api, max_concurrent_downloads=0, registries={HOST: {"concurrency": 1}})
    assert api.http.delete("/api/v1/limits").json() == DEFAULTS


def test_one_registry_can_be_reset_alone(api: Api) -> None:
    patch(api, max_download_attempts=9, registries={HOST: {"concurrency": 1}})
    found = api.http.delete("/api/v1/limits", params={"registry": HOST}).json()
    assert (found["registries"], found["max_download_attempts"]["value"]) == ({}, 9)


def test_a_parked_registry_is_shown_with_the_time_that_is_left(api: Api) -> None:
    with api.catalog.write() as connection:
        parking.park(connection, HOST, 60, api.context.now())
    found = api.get("/limits").json()["registries"][HOST]
    with api.catalog.write() as connection:
        connection.execute(delete(lanes))
    assert 50 < found["parked_seconds"] <= 60


def test_a_budget_that_is_used_up_is_shown_and_leaves_the_registry_open(api: Api) -> None:
    with api.catalog.write() as connection:
        parking.park_budget(connection, HOST, "somebody's", 60, api.context.now())
    found = api.get("/limits").json()["registries"][HOST]
    assert (found["parked_seconds"], 50 < found["budget_parked_seconds"] <= 60) == (0, True)
    assert api.http.delete(f"/api/v1/limits/registries/{HOST}/parked").status_code == 204
    assert api.get("/limits").json() == DEFAULTS


def test_a_registry_can_be_unparked(api: Api) -> None:
    with api.catalog.write() as connection:
        parking.park(connection, HOST, 600, api.context.now())
    assert api.http.delete(f"/api/v1/limits/registries/{HOST}/parked").status_code == 204
    assert api.get("/limits").json() == DEFAULTS
    assert api.http.delete(f"/api/v1/limits/registries/{HOST}/parked").status_code == 204


def test_what_is_no_registry_cannot_be_unparked(api: Api) -> None:
    assert api.http.delete("/api/v1/limits/registries/not%20a%20host/parked").status_code == 422


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"max_concurrent_downloads": -1}, "max_concurrent_downloads"),
        ({"max_download_attempts": 0}, "max_download_attempts"),
        ({"max_concurrent_downloads": "many"}, "max_concurrent_downloads"),
        ({"nonsense": 1}, "nonsense"),
        ({"registries": {HOST: {"concurrency": -1}}}, f"registries.{HOST}.concurrency"),
        ({"registries": {HOST: {"requests_per_second": 0}}}, "requests_per_second"),
        ({"registries": {"not a host": {}}}, "registries.not a host"),
    ],
    ids=str,
)
def test_a_wrong_change_names_the_field_and_changes_nothing(
    api: Api, change: dict[str, Any], field: str
) -> None:
    answer = api.http.patch("/api/v1/limits", json=change)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"].endswith(field)
    assert api.get("/limits").json() == DEFAULTS
