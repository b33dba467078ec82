"""The operators' page in a real browser: what it shows, how fast, and what its buttons do."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright
from sqlalchemy import insert, select

from tests.support.processes import wait_until
from tests.support.up import Environment, up_environment
from transship.store.catalog.db.engine import Catalog
from transship.store.catalog.db.schema import job_children, jobs
from transship.store.settings import Settings

CHROMIUM = shutil.which("chromium")
OPTIONS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
CHILDREN = 5_000

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Environment]:
    with up_environment(tmp_path_factory.mktemp("page")) as environment:
        environment.put("app")
        yield environment


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        yield launched
        launched.close()


@pytest.fixture(scope="module")
def login(server: Environment, browser: Browser) -> Iterator[BrowserContext]:
    """Somebody who has come by the link that `up` printed."""
    (line,) = [one for one in server.up.process.log.splitlines() if one.startswith("page ")]
    context = browser.new_context()
    page = context.new_page()
    page.goto(line.split()[1])
    assert page.url == f"{server.up.url}/"
    page.close()
    yield context
    context.close()


@contextmanager
def looking(
    context: BrowserContext, address: str, *, width: int = 1280, allowed: str = r"(?!)"
) -> Iterator[Page]:
    """A page on which the console says nothing, but for what *allowed* finds."""
    page = context.new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(address)
    yield page
    page.close()
    assert [one for one in said if not re.search(allowed, one)] == []


def test_a_failure_is_there_within_two_seconds(server: Environment, login: BrowserContext) -> None:
    took = []
    with looking(login, server.up.url) as page:
        page.get_by_text("· live").wait_for()
        for n in range(3):
            job = server.submit(kind="pull", reference=f"{server.source.host}/team/gone{n}:1")
            wait_until(partial(_has_failed, server, job), 20, "the failure")
            begun = time.monotonic()
            page.locator("#failures").get_by_text(f"/team/gone{n}:1").wait_for(timeout=20_000)
            took.append(time.monotonic() - begun)
    # The median: the machine may be busy with other tests at one of them.
    assert sorted(took)[1] < 2, took


def test_a_group_of_failures_is_opened_and_retried(
    server: Environment, login: BrowserContext
) -> None:
    entry = f"{server.source.host}/team/lost"
    lost = [server.submit(kind="pull", reference=f"{entry}:{n}") for n in range(3)]
    for job in lost:
        wait_until(partial(_has_failed, server, job), 20, "the failure")
    with looking(login, server.up.url) as page:
        group = page.locator("#failures li", has_text="not found")
        group.locator("a").click()
        rows = page.locator("tbody tr").count()
        assert rows >= 3
        page.go_back()
        group.get_by_role("button").click()
        page.get_by_text(f"Retried {rows} of {rows}").wait_for()
    with looking(login, f"{server.up.url}/jobs/{lost[0]}") as page:
        page.get_by_text("Retried as").wait_for()


def test_a_mirror_is_run_and_its_run_is_followed(
    server: Environment, login: BrowserContext
) -> None:
    entry = {
        "source": f"{server.source.host}/team/app",
        "destination": f"{server.target.host}/copy/app",
        "tags": ["1"],
    }
    server.up.http.put("/api/v1/mirrors/team", json={"entries": [entry]}).raise_for_status()
    with looking(login, server.up.url) as page:
        row = page.locator("#mirrors tr", has_text="team")
        row.get_by_role("button", name="Run").click()
        page.get_by_text("Run of team started").wait_for()
        row.get_by_text("succeeded", exact=True).wait_for(timeout=20_000)
        row.get_by_text("1 of 1", exact=True).wait_for()
        row.get_by_role("link", name="team").click()
        page.locator("tbody a").first.click()
        page.get_by_text("Run of").wait_for()
        page.get_by_role("link", name="1 succeeded").click()
        page.locator("tbody a").first.click()
        page.get_by_text("Part of").wait_for()


def test_a_parked_registry_is_there_and_is_paused_and_asked_again(
    server: Environment, login: BrowserContext
) -> None:
    gone = "127.0.0.1:1"
    job = server.submit(kind="pull", reference=f"{gone}/team/app:1")
    with looking(login, server.up.url) as page:
        row = page.locator("#registries tr", has_text=gone)
        row.get_by_text("parked").wait_for(timeout=20_000)
        row.get_by_role("button", name="Pause").click()
        row.get_by_text("paused").wait_for()
        row.get_by_role("button", name="Resume").click()
        page.get_by_text(f"Resumed {gone}").wait_for()
    server.up.client.cancel(job)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 400])
def test_every_view_fits_its_window(
    server: Environment, browser: Browser, login: BrowserContext, scheme: str, width: int
) -> None:
    state = login.storage_state()
    job = server.submit(kind="pull", reference=f"{server.source.host}/team/app:1")
    context = browser.new_context(color_scheme=scheme, storage_state=state)  # type: ignore[arg-type]
    for path in ("/", "/jobs", f"/jobs/{job}", "/login"):
        with looking(context, f"{server.up.url}{path}", width=width) as page:
            page.locator("main .part").first.wait_for()
            assert page.evaluate("document.documentElement.scrollWidth") <= width, path
            dark = page.evaluate(
                "parseInt(getComputedStyle(document.body).backgroundColor.slice(4)) < 128"
            )
            assert dark == (scheme == "dark")
    context.close()


def test_the_plot_is_drawn_and_times_are_the_readers_own(
    server: Environment, login: BrowserContext
) -> None:
    with looking(login, server.up.url) as page:
        page.locator("#plot canvas").wait_for()
        page.locator("#now time").first.wait_for(state="attached")
        assert "UTC" not in page.locator("#plot-numbers time").first.inner_text()


def test_it_works_by_keyboard(server: Environment, login: BrowserContext) -> None:
    with looking(login, server.up.url) as page:
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
        seen = []
        for _ in range(6):
            page.keyboard.press("Tab")
            seen.append(page.evaluate("document.activeElement.textContent.trim()"))
        assert {"Overview", "Jobs", "Log out"} <= set(seen)


def test_without_javascript_every_view_can_be_read(
    server: Environment, browser: Browser, login: BrowserContext
) -> None:
    job = server.submit(kind="pull", reference=f"{server.source.host}/team/app:1")
    wait_until(lambda: _state(server, job) == "succeeded", 20, "its end")
    context = browser.new_context(java_script_enabled=False, storage_state=login.storage_state())
    page = context.new_page()
    page.goto(server.up.url)
    for name in ("Failures", "Now", "Mirrors", "Registries", "Workers", "Store"):
        assert page.get_by_role("heading", name=name).first.is_visible()
    assert page.locator("#plot-numbers").is_visible()
    page.goto(f"{server.up.url}/jobs/{job}")
    assert page.get_by_role("heading", name="Log").is_visible()
    page.get_by_role("button", name="Retry").click()
    assert page.get_by_text("Retried as job").is_visible()
    context.close()


def test_a_job_of_very_many_children_is_shown_at_once(
    server: Environment, login: BrowserContext
) -> None:
    parent = _with_children(server)
    with looking(login, f"{server.up.url}/jobs/{parent}") as page:
        page.get_by_role("link", name=f"{CHILDREN:,} succeeded").wait_for()
        answered = "performance.getEntriesByType('navigation')[0]"
        assert page.evaluate(f"{answered}.responseEnd - {answered}.requestStart") < 1000
        page.get_by_role("link", name=f"All {CHILDREN:,}").click()
        assert page.locator("tbody tr").count() == 50
        page.get_by_role("link", name="Older").click()
        assert page.locator("tbody tr").count() == 50


def test_the_api_is_shown_by_its_own_description(
    server: Environment, login: BrowserContext
) -> None:
    with looking(login, server.up.url) as page:
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.get_by_role("link", name="API", exact=True).click()
        page.locator("[id$=-createJob]").first.wait_for()
        described = server.up.http.get("/openapi.json").json()["paths"].values()
        assert page.locator(".opblock").count() == sum(len(methods) for methods in described)
        page.locator("[id$=-listJobs] .opblock-summary-control").click()
        page.locator("[id$=-listJobs] tr[data-param-name=state]").wait_for(timeout=5_000)
        assert [one for one in asked if not one.startswith((server.up.url, "data:"))] == []


def test_the_api_is_shown_to_nobody_who_has_not_logged_in(
    server: Environment, browser: Browser
) -> None:
    context = browser.new_context()
    with looking(context, f"{server.up.url}/docs") as page:
        assert page.url == f"{server.up.url}/login?next=%2Fdocs"
    context.close()


def test_a_server_that_goes_is_told_of(server: Environment, login: BrowserContext) -> None:
    with looking(login, server.up.url, allowed="ERR_|sse:error") as page:
        page.get_by_text("· live").wait_for()
        server.up.process.stop()
        page.get_by_text("the server does not answer").wait_for(timeout=20_000)


def _state(server: Environment, job: str) -> str:
    state: str = server.up.client.job(job)["state"]
    return state


def _has_failed(server: Environment, job: str) -> bool:
    return _state(server, job) == "failed"


def _with_children(server: Environment) -> str:
    """A copy of an ended job with very many children, as the catalog keeps them."""
    model = server.submit(kind="pull", reference=f"{server.source.host}/team/app:1")
    wait_until(lambda: _state(server, model) == "succeeded", 20, "its end")
    parent = "01" + "0" * 34
    catalog = Catalog(Settings(home=Path(server.up.home)).catalog_url)
    with catalog.write() as connection:
        row = dict(connection.execute(select(jobs).where(jobs.c.id == model)).one()._mapping)
        seq = row.pop("seq")
        row |= {"idempotency_key": None, "checkpoint": None}
        connection.execute(
            insert(jobs).values({**row, "id": parent, "kind": "mirror", "root": parent})
        )
        connection.execute(
            insert(jobs),
            [
                {
                    **row,
                    "id": f"02{n:034}",
                    "parent": parent,
                    "root": parent,
                    "child_key": str(n),
                    "seq": seq + 10 + n,
                }
                for n in range(CHILDREN)
            ],
        )
        figures = dict.fromkeys(job_children.c.keys(), 0)
        values = {**figures, "job": parent, "succeeded": CHILDREN, "expected": CHILDREN}
        connection.execute(insert(job_children).values(values))
    catalog.close()
    return parent
