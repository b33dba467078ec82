"""What the page costs with 100,000 jobs on record, and who leaves it open."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import sync_playwright
from sqlalchemy import insert, select

from tests.scenario.test_page import OPTIONS
from tests.support.processes import wait_until
from tests.support.up import Environment, up_environment
from transship.store.catalog.db.engine import Catalog
from transship.store.catalog.db.schema import jobs
from transship.store.settings import Settings

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]

JOBS = 100_000
FAILED = 1_000
RUNNING = 20
WINDOW_SECONDS = 20.0
FIRST_PAINT = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Environment]:
    with up_environment(tmp_path_factory.mktemp("watched")) as environment:
        environment.put("app")
        _fill(environment)
        yield environment


@pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium is not installed")
def test_it_is_painted_within_a_second(server: Environment) -> None:
    (line,) = [one for one in server.up.process.log.splitlines() if one.startswith("page ")]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=OPTIONS)
        page = browser.new_page()
        page.goto(line.split()[1])
        for _ in range(3):
            page.goto(server.up.url)
            painted = wait_until(lambda: page.evaluate(FIRST_PAINT), 5, "the first paint")
            print(f"first paint after {painted:.0f} ms")
            assert painted < 1000
        browser.close()


@pytest.mark.parametrize(("watchers", "share"), [(1, 0.02), (20, 0.15)])
def test_watchers_cost_little(server: Environment, watchers: int, share: float) -> None:
    token = server.up.http.headers["authorization"].split()[1]
    login = httpx.post(f"{server.up.url}/login", data={"token": token}, trust_env=False)
    cookie = login.headers["set-cookie"].split(";")[0]
    idle = _cpu_share(server)
    with ExitStack() as open_:
        for _ in range(watchers):
            client = open_.enter_context(httpx.Client(trust_env=False, timeout=30))
            stream = open_.enter_context(
                client.stream(
                    "GET", f"{server.up.url}/feed?view=overview", headers={"Cookie": cookie}
                )
            )
            assert stream.status_code == 200
            threading.Thread(target=_drain, args=(stream,), daemon=True).start()
        watched = _cpu_share(server)
    print(f"{watchers}: {watched - idle:.2%} of a core, idle {idle:.2%}")
    assert watched - idle < share


def _drain(stream: httpx.Response) -> None:
    try:
        for _ in stream.iter_raw():
            pass
    except (httpx.StreamError, httpx.TransportError):
        return


def _cpu_share(server: Environment) -> float:
    """Of a core, over a window in which nothing is asked but what watchers ask."""

    def used() -> float:
        fields = Path(f"/proc/{server.up.process.pid}/stat").read_text().rpartition(") ")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    before, begun = used(), time.monotonic()
    time.sleep(WINDOW_SECONDS)  # the window is what is measured
    return (used() - before) / (time.monotonic() - begun)


def _fill(server: Environment) -> None:
    """Jobs like one that has succeeded; some failed, for seven causes; some run, in no hand."""
    model = server.submit(kind="pull", reference=f"{server.source.host}/team/app:1")
    wait_until(lambda: server.up.client.job(model)["state"] == "succeeded", 30, "its end")
    catalog = Catalog(Settings(home=server.up.home).catalog_url)
    now = time.time()
    with catalog.write() as connection:
        row = dict(connection.execute(select(jobs).where(jobs.c.id == model)).one()._mapping)
        first = row.pop("seq") + 1
        row |= {"idempotency_key": None, "checkpoint": None}
        for page in range(0, JOBS, 1000):
            rows = []
            for n in range(page, page + 1000):
                one = {**row, "id": f"03{n:034}", "root": f"03{n:034}", "seq": first + n}
                if n % (JOBS // FAILED) == 0:
                    error = {
                        "code": "denied",
                        "side": "source",
                        "subject": f"r.example/{n}",
                        "detail": f"denied for reason {n % 7}",
                        "hint": "",
                        "retryable": False,
                    }
                    one |= {"state": "failed", "finished_at": now - n % 80_000, "error": error}
                elif n >= JOBS - RUNNING:
                    one |= {"state": "running", "finished_at": None, "queue": "none"}
                rows.append(one)
            connection.execute(insert(jobs), rows)
    catalog.close()
