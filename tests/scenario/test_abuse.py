"""Clients that mean no good, against a running server: everybody else is served as before."""

from __future__ import annotations

import http.client
import json
import re
import socket
import statistics
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field

import httpx
import pytest

from tests.support.redis import RedisProcess
from tests.support.registry_simulator import RegistrySimulator
from tests.support.server import Server
from transship.api.http.shares import QUESTIONS

PREFIX = "/api/v1"
GOOD_CLIENTS = 50
EACH_SECONDS = 1.0  # each of them asks so often
P95_SECONDS = LIVEZ_SECONDS = 0.1
# With nothing beside it, `make long`, it has to keep to the figures themselves.
MAYBE_ALONE = pytest.mark.parametrize(
    "alone", [False, pytest.param(True, marks=pytest.mark.long)], ids=["beside others", "alone"]
)
BESIDE_OTHERS_SECONDS = 1.0  # where other tests run on the same processors: nothing has stopped
HALF = b"GET /api/v1/jobs HTTP/1.1\r\nHost: x\r\n"


@dataclass
class Place:
    """A server, and tokens for it."""

    server: Server
    good: str
    bad: list[str]


@pytest.fixture(autouse=True)
def _prompt_threads() -> Iterator[None]:
    """No client waits 5 ms for each other client's thread."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(0.0005)
    yield
    sys.setswitchinterval(before)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    directory = tmp_path_factory.mktemp("abuse")
    with (
        RedisProcess(directory / "redis") as redis,
        Server(directory, workers=0, redis=redis) as server,
    ):

        def token(name: str) -> str:
            made = server.client.create_token(name=name, scopes=["submit"], expires_in_seconds=None)
            return str(made["token"])

        yield Place(server, token("good"), [token(f"bad{number}") for number in range(11)])


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@dataclass
class Served:
    """How long each answer took, in seconds, by what was asked."""

    took: dict[str, list[float]] = field(default_factory=lambda: {"/livez": [], "/jobs": []})

    def forget(self) -> None:
        """Begin anew."""
        for took in self.took.values():
            took.clear()

    def check(self, *, alone: bool) -> None:
        """95 of 100 were answered in time."""
        for what, took in self.took.items():
            bound = P95_SECONDS if alone else BESIDE_OTHERS_SECONDS
            assert _p95(took) < bound, (what, sorted(took)[-20:])


def _p95(took: list[float]) -> float:
    return statistics.quantiles(took, n=20)[-1]


@contextmanager
def good_clients(place: Place) -> Iterator[Served]:
    """Fifty clients that each ask once a second, on connections of their own, while it runs."""
    served, ended = Served(), threading.Event()

    def ask(number: int) -> None:
        with closing(http.client.HTTPConnection("127.0.0.1", place.server.port, 20)) as client:
            ended.wait(number * EACH_SECONDS / GOOD_CLIENTS)
            while not ended.is_set():
                for what, path in (("/livez", "/livez"), ("/jobs", f"{PREFIX}/jobs?limit=10")):
                    began = time.monotonic()
                    client.request("GET", path, headers=bearer(place.good))
                    answer = client.getresponse()
                    answer.read()
                    served.took[what].append(time.monotonic() - began)
                    assert answer.status == 200
                ended.wait(EACH_SECONDS)

    with ThreadPoolExecutor(GOOD_CLIENTS) as threads:
        asked = [threads.submit(ask, number) for number in range(GOOD_CLIENTS)]
        try:
            time.sleep(2 * EACH_SECONDS)  # their connections are there, and all is warm
            served.forget()
            yield served
        finally:
            ended.set()
        for one in asked:
            one.result()


@MAYBE_ALONE
def test_questions_to_a_silent_registry(place: Place, alone: bool) -> None:
    with RegistrySimulator() as silent, good_clients(place) as served:
        silent.silent_to = re.compile("")

        def ask(number: int) -> tuple[int, str]:
            token = bearer(place.bad[number % len(place.bad)])
            with closing(http.client.HTTPConnection("127.0.0.1", place.server.port, 60)) as client:
                path = f"{PREFIX}/remote/{silent.host}/app:1/inspect"
                client.request("GET", path, headers=token)
                answer = client.getresponse()
                return answer.status, json.loads(answer.read())["code"]

        with ThreadPoolExecutor(44) as threads:
            found = list(threads.map(ask, range(44)))
    served.check(alone=alone)
    assert max(served.took["/livez"]) < (LIVEZ_SECONDS if alone else BESIDE_OTHERS_SECONDS)
    assert found.count((502, "unreachable")) == QUESTIONS.all // 2
    assert found.count((429, "throttled")) == 44 - QUESTIONS.all // 2


@MAYBE_ALONE
def test_half_requests(place: Place, alone: bool) -> None:
    address = ("127.0.0.1", place.server.port)
    with good_clients(place) as served, ExitStack() as stack:
        began = time.monotonic()
        for _ in range(1500):
            connection = socket.create_connection(address, timeout=10)
            stack.callback(connection.close)
            connection.sendall(HALF)
        time.sleep(max(0.0, began + (30 if alone else 10) - time.monotonic()))
    served.check(alone=alone)


def test_specs_as_long_as_they_may_be(place: Place) -> None:
    tags = [f"{number:07}{'x' * 120}" for number in range(100_000)]
    spec = {
        "kind": "mirror",
        "source": "localhost:1/large",
        "destination": "localhost:1/copy",
        "tags": tags,
    }
    with httpx.Client(
        base_url=f"{place.server.url}{PREFIX}",
        headers=bearer(place.bad[0]),
        timeout=60,
        trust_env=False,
    ) as client:
        made = [client.post("/jobs", json=spec) for _ in range(12)]
        assert {answer.status_code for answer in made} == {202}
        listed = client.get("/jobs")
        assert len(listed.json()["items"]) == 12
        assert len(listed.content) < 1_000_000
        assert client.get(f"/jobs/{made[0].json()['id']}").json()["spec"]["tags"] == tags
