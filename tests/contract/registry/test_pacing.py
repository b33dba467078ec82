"""Whoever keeps a budget is asked before every request, and told of every byte of a blob."""

from __future__ import annotations

import io
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from tests.contract.registry.conftest import MIB, descriptor, nothing, push_blob
from tests.support.registry_simulator import RegistrySimulator
from transship.store.errors import CancelledError
from transship.store.oci.digest import Digest
from transship.workers.registry.client import RegistryClient, Repository
from transship.workers.registry.flow_control.pacing import pause
from transship.workers.registry.transport.hosts import HostPolicy


@dataclass
class Budget:
    """Counts, and lets everybody wait as long as it is told to."""

    requests: int = 0
    moved: int = 0
    request_seconds: float = 0.0
    byte_seconds: float = 0.0
    registries: set[str] = field(default_factory=set)

    def request(self, registry: str) -> float:
        self.registries.add(registry)
        self.requests += 1
        return self.request_seconds

    def bytes(self, registry: str, count: int) -> float:
        self.registries.add(registry)
        self.moved += count
        return self.byte_seconds


@pytest.fixture
def simulator() -> Iterator[RegistrySimulator]:
    with RegistrySimulator() as made:
        yield made


@pytest.fixture
def budget() -> Budget:
    return Budget()


@pytest.fixture
def repository(simulator: RegistrySimulator, budget: Budget) -> Iterator[Repository]:
    with RegistryClient(HostPolicy(), pacer=budget) as client:
        yield client.repository(f"{simulator.host}/app")


def test_every_request_is_counted(
    repository: Repository, simulator: RegistrySimulator, budget: Budget
) -> None:
    push_blob(repository, b"blob")
    repository.head_blob(Digest.of(b"blob"))
    assert budget.requests == len(simulator.requests()) == 3
    assert budget.registries == {simulator.host}


@pytest.mark.parametrize("size", [1000, 9 * MIB])
def test_every_byte_of_a_blob_is_counted_both_ways(
    repository: Repository, budget: Budget, size: int
) -> None:
    data = random.Random(size).randbytes(size)
    push_blob(repository, data)
    assert budget.moved == size
    with repository.open_blob(descriptor(data)) as body:
        body.read_into(lambda _: None, check=nothing)
    assert budget.moved == 2 * size


def test_a_request_waits_as_long_as_it_is_told_to(repository: Repository, budget: Budget) -> None:
    budget.request_seconds = 0.2
    begun = time.monotonic()
    repository.head_blob(Digest.of(b""))
    assert time.monotonic() - begun >= 0.2


def test_bytes_wait_as_long_as_they_are_told_to(repository: Repository, budget: Budget) -> None:
    budget.byte_seconds = 0.1
    begun = time.monotonic()
    push_blob(repository, bytes(2 * MIB))
    assert time.monotonic() - begun >= 0.2


def test_whoever_waits_can_be_stopped(repository: Repository, budget: Budget) -> None:
    budget.byte_seconds = 3600

    def check() -> None:
        if budget.moved:
            raise CancelledError("cancelled")

    with pytest.raises(CancelledError):
        repository.upload_blob(
            Digest.of(bytes(MIB)),
            MIB,
            io.BytesIO(bytes(MIB)),
            upload=None,
            on_bytes=lambda _: None,
            check=check,
        )


def test_a_pause_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("transship.workers.registry.flow_control.pacing.PAUSE_SECONDS", 0.1)
    begun = time.monotonic()
    pause(3600)
    assert 0.1 <= time.monotonic() - begun < 10
