"""Who was refused, and who changed what, is written down."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.processes import wait_until
from tests.unit.api.serving import PREFIX, Api
from transship.api.access.local import LocalAccess
from transship.store.catalog.access import audit
from transship.store.catalog.access.audit import REFUSALS_KEPT, AuditEntry
from transship.store.catalog.db.engine import Catalog
from transship.store.settings import Settings


def entries(api: Api, count: int) -> list[dict[str, Any]]:
    """The newest entries, when there are *count* of them."""

    def there() -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = api.get("/audit").json()["items"]
        return items if len(items) >= count else []

    return wait_until(there, 5, f"{count} entries")


def test_what_grants_access_is_written_down_with_the_change(own: Api) -> None:
    made = own.post("/tokens", json={"name": "ci", "scopes": ["submit"]})
    assert made.status_code == 201
    headers = {"Authorization": f"Bearer {made.json()['token']}"}
    admin = own.token("admin", name="root")
    secret = {"name": "hub", "registry": "docker.io", "username": "ann", "password": "pass-word"}
    asked = {"Authorization": f"Bearer {admin}"}
    answer = own.anybody.post(f"{PREFIX}/credentials", json=secret, headers=asked)
    assert answer.status_code == 201
    assert own.http.delete(f"{PREFIX}/credentials/hub").status_code == 204
    assert own.http.delete(f"{PREFIX}/tokens/ci").status_code == 204
    found = [
        (one["operation"], one["subject"], one["caller"].partition(":")[0], one["peer"])
        for one in reversed(entries(own, 5))
    ]
    assert found == [
        ("createToken", "ci: submit", "local", ""),
        ("createToken", "root: admin", "local", ""),
        ("addCredential", "hub: docker.io", "token", "127.0.0.1"),
        ("deleteCredential", "hub", "local", ""),
        ("deleteToken", "ci", "local", ""),
    ]
    kept = own.get("/audit").text
    assert "pass-word" not in kept
    assert headers["Authorization"].partition(" ")[2] not in kept


def test_refusals_are_written_down(own: Api) -> None:
    reader = {"Authorization": f"Bearer {own.token('read', name='reader')}"}
    assert own.anybody.get(f"{PREFIX}/jobs").status_code == 401
    assert own.anybody.delete(f"{PREFIX}/limits", headers=reader).status_code == 403
    newest, before, made = entries(own, 3)
    assert (newest["operation"], newest["status"]) == ("resetLimits", 403)
    assert newest["caller"].startswith("token:")
    assert (before["operation"], before["subject"], before["status"]) == (
        "GET",
        f"{PREFIX}/jobs",
        401,
    )
    assert (before["caller"], before["peer"]) == ("", "127.0.0.1")
    assert made["operation"] == "createToken"


def test_limits_and_deletions_are_written_down(own: Api) -> None:
    assert own.http.patch(f"{PREFIX}/limits", json={"max_concurrent_downloads": 2}).is_success
    assert own.http.delete(f"{PREFIX}/images/none").status_code == 404  # nothing has changed
    [only] = entries(own, 1)
    assert (only["operation"], only["status"], only["caller"]) == ("changeLimits", 200, "local")


def test_what_is_read_is_not_written_down(own: Api) -> None:
    own.submit()
    own.get("/jobs")
    own.post("/tokens", json={"scopes": ["read"]})
    [only] = entries(own, 1)
    assert only["operation"] == "createToken"


def test_the_owner_of_a_home_is_written_down_too(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home")
    with LocalAccess(settings) as renewer:
        renewer.create_token("ci", ["read"], None)
        renewer.remove_token("ci")
    catalog = Catalog(settings.catalog_url)
    with catalog.read() as connection:
        found = [(one.operation, one.caller) for one in audit.newest(connection, 10)]
    catalog.close()
    assert found == [("deleteToken", "local"), ("createToken", "local")]


def test_pages_follow_each_other(own: Api) -> None:
    for number in range(5):
        own.post("/tokens", json={"name": f"t{number}", "scopes": ["read"]})
    first = own.get("/audit", params={"limit": 2}).json()
    rest = own.get("/audit", params={"before": first["next"]}).json()
    names = [one["subject"] for one in (*first["items"], *rest["items"])]
    assert names == [f"t{number}: read" for number in (4, 3, 2, 1, 0)]
    assert rest["next"] is None


def some(count: int, *, status: int, first: int = 0) -> list[AuditEntry]:
    return [
        AuditEntry(
            time=1.0,
            caller="local",
            peer="",
            operation="deleteImage",
            subject=str(first + number),
            status=status,
        )
        for number in range(count)
    ]


def test_refusals_push_out_refusals_and_no_change(own: Api) -> None:
    with own.catalog.write() as connection:
        audit.record(connection, some(5, status=200))
        for first in range(0, 3 * REFUSALS_KEPT, 1000):
            audit.record(connection, some(1000, status=401, first=first))
        found = audit.newest(connection, 10 * REFUSALS_KEPT)
    refused = [one.subject for one in found if one.status == 401]
    assert len(refused) == REFUSALS_KEPT
    assert refused[0] == str(3 * REFUSALS_KEPT - 1)
    assert [one.subject for one in found if one.status == 200] == ["4", "3", "2", "1", "0"]


def test_the_log_does_not_grow_for_ever(own: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "MAX_KEPT", 50)
    with own.catalog.write() as connection:
        for first in range(0, 100, 10):
            audit.record(connection, some(10, status=200, first=first))
        found = audit.newest(connection, 1000)
    assert [one.subject for one in found] == [str(number) for number in range(99, 49, -1)]
