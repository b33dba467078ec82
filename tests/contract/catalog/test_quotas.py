"""Quotas of tokens: what one may have, of which kind, and who has none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
from cryptography.fernet import Fernet
from sqlalchemy import text

from tests.contract.catalog.shelves import ImageFixtures, small
from tests.support.course import SilentWire
from tests.support.memory_store import MemoryStore
from transship.store.catalog.access.credentials import Sealer
from transship.store.catalog.access.quotas import Quotas
from transship.store.catalog.access.tenants import BROKER, HOUSE
from transship.store.catalog.db.engine import Catalog
from transship.store.catalog.scheduling import jobs
from transship.store.errors import QuotaError, TransshipError
from transship.store.oci.platform import Platform
from transship.workers.jobs.service import JobService
from transship.workers.jobs.submission import Submission
from transship.workers.specs import parse_spec

PULL = {"kind": "pull", "reference": "here.test/app:1"}
COPY = {"kind": "copy", "source": "here.test/app:1", "destination": "there.test/app:1"}
QUOTAS = Quotas(jobs=2, spec_bytes=20_000, store_bytes=10_000)


@dataclass
class Door:
    """What asks for jobs, as a tenant."""

    catalog: Catalog
    queue: JobService

    def ask(self, tenant: str, spec: dict[str, Any] = COPY, **more: Any) -> str | TransshipError:
        submission = Submission(
            spec=parse_spec(spec), requested_by=f"token:{tenant}", tenant=tenant
        )
        (answer,) = self.queue.submit([replace(submission, **more)])
        return answer

    def end(self, id_: str) -> None:
        with self.catalog.write() as connection:
            lease = jobs.claim(connection, id_, "w", 1.0)
            assert lease is not None
            jobs.finish(connection, [jobs.End(lease, "succeeded")], 1.0)


@pytest.fixture
def door(catalog: Catalog) -> Callable[[Quotas], Door]:
    sealer = Sealer(Fernet.generate_key().decode())

    def opened(quotas: Quotas) -> Door:
        host = Platform("linux", "amd64")
        return Door(catalog, JobService(catalog, sealer, SilentWire(), host, quotas))

    return opened


def test_unfinished_jobs_are_counted_and_ended_ones_are_not(
    door: Callable[[Quotas], Door],
) -> None:
    open_ = door(replace(QUOTAS, store_bytes=None))
    made = [open_.ask("alice") for _ in range(2)]
    refused = open_.ask("alice")
    assert isinstance(refused, QuotaError)
    assert refused.subject == "TRANSSHIP_TOKEN_JOBS"
    assert isinstance(open_.ask("bob"), str)
    open_.end(str(made[0]))
    assert isinstance(open_.ask("alice"), str)


@pytest.mark.parametrize("tenant", [HOUSE, BROKER])
def test_who_is_no_token_has_none(door: Callable[[Quotas], Door], tenant: str) -> None:
    open_ = door(Quotas(jobs=1, spec_bytes=0, store_bytes=0))
    assert all(isinstance(open_.ask(tenant, PULL), str) for _ in range(3))


def test_the_same_request_again_is_not_refused(door: Callable[[Quotas], Door]) -> None:
    open_ = door(Quotas(jobs=1))
    first = open_.ask("alice", idempotency_key="k")
    assert open_.ask("alice", idempotency_key="k") == first


def test_long_specs_are_added_up_as_long_as_they_are_on_record(
    door: Callable[[Quotas], Door],
) -> None:
    open_ = door(replace(QUOTAS, jobs=None, store_bytes=None))
    tags = [f"{number:05}" for number in range(1_000)]
    mirror = {"kind": "mirror", "source": "here.test/app", "destination": "there.test/app"}
    made = [open_.ask("alice", {**mirror, "tags": tags}) for _ in range(3)]
    assert isinstance(made[0], str)
    assert isinstance(made[-1], QuotaError)
    assert made[-1].subject == "TRANSSHIP_TOKEN_SPEC_BYTES"
    open_.end(made[0])
    assert isinstance(open_.ask("alice", {**mirror, "tags": tags}), QuotaError)
    assert isinstance(open_.ask("alice"), str)  # a short one
    with open_.catalog.write() as connection:
        connection.execute(text("DELETE FROM jobs WHERE id = :id"), {"id": made[0]})
    assert isinstance(open_.ask("alice", {**mirror, "tags": tags}), str)


def test_who_has_too_much_in_the_store_adds_nothing(
    catalog: Catalog, door: Callable[[Quotas], Door]
) -> None:
    open_, content = door(QUOTAS), MemoryStore()
    alice, bob = (ImageFixtures(catalog, content, tenant=tenant) for tenant in ("alice", "bob"))
    for number in range(3):  # a kilobyte each
        alice.hold(small(f"app {number}"), f"docker.io/library/app:{number}")
    bob.hold(small("app 0"), "docker.io/library/app:0")
    refused = open_.ask("alice", PULL)
    assert isinstance(refused, QuotaError)
    assert refused.subject == "TRANSSHIP_TOKEN_STORE_BYTES"
    assert isinstance(open_.ask("alice"), str)  # which keeps nothing there
    assert isinstance(open_.ask("bob", PULL), str)
