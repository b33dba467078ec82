"""The page as a browser asks for it: who gets in, what is shown to whom, what a form does."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any

import httpx
import pytest
from sqlalchemy import update

from tests.support.processes import wait_until
from tests.unit.api.serving import Api
from transship.api.page import sessions
from transship.api.page.sessions import Seals, Session, make_link
from transship.store.catalog.content import collection
from transship.store.catalog.db.schema import jobs
from transship.store.home import OWNER_FILE, run_dir

HOSTILE = "<script>alert(1)</script>"
VIEWS = ("/", "/jobs", "/jobs?state=failed", "/login")


class Browser:
    """Keeps cookies, and sends forms as a browser does."""

    def __init__(self, api: Api, token: str) -> None:
        self.api = api
        self.http = httpx.Client(
            base_url="http://{}:{}".format(*api.address), trust_env=False, timeout=20
        )
        self.answer = self.http.post("/login", data={"token": token, "next": "/"})

    def get(self, path: str, **options: Any) -> httpx.Response:
        """GET, following redirects."""
        return self.http.get(path, follow_redirects=True, **options)

    @property
    def secret(self) -> str:
        """What its forms bring."""
        found = re.search(r'name="secret" value="([^"]+)"', self.get("/").text)
        assert found is not None
        return found[1]

    def send(self, path: str, secret: str | None = None, **fields: str) -> httpx.Response:
        """POST a form; the answer is that of the page it leads to."""
        data = {"secret": self.secret if secret is None else secret, **fields}
        return self.http.post(path, data=data, follow_redirects=True)


@pytest.fixture(scope="module")
def browser(api: Api) -> Iterator[Browser]:
    one = Browser(api, api.token("admin"))
    yield one
    one.http.close()


@pytest.fixture
def alone(own: Api) -> Iterator[Browser]:
    """The same on a server of which nobody else notices anything."""
    one = Browser(own, own.token("admin"))
    yield one
    one.http.close()


def fail(api: Api, job: str, **error: Any) -> None:
    """Let a job have failed just now."""
    told = {
        "code": "manifest-not-found",
        "side": "source",
        "subject": "localhost:1/team/app:1",
        "detail": "image not found",
        "hint": "check the name",
        "retryable": False,
        **error,
    }
    with api.catalog.write() as connection:
        connection.execute(
            update(jobs)
            .where(jobs.c.id == job)
            .values(state="failed", due=False, finished_at=api.context.now(), error=told)
        )


def test_whoever_has_not_logged_in_is_led_to_the_form_and_back(api: Api) -> None:
    answer = api.anybody.get("/jobs?state=failed")
    assert answer.status_code == 303
    assert answer.headers["location"] == "/login?next=%2Fjobs%3Fstate%3Dfailed"
    form = api.anybody.get(answer.headers["location"])
    assert 'value="/jobs?state=failed"' in form.text
    token = api.token("read")
    logged_in = api.anybody.post("/login", data={"token": token, "next": "/jobs?state=failed"})
    assert logged_in.headers["location"] == "/jobs?state=failed"


@pytest.mark.parametrize("place", ["//evil.example", "https://evil.example/", "/\\evil.example"])
def test_a_login_leads_to_no_other_site(api: Api, place: str) -> None:
    answer = api.anybody.post("/login", data={"token": api.token("read"), "next": place})
    assert answer.headers["location"] == "/"


def test_the_cookie_is_for_this_server_alone(browser: Browser) -> None:
    cookie = browser.answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert "ts_" not in cookie
    assert "Secure" not in cookie


def test_behind_tls_the_cookie_goes_over_tls_only(api: Api) -> None:
    answer = api.anybody.post(
        "/login", data={"token": api.token("read")}, headers={"X-Forwarded-Proto": "https"}
    )
    assert "Secure" in answer.headers["set-cookie"]


def test_a_cookie_is_no_token_of_the_api(browser: Browser) -> None:
    assert browser.http.get("/api/v1/jobs").status_code == 401


@pytest.mark.parametrize("token", ["", "nonsense", "ts_" + "a" * 49])
def test_what_is_no_token_is_told_on_the_form(api: Api, token: str) -> None:
    answer = api.anybody.post("/login", data={"token": token})
    assert answer.status_code == 401
    assert '<p class="note"' in answer.text


def test_the_description_of_the_api_takes_a_login_or_a_token(api: Api, browser: Browser) -> None:
    by_login = browser.get("/openapi.json")
    assert by_login.status_code == 200
    assert by_login.json() == api.get("/openapi.json").json()
    token = api.token("read")
    by_token = api.anybody.get("/openapi.json", headers={"Authorization": f"Bearer {token}"})
    assert by_token.json() == by_login.json()
    refused = api.anybody.get("/openapi.json")
    assert (refused.status_code, refused.json()["code"]) == (401, "unauthorized")


def test_the_page_of_the_api_runs_files_of_ours_only(browser: Browser) -> None:
    answer = browser.get("/docs")
    policy = answer.headers["content-security-policy"]
    assert "unsafe" not in policy
    assert "http" not in policy
    for script in re.findall(r"<script[^>]*>[^<]*", answer.text):
        assert re.fullmatch(r'<script nonce="[\w-]+" src="/static/[\w./-]+" defer>', script)
    for address in re.findall(r'(?:src|href)="(/static/[^"]+)"', answer.text):
        assert browser.get(address).status_code == 200, address


def test_a_login_ends_with_its_time(api: Api, browser: Browser) -> None:
    seals = Seals(api.context.sealer)
    login = seals.read(browser.http.cookies["transship_login"])
    assert login is not None
    assert login.until - time.time() == pytest.approx(sessions.SESSION_SECONDS, abs=60)
    over = seals.seal(replace(login, until=time.time() - 1))
    headers = {"Cookie": f"transship_login={over}"}
    assert api.anybody.get("/", headers=headers).headers["location"] == "/login?next=%2F"


def test_a_login_ends_with_its_token(api: Api) -> None:
    with closing(Browser(api, api.token("read", name="short")).http) as http:
        assert http.get("/").status_code == 200
        api.http.delete("/api/v1/tokens/short").raise_for_status()
        wait_until(lambda: http.get("/").status_code != 200, 10, "the end of the login")
        assert http.get("/").headers["location"] == "/login?next=%2F"


@pytest.mark.parametrize("cookie", ["", "x", "gAAAAABx", '"; a="', "é"])
def test_a_forged_cookie_is_no_login(api: Api, cookie: str) -> None:
    headers = {b"Cookie": f"transship_login={cookie}".encode()}
    assert api.anybody.get("/", headers=headers).status_code == 303


def test_a_note_is_no_login(api: Api, browser: Browser) -> None:
    seals = Seals(api.context.sealer)
    assert seals.read(seals.note("hello")) is None
    assert seals.noted(browser.http.cookies["transship_login"]) == ""


def test_a_link_logs_the_owner_in_once(api: Api) -> None:
    (api.home / OWNER_FILE).write_text(f"{api.token('admin')}\n")
    code = make_link(run_dir(api.home))
    answer = api.anybody.get(f"/login?once={code}")
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    again = api.anybody.get(f"/login?once={code}")
    assert again.status_code == 401
    assert "used before" in again.text


def test_a_link_is_over_after_an_hour_and_is_no_path(api: Api) -> None:
    code = make_link(run_dir(api.home))
    (made,) = run_dir(api.home).glob("login-*")
    old = time.time() - sessions.LINK_SECONDS - 1
    os.utime(made, (old, old))
    assert api.anybody.get(f"/login?once={code}").status_code == 401
    assert api.anybody.get("/login?once=../../token").status_code == 401


@pytest.mark.parametrize("host", ["evil.example", "evil.example:5005", "", "[", "transship"])
def test_a_foreign_host_is_refused(api: Api, browser: Browser, host: str) -> None:
    answer = browser.http.get("/", headers={"Host": host})
    assert answer.status_code in (400, 403)
    assert "Traceback" not in answer.text


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]:5005", "LOCALHOST:1", "10.0.0.7"])
def test_addresses_and_own_names_are_served(browser: Browser, host: str) -> None:
    assert browser.http.get("/", headers={"Host": host}).status_code == 200


def test_a_foreign_page_gets_nothing(browser: Browser) -> None:
    for headers in ({"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
        answer = browser.http.post("/logout", data={"secret": browser.secret}, headers=headers)
        assert answer.status_code == 403
        assert "<h1>" in answer.text


@pytest.mark.parametrize("secret", ["", "forged", "é"])
def test_a_form_of_another_login_does_nothing(api: Api, browser: Browser, secret: str) -> None:
    job = api.submit()["id"]
    answer = browser.send(f"/jobs/{job}/cancel", secret)
    assert answer.status_code == 403
    assert "not of your login" in answer.text
    assert api.get(f"/jobs/{job}").json()["state"] == "queued"


def test_forms_do_what_they_say(api: Api, browser: Browser) -> None:
    job = api.submit()["id"]
    assert "Asked it to stop" in browser.send(f"/jobs/{job}/cancel").text
    assert api.get(f"/jobs/{job}").json()["state"] == "cancelled"
    assert "Retried as job" in browser.send(f"/jobs/{job}/retry").text
    browser.send(f"/jobs/{job}/retry")
    (again,) = [one for one in api.get("/jobs").json()["items"] if one["retry_of"] == job]
    assert again["id"] in browser.get(f"/jobs/{job}").text

    browser.send("/registries/registry.example:5000/pause")
    assert api.get("/limits").json()["registries"]["registry.example:5000"]["paused"]
    assert "Resume" in browser.get("/").text
    browser.send("/registries/registry.example:5000/resume")
    field = {"concurrency:registry.example:5000": "4"}
    browser.send("/registries/registry.example:5000/limit", **field)
    kept = api.get("/limits").json()["registries"]["registry.example:5000"]
    assert (kept["paused"], kept["concurrency"]) == (False, 4)
    assert browser.send("/registries/registry.example:5000/unpark").status_code == 200


def test_what_is_changed_from_the_page_is_written_down(alone: Browser) -> None:
    alone.send("/registries/r.example/pause")
    alone.send("/registries/r.example/pause", "forged")
    alone.api.anybody.get("/")  # is led to the login

    def written() -> list[tuple[str, int]]:
        items = alone.api.get("/audit").json()["items"]
        return [
            (one["operation"], one["status"]) for one in items if one["operation"][:4] == "page"
        ]

    wait_until(lambda: len(written()) == 2, 10, "two entries")
    assert sorted(written()) == [("pagePause", 303), ("pagePause", 403)]


def test_mirrors_are_run_enabled_and_disabled(api: Api, browser: Browser) -> None:
    entry = {"source": "localhost:1/team/app", "destination": "localhost:2/copy/app"}
    policy = {"entries": [entry], "interval_seconds": 3600}
    api.http.put("/api/v1/mirrors/team", json=policy).raise_for_status()
    browser.send("/mirrors/team/disable")
    assert api.get("/mirrors/team").json()["enabled"] is False
    assert "Enable" in browser.get("/").text
    browser.send("/mirrors/team/enable")
    assert api.get("/mirrors/team").json()["enabled"] is True
    assert "Run of team started" in browser.send("/mirrors/team/run").text
    again = browser.send("/mirrors/team/run")
    assert again.status_code == 409
    assert "under way" in again.text
    assert "localhost:1/team/app" in browser.get("/mirrors/team").text


def test_what_failed_is_grouped_opened_and_retried(alone: Browser) -> None:
    api, browser = alone.api, alone
    ids = [api.submit(f"localhost:1/team/app:{n}")["id"] for n in range(3)]
    for number, id_ in enumerate(ids):
        fail(api, id_, subject=f"localhost:1/team/app:{number}")
    fail(api, api.submit("localhost:1/other:1")["id"], code="denied", detail="no")
    groups = api.get("/failures").json()["items"]
    assert sorted((group["number"], group["registry"]) for group in groups) == [
        (1, "localhost:1"),
        (3, "localhost:1"),
    ]
    (group,) = [one for one in groups if one["number"] == 3]
    assert f"/failures/{group['id']}" in browser.get("/").text
    opened = browser.get(f"/failures/{group['id']}").text
    assert all(id_ in opened for id_ in ids)
    assert "Retried 3 of 3" in browser.send(f"/failures/{group['id']}/retry").text
    left = api.get("/failures").json()["items"]
    assert [one["code"] for one in left] == ["denied"]
    assert browser.get(f"/failures/{group['id']}").status_code == 404


def test_who_may_only_read_sees_its_own_and_has_no_buttons(own: Api) -> None:
    api = own
    fail(api, api.submit()["id"])
    few = api.token("submit", name="few")
    headers = {"Authorization": f"Bearer {few}"}
    body = {"kind": "pull", "reference": "localhost:1/mine:1"}
    mine = api.anybody.post("/api/v1/jobs", json=body, headers=headers).json()["id"]
    with closing(Browser(api, few).http) as http:
        html = http.get("/").text
        assert "Nothing has failed" in html
        assert 'form="act"' not in html
        assert mine in http.get("/jobs").text
        assert "team/app" not in http.get("/jobs").text
        secret = re.search(r'name="secret" value="([^"]+)"', html)
        assert secret is not None
        refused = http.post(f"/jobs/{mine}/cancel", data={"secret": secret[1]})
        assert refused.status_code == 403
        assert "admin" in refused.text
    with closing(Browser(api, api.token("read:all")).http) as http:
        assert "image not found" in http.get("/").text


def test_everything_is_escaped_and_nothing_is_inline(alone: Browser) -> None:
    api, browser = alone.api, alone
    job = api.submit()["id"]
    fail(api, job, detail=HOSTILE, subject=HOSTILE, hint=HOSTILE)
    with api.catalog.write() as connection:
        connection.execute(update(jobs).where(jobs.c.id == job).values(label=HOSTILE * 200))
    group = api.get("/failures").json()["items"][0]["id"]
    for path in (*VIEWS, f"/jobs/{job}", f"/failures/{group}", f"/jobs?parent={job}", "/nothing"):
        answer = browser.get(path)
        assert "<script>alert" not in answer.text, path
        assert " style=" not in answer.text, path
        assert not re.search(r"<[^>]* on\w+=", answer.text), path
        if answer.headers["content-type"].startswith("text/html"):
            policy = answer.headers["content-security-policy"]
            assert "unsafe" not in policy
            assert "default-src 'none'" in policy
    assert "&lt;script&gt;" in browser.get(f"/jobs/{job}").text


@pytest.mark.parametrize(
    "path",
    [
        "/failures/none",
        "/failures/none?page=1000000000",
        "/failures/none?page=-1",
        "/failures/none?page=x",
        "/jobs?cursor=!!",
        "/jobs?state=odd",
        "/jobs/none",
        "/jobs/" + "9" * 5000,
        "/mirrors/none",
        "/mirrors/..%2fx",
        "/feed?view=none",
        "/feed",
        "/static/none",
        "/static/%2e%2e/render.py",
        "/static/",
    ],
)
def test_what_is_not_there_is_told_in_a_sentence(browser: Browser, path: str) -> None:
    answer = browser.get(path)
    assert 400 <= answer.status_code < 500
    assert "<h1>" in answer.text
    assert "Traceback" not in answer.text


def test_a_job_that_is_not_there_is_no_fault(browser: Browser) -> None:
    for path in ("/jobs/none/retry", "/failures/none/retry", "/mirrors/none/run"):
        assert browser.send(path).status_code == 404
    assert browser.send("/registries/a b/pause").status_code == 422
    for wrong in ("", "-1", "1.5", "\uff19", "9" * 30):
        answer = browser.send("/registries/r.example/limit", **{"concurrency:r.example": wrong})
        assert answer.status_code in (400, 422)
    long = browser.http.post("/login", data={"token": "x" * 20_000})
    assert long.status_code in (400, 413)


def test_a_message_of_the_feed_has_what_changed(alone: Browser) -> None:
    api, browser = alone.api, alone
    with browser.http.stream("GET", "/feed?view=overview") as stream:
        messages = _messages(stream)
        first = next(messages)
        assert 'hx-target="#failures"' in first
        assert 'hx-target="#store"' in first
        fail(api, api.submit()["id"])
        for message in messages:
            if "image not found" in message:
                break
        assert 'hx-target="#store"' not in message


def _messages(stream: httpx.Response) -> Iterator[str]:
    lines: list[str] = []
    for line in stream.iter_lines():
        if line.startswith("data: "):
            lines.append(line[6:])
        elif lines:
            yield "\n".join(lines)
            lines = []


def test_the_feed_ends_with_its_login(own: Api) -> None:
    token = own.token("read", name="watcher")
    with (
        closing(Browser(own, token).http) as http,
        http.stream("GET", "/feed?view=overview", timeout=20) as stream,
    ):
        messages = _messages(stream)
        assert 'hx-target="#now"' in next(messages)
        own.http.delete("/api/v1/tokens/watcher").raise_for_status()
        for _ in messages:  # until the server ends it
            pass
        assert stream.is_closed or stream.is_stream_consumed


def test_a_full_disk_is_told_at_the_next_look(alone: Browser) -> None:
    assert "Short of space" not in alone.get("/").text
    with alone.api.catalog.write() as connection:
        collection.note_space(connection, short=True)
    with alone.http.stream("GET", "/feed?view=overview") as stream:
        begun = time.monotonic()
        for message in _messages(stream):
            if "Short of space" in message:
                break
        assert time.monotonic() - begun < 2


def test_a_session_is_what_was_sealed(api: Api) -> None:
    seals = Seals(api.context.sealer)
    session = Session("id", "name", "secret", time.time() + 100)
    assert seals.read(seals.seal(session)) == session
    assert session.brings("secret")
    assert not session.brings("secret ")
