"""What one caller may have open, and what all may."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from api import registry_calls
from api.auth import LOCAL, Caller
from api.shares import DOWNLOADS, QUESTIONS, SHARES, Shares
from store.errors import ThrottledError
from tests.support.registry_simulator import RegistrySimulator
from tests.unit.api.serving import PREFIX, Api

ALICE, BOB = Caller("token:a", frozenset({"submit"}), "a"), Caller("token:b", frozenset(), "b")


def test_one_has_its_share_and_leaves_others_theirs() -> None:
    shares = Shares()
    with ExitStack() as open_:
        for _ in range(DOWNLOADS.each):
            open_.enter_context(shares.taken("downloadExport", ALICE))
        with pytest.raises(ThrottledError, match="this token"), shares.taken("getFiles", ALICE):
            pass
        with shares.taken("downloadExport", BOB), shares.taken("downloadExport", LOCAL):
            pass
    with shares.taken("downloadExport", ALICE):
        pass


def test_all_together_have_a_bound() -> None:
    shares = Shares()
    with ExitStack() as open_:
        for number in range(DOWNLOADS.all):
            caller = Caller(f"token:{number}", frozenset())
            open_.enter_context(shares.taken("downloadExport", caller))
        with pytest.raises(ThrottledError, match="this server"), shares.taken("getFiles", LOCAL):
            pass


def test_what_is_short_has_no_share() -> None:
    shares = Shares()
    with ExitStack() as open_:
        for _ in range(5000):
            open_.enter_context(shares.taken("listJobs", ALICE))


def test_shares_are_of_operations_that_there_are(api: Api) -> None:
    paths = api.get("/openapi.json").json()["paths"].values()
    there = {one["operationId"] for path in paths for one in path.values()}
    assert set(SHARES) <= there


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


# --- registries -----------------------------------------------------------------------------------


@pytest.fixture
def silent() -> Iterator[RegistrySimulator]:
    with RegistrySimulator() as made:
        made.silent_to = re.compile("")
        yield made


def test_a_silent_registry_costs_nobody_an_answer(
    tmp_path: Path, silent: RegistrySimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry_calls, "ANSWER_SECONDS", 4.0)
    with Api(tmp_path) as api, RegistrySimulator() as well, ThreadPoolExecutor(50) as threads:
        well.add_image("app", "1", [b"layer"])
        tokens = [{"Authorization": f"Bearer {api.token('submit')}"} for _ in range(11)]

        def ask(number: int) -> tuple[int, str]:
            url = f"{PREFIX}/remote/{silent.host}/app:1/inspect"
            answer = api.anybody.get(url, headers=tokens[number % len(tokens)])
            return answer.status_code, answer.json()["code"]

        asked = [threads.submit(ask, number) for number in range(44)]
        slowest = 0.0
        while not all(one.done() for one in asked):
            began = time.monotonic()
            assert api.anybody.get("/livez").status_code == 200
            slowest = max(slowest, time.monotonic() - began)
            time.sleep(0.01)
        found = [one.result() for one in asked]
        assert slowest < 0.1
        assert found.count((502, "unreachable")) == QUESTIONS.all // 2
        assert found.count((429, "throttled")) == 44 - QUESTIONS.all // 2
        answer = api.get(f"/remote/{well.host}/app:1/inspect")
        assert answer.status_code == 200, answer.text
        silent.stop()  # so that the threads that wait for it end
