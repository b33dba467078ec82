"""Which credentials a job gets."""

from __future__ import annotations

import pytest
from cryptography.fernet import Fernet

from transship.store.catalog.access.credentials import NamedCredential, SealedCredential, Sealer
from transship.workers.credentials.grants import (
    CREDENTIALS_FOR,
    NAMED,
    is_granted,
    lacking,
    opened_credential,
    sealed_credential,
    settle,
)
from transship.workers.registry.auth.credentials import Credential

SEALER = Sealer(Fernet.generate_key().decode())
ANN = Credential("ann", "pass-word")
REGISTRIES = ("r.test", "s.test:5000")


def named(name: str, registry: str) -> NamedCredential:
    return NamedCredential(name, SealedCredential(registry, f"sealed {name}", name), 1.0)


OWN = [
    named("hub", "r.test"),
    named("hub-2", "r.test"),
    named("other", "t.test"),
    named("team", "r.test/team"),
]


def kept(given: dict[str, Credential], may_use: frozenset[str] | None = None) -> dict[str, str]:
    """The fingerprint of what the job has for each key."""
    found = settle(REGISTRIES, (), given, OWN, may_use, SEALER)
    return {one.registry: one.fingerprint for one in found.sealed}


def test_what_came_with_the_job_is_sealed_for_it() -> None:
    (one,) = settle(REGISTRIES, (), {"r.test": ANN}, [], None, SEALER).sealed
    assert Credential(**SEALER.open(one.sealed)) == ANN


def test_what_came_for_other_registries_is_dropped() -> None:
    given = {"t.test": ANN, "r.test.evil": ANN, "t.test/r.test": ANN}
    assert kept(given, frozenset()) == {}


def test_a_namespace_of_its_registry_is_kept() -> None:
    assert kept({"s.test:5000/team": ANN}, frozenset()) == {
        "s.test:5000/team": SEALER.mark(ANN.parts)
    }


def test_the_servers_own_are_used_where_none_came() -> None:
    assert kept({}) == {"r.test": "hub", "r.test/team": "team"}


def test_of_several_for_one_registry_the_first_by_name_is_taken() -> None:
    assert kept({}, frozenset({"hub-2", "hub"})) == {"r.test": "hub"}


@pytest.mark.parametrize("name", ["hub-2", "team"])
def test_only_those_that_may_be_used_are(name: str) -> None:
    assert list(kept({}, frozenset({name})).values()) == [name]


def test_who_may_use_none_gets_none() -> None:
    assert settle(REGISTRIES, (), {}, OWN, frozenset(), SEALER).checkpoint is None
    assert kept({}, frozenset()) == {}


def test_what_came_keeps_the_servers_own_away_from_that_registry() -> None:
    assert kept({"r.test": ANN}) == {"r.test": SEALER.mark(ANN.parts)}


def test_the_plan_has_names_and_no_secret() -> None:
    checkpoint = settle(REGISTRIES, (), {"s.test:5000": ANN}, OWN, None, SEALER).checkpoint
    assert checkpoint == {
        CREDENTIALS_FOR: ["s.test:5000"],
        NAMED: {"hub": "r.test", "team": "r.test/team"},
    }


# --- trying again ---------------------------------------------------------------------------------

PLAN = {CREDENTIALS_FOR: ["s.test:5000"], NAMED: {"hub": "r.test"}}


def test_what_came_has_to_come_again() -> None:
    assert lacking(PLAN, (), {}, OWN, None) == ["s.test:5000"]
    assert lacking(PLAN, (), {"s.test:5000": ANN}, OWN, None) == []


@pytest.mark.parametrize(
    ("own", "may_use"), [([], None), (OWN, frozenset[str]()), (OWN, frozenset({"team"}))]
)
def test_one_of_the_servers_that_is_gone_or_not_to_be_used_is_lacking(
    own: list[NamedCredential], may_use: frozenset[str] | None
) -> None:
    given = {"s.test:5000": ANN}
    assert lacking(PLAN, (), given, own, may_use) == ["r.test"]
    assert lacking(PLAN, (), {**given, "r.test": ANN}, own, may_use) == []


def test_a_job_that_had_none_lacks_none() -> None:
    assert lacking({}, (), {}, [], frozenset()) == []


def test_a_fingerprint_takes_the_key_to_make() -> None:
    here, there = SEALER, Sealer(Fernet.generate_key().decode())
    mine = sealed_credential("r.test", ANN, here)
    again = sealed_credential("s.test", Credential("ann", "pass-word"), here)
    assert mine.fingerprint == again.fingerprint
    assert mine.fingerprint != sealed_credential("r.test", Credential("ann", "p"), here).fingerprint
    assert mine.fingerprint != sealed_credential("r.test", ANN, there).fingerprint
    assert ANN.fingerprint != mine.fingerprint  # it was never sealed, and no process kept it


def test_what_was_opened_is_known_by_the_fingerprint_that_is_kept() -> None:
    sealed = sealed_credential("r.test", ANN, SEALER)
    opened = opened_credential(sealed, SEALER)
    assert opened == ANN
    assert opened.fingerprint == sealed.fingerprint


def test_nothing_to_sign_in_with_is_anonymous_when_it_was_sealed_too() -> None:
    sealed = sealed_credential("r.test", Credential(), SEALER)
    assert sealed.fingerprint == ""
    assert opened_credential(sealed, SEALER).fingerprint == ""


HUB = OWN[0]
GRANTS = {
    "by its name": (HUB.name, True, True),
    "by its id": (HUB.id, True, True),
    "by its name, to read": (f"{HUB.name}:read", True, False),
    "by its id, to read": (f"{HUB.id}:read", True, False),
    "another": ("team", False, False),
}


@pytest.mark.parametrize(("grant", "reads", "writes"), GRANTS.values(), ids=GRANTS)
def test_who_may_read_with_one_does_not_write_with_it(
    grant: str, reads: bool, writes: bool
) -> None:
    assert is_granted(HUB, frozenset({grant}), writes=False) is reads
    assert is_granted(HUB, frozenset({grant}), writes=True) is writes
    for written, expected in ((("s.test:5000",), reads), (("r.test", "s.test:5000"), writes)):
        found = settle(REGISTRIES, written, {}, [HUB], frozenset({grant}), SEALER)
        assert [one.registry for one in found.sealed] == ["r.test"] * expected
        plan = {NAMED: {"hub": "r.test"}}
        missing = lacking(plan, written, {}, [HUB], frozenset({grant}))
        assert missing == ["r.test"] * (not expected)
