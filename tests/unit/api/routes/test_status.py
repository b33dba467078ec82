"""/status: what a server says of itself, and to whom."""

from __future__ import annotations

import pytest

from tests.unit.api.routes.test_health import ALL, worker
from tests.unit.api.serving import Api
from transship import __version__


def test_the_owner_sees_every_part(own: Api) -> None:
    own.submit()
    own.submit()
    with worker(own, ALL):
        found = own.get("/status").json()
    assert found["version"] == __version__
    assert found["addresses"][0] == "http://{}:{}".format(*own.address)
    assert found["home"] == str(own.home)
    assert found["database"]["kind"] == "sqlite"
    assert found["database"]["address"] == str(own.home / "catalog.sqlite3")
    assert found["broker"] == {"kind": "none", "reachable": True, "address": None}
    assert [one["threads"] for one in found["workers"]] == [
        {"control": 1, "downloads": 2, "uploads": 3, "local": 4}
    ]
    assert {one["name"]: one["threads"] for one in found["queues"]} == {
        "control": 1, "downloads": 2, "uploads": 3, "local": 4,
    }  # fmt: skip
    assert found["degraded"] == []
    assert found["jobs"] == {"queued": 2}
    assert found["jobs_by_kind"] == {"pull": {"queued": 2}}


def test_others_see_no_places(api: Api) -> None:
    headers = {"Authorization": f"Bearer {api.token('read')}"}
    with worker(api, ALL):
        answer = api.get("/status", headers=headers)
    found = answer.json()
    assert answer.status_code == 200
    assert found["home"] is found["database"]["address"] is found["broker"]["address"] is None
    assert [(one["host"], one["pid"]) for one in found["workers"]] == [(None, None)]
    assert str(api.home) not in answer.text
    assert not any(one.startswith("unix:") for one in found["addresses"])


def test_it_needs_a_token(api: Api) -> None:
    assert api.anybody.get("/api/v1/status").status_code == 401


def test_what_is_degraded_is_named(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api.wire, "reachable", lambda: False)
    found = api.get("/status").json()
    assert found["degraded"] == ["broker", "control", "downloads", "uploads", "local"]
    assert not found["broker"]["reachable"]
