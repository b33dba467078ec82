"""Where the API listens, and where it does not."""

from __future__ import annotations

import socket
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.catalog.prepared import prepared_sqlite
from tests.support.processes import wait_until
from tests.unit.api.serving import Api
from transship.api.processes.server import bind_tcp, bind_unix
from transship.store.catalog.db.engine import Catalog
from transship.store.errors import AddressInUseError, HomeUnusableError, StoreError


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    made = Catalog(prepared_sqlite(tmp_path))
    yield made
    made.close()


def test_port_0_takes_a_free_one() -> None:
    with bind_tcp("127.0.0.1", 0) as listener:
        assert listener.getsockname()[1] > 0


def test_answers_on_a_kept_connection_wait_for_no_acknowledgement(tmp_path: Path) -> None:
    def seconds(api: Api) -> float:
        began = time.monotonic()
        api.http.get("/livez").raise_for_status()
        return time.monotonic() - began

    with Api(tmp_path) as api:
        seconds(api)  # the first answer of a connection never waits
        assert min(seconds(api) for _ in range(20)) < 0.03  # 40 ms with Nagle's algorithm


def test_a_taken_port_is_named_with_the_option_that_chose_it() -> None:
    with bind_tcp("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(AddressInUseError) as refused:
            bind_tcp("127.0.0.1", port, option="--flower")
    assert refused.value.subject == f"127.0.0.1:{port}"
    assert "--flower" in refused.value.hint


def test_a_name_that_does_not_resolve_here_is_said_plainly(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def unresolved(*_: object) -> None:
        raise OSError(99, "Cannot assign requested address")

    monkeypatch.setattr(
        "transship.api.processes.server.socket.socket.bind", unresolved, raising=True
    )
    with pytest.raises(StoreError, match="cannot listen there: Cannot assign"):
        bind_tcp("127.0.0.1", 1)


def test_a_socket_is_for_its_owner_only(tmp_path: Path) -> None:
    with bind_unix(tmp_path / "s"):
        assert stat.S_IMODE((tmp_path / "s").stat().st_mode) == 0o600


def test_a_socket_that_was_left_behind_is_replaced(tmp_path: Path) -> None:
    bind_unix(tmp_path / "s").close()
    with bind_unix(tmp_path / "s"), socket.socket(socket.AF_UNIX) as client:
        client.connect(str(tmp_path / "s"))
        assert client.getpeername() == str(tmp_path / "s")


def test_a_path_too_long_for_a_socket_is_said(tmp_path: Path) -> None:
    with pytest.raises(HomeUnusableError, match="too long"):
        bind_unix(tmp_path / ("long" * 30))


def test_requests_that_wait_do_not_hold_up_the_end(tmp_path: Path) -> None:
    with Api(tmp_path) as api:
        job = api.submit()["id"]
        polling, polled = api.in_background(lambda: api.get(f"/jobs/{job}?wait=60").json())
        following, followed = api.in_background(lambda: api.get(f"/jobs/{job}/events").text)
        wait_until(lambda: len(api.notifications._waiting[job]) == 2, 10, "both to wait")
        api.server.stop()
        polling.join()
        following.join()
    assert polled[0]["state"] == "queued"
    assert followed[0].startswith("id: ")
