"""What one caller may have open, and what all may."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack

import pytest
from fastapi.routing import APIRoute

from tests.unit.api.serving import PREFIX, Api
from transship.api.http.auth import LOCAL, Caller
from transship.api.http.shares import BODIES, DOWNLOADS, SHARES, Shares
from transship.api.page import site
from transship.store.errors import ThrottledError

ALICE, BOB = Caller("token:a", frozenset({"submit"}), "a"), Caller("token:b", frozenset(), "b")


def test_one_has_its_share_and_leaves_others_theirs() -> None:
    async def run() -> None:
        shares = Shares()
        async with AsyncExitStack() as open_:
            for _ in range(DOWNLOADS.each):
                await open_.enter_async_context(shares.taken("downloadExport", ALICE))
            with pytest.raises(ThrottledError, match="this token"):
                await open_.enter_async_context(shares.taken("getFiles", ALICE))
            for caller in (BOB, LOCAL):
                await open_.enter_async_context(shares.taken("downloadExport", caller))
        async with shares.taken("downloadExport", ALICE):
            pass

    asyncio.run(run())


def test_all_together_have_a_bound() -> None:
    async def run() -> None:
        shares = Shares()
        async with AsyncExitStack() as open_:
            for number in range(DOWNLOADS.all):
                caller = Caller(f"token:{number}", frozenset())
                await open_.enter_async_context(shares.taken("downloadExport", caller))
            with pytest.raises(ThrottledError, match="this server"):
                await open_.enter_async_context(shares.taken("getFiles", LOCAL))

    asyncio.run(run())


def test_what_is_short_has_no_share() -> None:
    async def run() -> None:
        shares = Shares()
        async with AsyncExitStack() as open_:
            for _ in range(5000):
                await open_.enter_async_context(shares.taken("listJobs", ALICE))

    asyncio.run(run())


def test_of_uploads_one_has_some_at_a_time_and_the_others_wait() -> None:
    async def run() -> None:
        shares = Shares()
        going_on: list[str] = []
        go = asyncio.Event()

        async def upload(caller: Caller) -> None:
            async with shares.taken("createLoad", caller):
                going_on.append(caller.name)
                await go.wait()

        tasks = [asyncio.create_task(upload(ALICE)) for _ in range(10)]
        tasks += [asyncio.create_task(upload(BOB)), asyncio.create_task(upload(LOCAL))]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert BODIES.together is not None
        assert going_on == [ALICE.name] * BODIES.together + [BOB.name, LOCAL.name]
        go.set()
        await asyncio.gather(*tasks)
        assert going_on.count(ALICE.name) == 10

    asyncio.run(run())


def test_shares_are_of_operations_that_there_are(api: Api) -> None:
    paths = api.get("/openapi.json").json()["paths"].values()
    there = {one["operationId"] for path in paths for one in path.values()}
    routes = [route for router in site.ROUTERS for route in router.routes]
    pages = {route.operation_id for route in routes if isinstance(route, APIRoute)}
    assert set(SHARES) <= there | pages


def test_more_waits_than_a_share_are_throttled(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SHARES, "getJob", DOWNLOADS)
    job = api.submit()["id"]
    token = {"Authorization": f"Bearer {api.token('read', 'read:all')}"}

    def wait(_: int) -> int:
        url = f"{PREFIX}/jobs/{job}?wait=2"
        return api.anybody.get(url, headers=token).status_code

    with ThreadPoolExecutor(2 * DOWNLOADS.each) as threads:
        found = sorted(threads.map(wait, range(2 * DOWNLOADS.each)))
    assert found == [200] * DOWNLOADS.each + [429] * DOWNLOADS.each
    answer = api.anybody.get(f"{PREFIX}/jobs/{job}", headers=token)
    assert answer.status_code == 200
