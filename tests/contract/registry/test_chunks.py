"""Large blobs go in chunks, and are taken up where they stood; at registries of every kind."""

from __future__ import annotations

import io
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from tests.contract.registry.conftest import nothing
from tests.support.processes import wait_until
from tests.support.proxy import Action, SlowProxy
from tests.support.registry_simulator import LIKE, Quirks, RegistrySimulator
from transship.store.errors import TransshipError, UnauthorizedError
from transship.store.oci.digest import Digest
from transship.workers.registry.client import RegistryClient, Repository
from transship.workers.registry.upload_sessions import Upload

KIB = 1024
CHUNK = 64 * KIB
DATA = random.Random(7).randbytes(5 * CHUNK + 77)


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("transship.workers.registry.upload_sessions.UPLOAD_CHUNK_BYTES", CHUNK)
    monkeypatch.setattr("transship.workers.registry.uploads.CHUNKED_FROM_BYTES", 2 * CHUNK)


@pytest.fixture
def simulator() -> Iterator[RegistrySimulator]:
    with RegistrySimulator() as made:
        yield made


class Died(Exception):  # noqa: N818 -- what a test does to the owner
    """The owner of an upload is gone."""


@dataclass
class Owner:
    """Sends DATA, and remembers the session as a row would."""

    repository: Repository
    data: bytes = DATA
    session: Upload | None = None
    kept: list[int | None] = field(default_factory=list)
    moved: int = 0
    on_keep: Callable[[int], None] = lambda _: None

    def send(self) -> None:
        resumed = None if self.session is None else self.repository.resume_upload(self.session)
        self.repository.upload_blob(
            Digest.of(self.data),
            len(self.data),
            io.BytesIO(self.data),
            upload=resumed,
            on_bytes=self.count,
            check=nothing,
            keep=self.keep,
        )

    def count(self, more: int) -> None:
        self.moved += max(0, more)

    def keep(self, session: Upload | None) -> None:
        self.session = session
        self.kept.append(None if session is None else session.offset)
        if session is not None:
            self.on_keep(session.offset)


def die_at(offset: int) -> Callable[[int], None]:
    def at(reached: int) -> None:
        if reached >= offset:
            raise Died

    return at


def methods(simulator: RegistrySimulator) -> list[str]:
    return [r.method for r in simulator.requests() if r.status != 401]


def test_each_chunk_is_labelled_and_kept_before_the_next(
    client: RegistryClient, simulator: RegistrySimulator
) -> None:
    patched_when_kept: list[int] = []
    owner = Owner(client.repository(f"{simulator.host}/app"))
    owner.on_keep = lambda _: patched_when_kept.append(methods(simulator).count("PATCH"))
    owner.send()
    assert owner.kept == [0, CHUNK, 2 * CHUNK, 3 * CHUNK, 4 * CHUNK, 5 * CHUNK, len(DATA)]
    assert patched_when_kept == [0, 1, 2, 3, 4, 5, 6]
    labels = [r.headers["content-range"] for r in simulator.requests() if r.method == "PATCH"]
    assert labels[0] == f"0-{CHUNK - 1}"
    assert labels[-1] == f"{5 * CHUNK}-{len(DATA) - 1}"
    assert methods(simulator) == ["POST", *["PATCH"] * 6, "PUT"]
    assert owner.moved == len(DATA) == simulator.received_bytes()


@pytest.mark.parametrize("kind", LIKE)
def test_every_registry_there_is_gets_the_blob(client: RegistryClient, kind: str) -> None:
    with RegistrySimulator(LIKE[kind]) as simulator:
        owner = Owner(client.repository(f"{simulator.host}/app"))
        owner.send()
        assert simulator.blobs["app"] == {str(Digest.of(DATA)): DATA}


@pytest.mark.parametrize("kind", LIKE)
def test_every_registry_there_is_gets_the_blob_from_a_second_owner(
    client: RegistryClient, kind: str
) -> None:
    with RegistrySimulator(LIKE[kind]) as simulator:
        owner = Owner(client.repository(f"{simulator.host}/app"), on_keep=die_at(3 * CHUNK))
        try:
            owner.send()
        except Died:
            owner.on_keep = lambda _: None
            owner.send()
        assert simulator.blobs["app"] == {str(Digest.of(DATA)): DATA}


def test_the_second_owner_sends_only_the_rest(
    client: RegistryClient, simulator: RegistrySimulator
) -> None:
    owner = Owner(client.repository(f"{simulator.host}/app"), on_keep=die_at(3 * CHUNK))
    with pytest.raises(Died):
        owner.send()
    simulator.forget_requests()
    owner.on_keep = lambda _: None
    owner.send()
    assert methods(simulator) == ["GET", "PATCH", "PATCH", "PATCH", "PUT"]
    assert simulator.received_bytes() == len(DATA) - 3 * CHUNK
    assert owner.moved == len(DATA)


def test_what_came_of_a_cut_chunk_is_not_sent_again(
    client: RegistryClient, simulator: RegistrySimulator
) -> None:
    part = 10_000
    with SlowProxy(simulator.host) as proxy:
        proxy.on_request = lambda r: (
            Action(cut_request_after=part)
            if r.method == "PATCH" and r.headers["content-range"].startswith(f"{2 * CHUNK}-")
            else None
        )
        owner = Owner(client.repository(f"{proxy.host}/app"))
        with pytest.raises(TransshipError):
            owner.send()
        proxy.on_request = None
        arrived = 2 * CHUNK + part
        wait_until(lambda: simulator.received_bytes() == arrived, 10, "the part to arrive")
        owner.send()
    assert simulator.blobs["app"] == {str(Digest.of(DATA)): DATA}
    assert simulator.received_bytes() == len(DATA)
    [status] = [r for r in simulator.requests() if r.method == "GET"]
    assert status.status == 204
    labels = [r.headers["content-range"] for r in simulator.requests() if r.method == "PATCH"]
    assert labels[3].startswith(f"{2 * CHUNK + part}-")


def test_a_session_that_a_cut_has_cost_begins_anew(client: RegistryClient) -> None:
    with (
        RegistrySimulator(LIKE["distribution-2.8"]) as simulator,
        SlowProxy(simulator.host) as proxy,
    ):
        proxy.on_request = lambda r: (
            Action(cut_request_after=10_000)
            if r.method == "PATCH" and r.headers["content-range"].startswith(f"{2 * CHUNK}-")
            else None
        )
        owner = Owner(client.repository(f"{proxy.host}/app"))
        with pytest.raises(TransshipError):
            owner.send()
        proxy.on_request = None
        wait_until(lambda: not simulator.sessions, 10, "the registry to lose the session")
        simulator.forget_requests()
        owner.send()
        assert methods(simulator)[:3] == ["GET", "POST", "PATCH"]
        assert simulator.blobs["app"] == {str(Digest.of(DATA)): DATA}


@pytest.mark.parametrize("kind", ["specification", "distribution-2.8"])
def test_after_401_in_the_middle_the_registry_is_asked_before_a_chunk_is_sent_again(
    client: RegistryClient, kind: str
) -> None:
    with RegistrySimulator(LIKE[kind], token=True) as simulator:
        owner = Owner(client.repository(f"{simulator.host}/app"))
        owner.on_keep = lambda _: simulator.forget_tokens() if len(owner.kept) == 3 else None
        owner.send()
        assert methods(simulator).count("GET") == 1 + 2  # the status, and two tokens
        patched = [r for r in simulator.requests() if r.method == "PATCH" and r.status != 401]
        assert sum(r.received for r in patched) == len(DATA)


def test_after_401_at_the_end_only_the_empty_put_is_repeated(client: RegistryClient) -> None:
    with RegistrySimulator(token=True) as simulator:
        owner = Owner(client.repository(f"{simulator.host}/app"))
        owner.on_keep = lambda at: simulator.forget_tokens() if at == len(DATA) else None
        owner.send()
        assert simulator.received_bytes() == len(DATA)
        assert [r.status for r in simulator.requests() if r.method == "PUT"] == [401, 201]


def test_401_for_good_in_the_middle_is_said(client: RegistryClient) -> None:
    with RegistrySimulator() as simulator, SlowProxy(simulator.host) as proxy:
        owner = Owner(client.repository(f"{proxy.host}/app"))

        def expire(at: int) -> None:
            if at == 2 * CHUNK:
                proxy.on_request = lambda _: Action(status=401)

        owner.on_keep = expire
        with pytest.raises(UnauthorizedError):
            owner.send()


def test_a_registry_that_stands_elsewhere_is_followed(
    client: RegistryClient, simulator: RegistrySimulator
) -> None:
    """After 416 it says where it stands, and that is where the upload goes on."""
    owner = Owner(client.repository(f"{simulator.host}/app"))

    def fall_back(at: int) -> None:
        if at == 3 * CHUNK and len(owner.kept) == 4:
            [session] = simulator.sessions.values()
            del session.data[2 * CHUNK :]

    owner.on_keep = fall_back
    owner.send()
    assert owner.kept == [
        0, CHUNK, 2 * CHUNK, 3 * CHUNK, 2 * CHUNK, 3 * CHUNK, 4 * CHUNK, 5 * CHUNK, len(DATA),
    ]  # fmt: skip
    assert simulator.blobs["app"] == {str(Digest.of(DATA)): DATA}


def test_a_registry_that_refuses_what_it_asks_for_is_not_asked_for_ever(
    client: RegistryClient, simulator: RegistrySimulator
) -> None:
    with SlowProxy(simulator.host) as proxy:
        owner = Owner(client.repository(f"{proxy.host}/app"))

        def refuse(at: int) -> None:
            if at == 2 * CHUNK:
                proxy.on_request = lambda r: Action(status=416) if r.method == "PATCH" else None

        owner.on_keep = refuse
        owner.send()
        assert owner.session is None
        assert methods(simulator)[-2:] == ["POST", "PUT"]
        assert simulator.blobs["app"] == {str(Digest.of(DATA)): DATA}


def test_what_a_session_that_is_gone_had_is_sent_whole_and_the_next_in_chunks(
    client: RegistryClient, simulator: RegistrySimulator
) -> None:
    owner = Owner(client.repository(f"{simulator.host}/app"))
    owner.on_keep = lambda at: simulator.sessions.clear() if at == 2 * CHUNK else None
    owner.send()
    assert owner.session is None
    assert simulator.blobs["app"] == {str(Digest.of(DATA)): DATA}
    assert methods(simulator)[-2:] == ["POST", "PUT"]
    simulator.forget_requests()
    Owner(client.repository(f"{simulator.host}/app"), data=DATA + b"2").send()
    assert "PATCH" in methods(simulator)


@pytest.mark.parametrize("quirks", [Quirks(takes_chunks=False), Quirks(labelled_at_most=CHUNK - 1)])
def test_where_chunks_are_refused_the_blob_goes_whole_and_so_does_the_next(
    client: RegistryClient, quirks: Quirks
) -> None:
    with RegistrySimulator(quirks) as simulator:
        owner = Owner(client.repository(f"{simulator.host}/app"))
        owner.send()
        assert methods(simulator)[-2:] == ["POST", "PUT"]
        assert owner.session is None
        assert not simulator.sessions
        simulator.forget_requests()
        Owner(client.repository(f"{simulator.host}/app"), data=DATA + b"2").send()
        assert methods(simulator) == ["POST", "PUT"]


def test_chunks_are_as_long_as_the_registry_wants_them(client: RegistryClient) -> None:
    with RegistrySimulator(Quirks(chunk_min_bytes=2 * CHUNK + 1)) as simulator:
        owner = Owner(client.repository(f"{simulator.host}/app"), on_keep=die_at(2 * CHUNK + 1))
        with pytest.raises(Died):
            owner.send()
        owner.on_keep = lambda _: None
        owner.send()  # also those of the second owner, who was not told
        lengths = [r.received for r in simulator.requests() if r.method == "PATCH"]
        assert lengths == [2 * CHUNK + 1, 2 * CHUNK + 1, len(DATA) - 4 * CHUNK - 2]


def test_the_length_that_a_registry_may_want_has_a_bound(
    client: RegistryClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "transship.workers.registry.upload_sessions.MAX_UPLOAD_CHUNK_BYTES", 2 * CHUNK
    )
    with RegistrySimulator(Quirks(chunk_min_bytes=10**15)) as simulator:
        Owner(client.repository(f"{simulator.host}/app")).send()
        lengths = [r.received for r in simulator.requests() if r.method == "PATCH"]
        assert lengths == [2 * CHUNK, 2 * CHUNK, CHUNK + 77]


def test_progress_goes_back_only_by_what_is_sent_again(
    client: RegistryClient, simulator: RegistrySimulator
) -> None:
    at = 0
    lowest: list[int] = []

    def count(more: int) -> None:
        nonlocal at
        at += more
        lowest.append(at)

    owner = Owner(client.repository(f"{simulator.host}/app"))
    owner.count = count  # type: ignore[method-assign]
    owner.send()
    assert min(lowest) > 0
    assert at == len(DATA)
