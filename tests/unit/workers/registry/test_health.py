"""Which failures say that a registry is down."""

from __future__ import annotations

from dataclasses import dataclass, field

import httpx
import pytest

from tests.unit.workers.registry.simulated import TokenRegistry
from transship.store.errors import RegistryError
from transship.store.oci.digest import Digest
from transship.workers.registry.client import RegistryClient
from transship.workers.registry.flow_control.health import FAILURES, RegistryHealth
from transship.workers.registry.transport.hosts import HostPolicy


@dataclass
class Told:
    failing: list[tuple[str, bool]] = field(default_factory=list)
    answered: list[tuple[str, float]] = field(default_factory=list)

    def health(self) -> RegistryHealth:
        return RegistryHealth(
            lambda registry, probed: self.failing.append((registry, probed)),
            lambda registry, token: self.answered.append((registry, token)),
        )


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def health(told: Told) -> RegistryHealth:
    return told.health()


def test_it_takes_several_failures_in_a_row(health: RegistryHealth, told: Told) -> None:
    for _ in range(FAILURES - 1):
        health.failed("r.test")
    health.answered("r.test", 200)
    for _ in range(FAILURES - 1):
        health.failed("r.test")
    assert told.failing == []
    health.failed("r.test")
    assert told.failing == [("r.test", False)]


def test_registries_are_counted_apart(health: RegistryHealth, told: Told) -> None:
    for number in range(3 * FAILURES):
        health.failed(f"r{number}.test")
    assert told.failing == []


@pytest.mark.parametrize(
    ("status", "fails"), [(500, True), (503, True), (404, False), (200, False)]
)
def test_an_answer_from_500_on_is_a_failure(
    health: RegistryHealth, told: Told, status: int, fails: bool
) -> None:
    for _ in range(FAILURES):
        health.answered("r.test", status)
    assert bool(told.failing) == fails


def test_429_says_neither(health: RegistryHealth, told: Told) -> None:
    for _ in range(FAILURES - 1):
        health.failed("r.test")
    health.probe("r.test", 1.0)
    health.answered("r.test", 429)
    assert (told.failing, told.answered) == ([], [])


def test_a_probe_is_told_of_at_once(health: RegistryHealth, told: Told) -> None:
    health.probe("r.test", 5.0)
    health.failed("r.test")
    assert told.failing == [("r.test", True)]
    health.probe("r.test", 6.0)
    health.answered("r.test", 404)
    health.answered("r.test", 200)
    assert told.answered == [("r.test", 6.0)]


def test_answers_without_a_probe_are_told_to_nobody(health: RegistryHealth, told: Told) -> None:
    health.failed("r.test")
    health.answered("r.test", 200)
    assert told.answered == []


def client_of(registry: TokenRegistry, told: Told) -> RegistryClient:
    return RegistryClient(
        HostPolicy(), health=told.health(), transport=httpx.MockTransport(registry)
    )


@pytest.mark.parametrize("status", [500, 503])
def test_a_token_server_that_is_down_counts_for_its_registry(told: Told, status: int) -> None:
    registry = TokenRegistry()
    registry.token_status = status
    with client_of(registry, told) as client:
        for _ in range(FAILURES):
            with pytest.raises(RegistryError):
                client.repository("r.test/app").head_manifest("1")
    assert told.failing == [("r.test", False)]


def test_a_connection_that_is_refused_counts(told: Told) -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    with RegistryClient(
        HostPolicy(), health=told.health(), transport=httpx.MockTransport(refuse)
    ) as client:
        for _ in range(FAILURES):
            with pytest.raises(RegistryError):
                client.repository("r.test/app").head_manifest("1")
    assert told.failing == [("r.test", False)]


def test_a_probe_is_settled_by_the_answer_to_a_request(told: Told) -> None:
    registry = TokenRegistry()
    with client_of(registry, told) as client:
        client.probe("r.test", 7.0)
        client.repository("r.test/app").head_blob(Digest.of(b""))
    assert told.answered == [("r.test", 7.0)]
