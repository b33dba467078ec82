"""Who is let in, and to what."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.unit.api.serving import PREFIX, Api
from transship.api.app import create_app
from transship.api.http.auth import ADMIN, MAX_UNKNOWN, READ, SUBMIT, Caller, Keyring, needed
from transship.api.processes.server import Server, bind_unix
from transship.store.catalog.access import tokens
from transship.store.catalog.db.schema import tokens as token_rows
from transship.store.errors import ScopeError, TokenError

PULL = {"kind": "pull", "reference": "localhost:1/team/app:1"}
NAMES = ("read", "submit", "admin")


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """A server with a token for each scope."""
    with Api(tmp_path_factory.mktemp("guarded")) as served:
        yield served


@pytest.fixture(scope="module")
def held(guarded: Api) -> dict[str, str]:
    """Tokens by the scope that they have, and one more that may submit."""
    return {
        **{scope: guarded.token(scope, name=scope) for scope in NAMES},
        "another": guarded.token("submit", name="another"),
        "urgent": guarded.token("submit", "priority", name="urgent"),
    }


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def ask(api: Api, method: str, path: str, token: str, **more: Any) -> httpx.Response:
    return api.http.request(method, PREFIX + path, headers=bearer(token), **more)


# --- no token -------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/jobs", "/limits", "/openapi.json", "/nothing"])
def test_nothing_is_told_without_a_token(guarded: Api, path: str) -> None:
    answer = guarded.anybody.get(PREFIX + path)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.headers["content-type"] == "application/problem+json"
    assert "TRANSSHIP_TOKEN" in answer.json()["hint"]


def test_a_body_is_not_read_from_whoever_has_no_token(guarded: Api) -> None:
    assert guarded.anybody.post(f"{PREFIX}/jobs", content=b"{nonsense").status_code == 401


@pytest.mark.parametrize("path", ["/livez", "/readyz"])
def test_health_is_told_to_everybody(guarded: Api, path: str) -> None:
    assert guarded.anybody.get(path).status_code in (200, 503)


def test_the_last_token_that_is_removed_locks(tmp_path: Path) -> None:
    with Api(tmp_path) as api:
        token = api.token("admin", name="last")
        assert ask(api, "GET", "/jobs", token).status_code == 200
        assert api.http.delete(f"{PREFIX}/tokens/last").status_code == 204
        until = time.monotonic() + 5
        while ask(api, "GET", "/jobs", token).status_code != 401:
            assert time.monotonic() < until
        assert api.anybody.get(f"{PREFIX}/jobs").status_code == 401


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://page.example.org"},
        {"Origin": "null"},
        {"Origin": "http://["},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_a_page_of_another_site_gets_nothing(
    guarded: Api, held: dict[str, str], headers: dict[str, str]
) -> None:
    for extra in ({}, bearer(held["admin"])):
        for client in (guarded.http, guarded.anybody):
            answer = client.get(f"{PREFIX}/jobs", headers={**headers, **extra})
            assert answer.status_code == 403


@pytest.mark.parametrize("headers", [{"Sec-Fetch-Site": "same-origin"}, {"Sec-Fetch-Site": "none"}])
def test_a_page_of_the_server_itself_is_served(
    guarded: Api, held: dict[str, str], headers: dict[str, str]
) -> None:
    origin = {"Origin": "http://here.example:5005", "Host": "here.example:5005"}
    answer = guarded.anybody.get(
        f"{PREFIX}/jobs", headers={**headers, **origin, **bearer(held["read"])}
    )
    assert answer.status_code == 200


@pytest.mark.parametrize("header", ["Forwarded", "Via", "X-Forwarded-For", "x-forwarded-proto"])
def test_who_comes_by_a_proxy_is_not_the_owner(
    guarded: Api, held: dict[str, str], header: str
) -> None:
    through = {header: "1.1 proxy"}
    assert guarded.get("/jobs", headers=through).status_code == 401
    answer = guarded.get("/jobs", headers={**through, **bearer(held["read"])})
    assert answer.status_code == 200


def test_a_token_counts_over_the_homes_socket_too(guarded: Api, held: dict[str, str]) -> None:
    assert guarded.get("/tokens", headers=bearer(held["read"])).status_code == 403


def test_the_owner_of_the_home_needs_no_token(guarded: Api, tmp_path: Path) -> None:
    path = tmp_path / "s"
    server = Server(create_app(guarded.context), [bind_unix(path)])
    server.start()
    with httpx.Client(
        base_url="http://transship", transport=httpx.HTTPTransport(uds=str(path))
    ) as owner:
        assert owner.get(f"{PREFIX}/tokens").status_code == 200
        job = owner.post(f"{PREFIX}/jobs", json=PULL)
        assert job.json()["requested_by"] == "local"
    server.stop()


# --- a token --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("token", "said"),
    [
        ("-", "truncated or mistyped"),
        ("ts_nonsense", "truncated or mistyped"),
        ("x" * 5000, "truncated or mistyped"),
        (tokens.make(), "not known here"),
    ],
    ids=["short", "mistyped", "long", "foreign"],
)
def test_a_token_that_is_none_is_refused_with_the_reason(
    guarded: Api, token: str, said: str
) -> None:
    answer = guarded.get("/jobs", headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 401
    assert said in answer.json()["detail"]
    assert token == "-" or token not in answer.text


def test_a_wrong_token_is_refused_where_none_would_do(api: Api) -> None:
    assert ask(api, "GET", "/jobs", tokens.make()).status_code == 401


def test_a_mistyped_one_is_told_without_asking_the_catalog(guarded: Api) -> None:
    keyring = Keyring(guarded.catalog)
    with pytest.raises(TokenError, match="mistyped"):
        asyncio.run(keyring.find("ts_nonsense"))
    assert keyring._read_at is None


def test_an_expired_one_is_refused(tmp_path: Path) -> None:
    with Api(tmp_path) as api:
        token = api.token("read", expires=1)
        until = time.monotonic() + 10
        while (answer := ask(api, "GET", "/jobs", token)).status_code == 200:
            assert time.monotonic() < until
        assert (answer.status_code, answer.json()["detail"]) == (401, "this token has expired")


def test_a_new_one_is_good_at_once(guarded: Api) -> None:
    for name in ("one", "two", "three"):
        token = guarded.token("read", name=name)
        assert ask(guarded, "GET", "/jobs", token).status_code == 200


def test_a_removed_one_is_refused_within_a_second_or_so(guarded: Api) -> None:
    token = guarded.token("read", name="to-be-removed")
    assert ask(guarded, "GET", "/jobs", token).status_code == 200
    with guarded.catalog.write() as connection:
        tokens.remove(connection, "to-be-removed")
    removed = time.monotonic()
    while ask(guarded, "GET", "/jobs", token).status_code != 401:
        assert time.monotonic() < removed + 5


def test_its_use_is_written_down_at_most_once_a_minute(tmp_path: Path) -> None:
    with Api(tmp_path) as api:
        token = api.token("read")
        before = api.catalog.writes
        for _ in range(20):
            assert ask(api, "GET", "/jobs", token).status_code == 200
        assert api.catalog.writes == before + 1
        with api.catalog.read() as connection:
            (used,) = connection.execute(token_rows.select()).all()
        assert abs(used.used_at - time.time()) < 60


def test_jobs_are_requested_by_the_tokens_id(guarded: Api, held: dict[str, str]) -> None:
    job = ask(guarded, "POST", "/jobs", held["submit"], json=PULL).json()
    known = {one["name"]: one["id"] for one in guarded.get("/tokens").json()["items"]}
    assert job["requested_by"] == f"token:{known['submit']}"


def test_an_idempotency_key_belongs_to_one_token(guarded: Api, held: dict[str, str]) -> None:
    ids = {
        guarded.post(
            "/jobs", json=PULL, headers={**bearer(held[name]), "Idempotency-Key": "k"}
        ).json()["id"]
        for name in ("submit", "another", "submit")
    }
    assert len(ids) == 2


# --- scopes ---------------------------------------------------------------------------------------

NEW_TOKEN = {"scopes": ["read"]}
NEW_CREDENTIAL = {"registry": "r.test", "username": "ann", "password": "pass-word"}
TABLE = [
    ("GET", "/jobs", None, READ),
    ("GET", "/jobs/none", None, READ),
    ("GET", "/images", None, READ),
    ("GET", "/limits", None, READ),
    ("GET", "/openapi.json", None, READ),
    ("POST", "/jobs", PULL, SUBMIT),
    ("POST", "/jobs/none/cancel", None, SUBMIT),
    ("POST", "/jobs/none/retry", {}, SUBMIT),
    ("GET", "/remote/x/inspect", None, SUBMIT),
    ("PATCH", "/limits", {}, ADMIN),
    ("DELETE", "/limits", None, ADMIN),
    ("DELETE", "/images/none", None, SUBMIT),
    ("POST", "/images/none/tag", {"reference": "x"}, SUBMIT),
    ("GET", "/jobs/rejected", None, ADMIN),
    ("GET", "/audit", None, ADMIN),
    ("GET", "/tokens", None, ADMIN),
    ("POST", "/tokens", NEW_TOKEN, ADMIN),
    ("DELETE", "/tokens/none", None, ADMIN),
    ("GET", "/credentials", None, ADMIN),
    ("POST", "/credentials", NEW_CREDENTIAL, ADMIN),
    ("DELETE", "/credentials/none", None, ADMIN),
]


@pytest.mark.parametrize(
    ("method", "path", "body", "scope"), TABLE, ids=[f"{row[0]} {row[1]}" for row in TABLE]
)
def test_each_way_in_wants_its_scope_and_not_less(
    guarded: Api, held: dict[str, str], method: str, path: str, body: Any, scope: str
) -> None:
    for name in NAMES:
        answer = ask(guarded, method, path, held[name], json=body)
        if NAMES.index(name) >= NAMES.index(scope):
            assert answer.status_code != 403, answer.text
        else:
            problem = answer.json()
            assert (answer.status_code, problem["code"]) == (403, "forbidden")
            assert problem["subject"] == scope
            assert f"--scope {scope}" in problem["hint"]


@pytest.mark.parametrize("kind", ["prune", "gc", "fsck"])
def test_jobs_on_everybodys_content_are_the_admins(
    guarded: Api, held: dict[str, str], kind: str
) -> None:
    assert ask(guarded, "POST", "/jobs", held["submit"], json={"kind": kind}).status_code == 403
    made = ask(guarded, "POST", "/jobs", held["admin"], json={"kind": kind})
    assert made.status_code == 202, made.text
    job = made.json()["id"]
    ask(guarded, "POST", f"/jobs/{job}/cancel", held["admin"])
    assert ask(guarded, "POST", f"/jobs/{job}/retry", held["submit"]).status_code == 404


def test_a_job_is_there_for_the_token_that_asked_for_it_or_an_admin(
    guarded: Api, held: dict[str, str]
) -> None:
    job = ask(guarded, "POST", "/jobs", held["submit"], json=PULL).json()["id"]
    for method, path in (("GET", ""), ("GET", "/log"), ("POST", "/cancel"), ("POST", "/retry")):
        assert ask(guarded, method, f"/jobs/{job}{path}", held["another"]).status_code == 404
    assert ask(guarded, "GET", f"/jobs/{job}", held["admin"]).json()["spec"]["kind"] == "pull"
    assert ask(guarded, "POST", f"/jobs/{job}/cancel", held["submit"]).status_code == 202
    other = ask(guarded, "POST", "/jobs", held["submit"], json=PULL).json()["id"]
    assert ask(guarded, "POST", f"/jobs/{other}/cancel", held["admin"]).status_code == 202


URGENT = {
    "a job": ("/jobs", {"json": {**PULL, "priority": 1}}),
    "an import": ("/imports?reference=x&priority=1", {"content": b"\0" * 1024}),
    "a load": ("/loads?priority=1", {"content": b"\0" * 1024}),
}


@pytest.mark.parametrize(("path", "body"), URGENT.values(), ids=URGENT)
def test_a_priority_above_0_wants_its_scope(
    guarded: Api, held: dict[str, str], path: str, body: dict[str, Any]
) -> None:
    refused = ask(guarded, "POST", path, held["submit"], **body)
    assert (refused.status_code, refused.json()["subject"]) == (403, "priority")
    assert "--scope priority" in refused.json()["hint"]
    for name in ("urgent", "admin"):
        assert ask(guarded, "POST", path, held[name], **body).status_code != 403
    calm = path.replace("priority=1", "priority=0")
    body = {"json": {**PULL, "priority": -5}} if "json" in body else body
    assert ask(guarded, "POST", calm, held["submit"], **body).status_code != 403


def test_who_tries_an_urgent_job_again_wants_the_scope_too(
    guarded: Api, held: dict[str, str]
) -> None:
    urgent = {**PULL, "priority": 1}
    job = ask(guarded, "POST", "/jobs", held["urgent"], json=urgent).json()["id"]
    ask(guarded, "POST", f"/jobs/{job}/cancel", held["urgent"])
    with guarded.catalog.write() as connection:
        connection.execute(
            token_rows.update().where(token_rows.c.name == "urgent").values(scopes=["submit"])
        )
    until = time.monotonic() + 5
    while (answer := ask(guarded, "POST", f"/jobs/{job}/retry", held["urgent"])).is_success:
        assert time.monotonic() < until
    assert (answer.status_code, answer.json()["subject"]) == (403, "priority")


def test_a_job_that_is_tried_again_is_a_job_of_whoever_asks(
    guarded: Api, held: dict[str, str]
) -> None:
    job = ask(guarded, "POST", "/jobs", held["submit"], json=PULL).json()["id"]
    ask(guarded, "POST", f"/jobs/{job}/cancel", held["submit"])
    again = ask(guarded, "POST", f"/jobs/{job}/retry", held["admin"]).json()
    assert again["retry_of"] == job
    assert (
        again["requested_by"]
        != ask(guarded, "GET", f"/jobs/{job}", held["admin"]).json()["requested_by"]
    )


def test_a_dashboard_sees_the_jobs_of_others_without_what_they_were_asked(
    guarded: Api, held: dict[str, str]
) -> None:
    dashboard = guarded.token("read:all", name="dashboard")
    job = ask(guarded, "POST", "/jobs", held["submit"], json=PULL).json()["id"]
    seen = ask(guarded, "GET", f"/jobs/{job}", dashboard).json()
    assert (seen["state"], seen["spec"]) == ("queued", {})
    listed = ask(guarded, "GET", "/jobs", dashboard).json()["items"]
    assert {one["id"]: "spec" in one for one in listed}[job] is False
    assert ask(guarded, "POST", f"/jobs/{job}/cancel", dashboard).status_code == 403


def test_what_is_not_in_the_table_is_read_by_readers_and_changed_by_admins() -> None:
    assert needed("somethingNew", "GET") == READ
    assert {needed("somethingNew", verb) for verb in ("POST", "PUT", "PATCH", "DELETE")} == {ADMIN}


@pytest.mark.parametrize(
    ("scopes", "may_use"),
    [
        ({"submit"}, frozenset[str]()),
        ({"submit", "use:hub", "use:quay.io/team"}, frozenset({"hub", "quay.io/team"})),
        ({"admin"}, None),
    ],
)
def test_a_caller_uses_the_credentials_that_its_scopes_name(
    scopes: set[str], may_use: frozenset[str] | None
) -> None:
    assert Caller("x", frozenset(scopes)).may_use == may_use


def test_to_use_a_credential_comprises_nothing_else() -> None:
    caller = Caller("x", frozenset({"use:hub"}))
    assert not caller.may(READ)
    with pytest.raises(ScopeError, match="'read'"):
        caller.require(READ)


def test_unknown_tokens_are_throttled_and_known_ones_are_not(tmp_path: Path) -> None:
    with Api(tmp_path) as api:
        known = api.token("read")
        assert ask(api, "GET", "/jobs", known).status_code == 200
        found = [ask(api, "GET", "/jobs", tokens.make()).status_code for _ in range(30)]
        assert found == [401] * MAX_UNKNOWN + [429] * (30 - MAX_UNKNOWN)
        assert ask(api, "GET", "/jobs", known).status_code == 200
        new = api.token("read")
        until = time.monotonic() + 5
        while ask(api, "GET", "/jobs", new).status_code != 200:
            assert time.monotonic() < until
