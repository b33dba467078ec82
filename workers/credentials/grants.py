"""Which credentials a job works with: settled when it is submitted, and copied, sealed.

For each registry those that came with the job; else the server's own, as far as whoever asks may
use them. The job's plan keeps names only.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from transship.store.catalog.access.credentials import NamedCredential, SealedCredential, Sealer
from transship.workers.registry.auth.credentials import Credential, most_specific

CREDENTIALS_FOR: Final = "credentials_for"  # in the plan: for what a job brought credentials
NAMED: Final = "named_credentials"  # in the plan: the server's own that it got, and for what
URL_SEALED: Final = "url_sealed"  # in the plan: its URL is not in its spec, but sealed beside it

READ_ONLY: Final = ":read"  # behind an id or a name: for registries that a job only reads
# Ids of the server's credentials, or names where an operator wrote them down; None for all.
MayUse = frozenset[str] | None


def sealed_credential(registry: str, credential: Credential, sealer: Sealer) -> SealedCredential:
    """A credential for *registry*, or a namespace in it, as the database keeps it."""
    parts = credential.parts
    return SealedCredential(
        registry, sealer.seal(parts), sealer.mark(parts) if any(parts.values()) else ""
    )


def opened_credential(one: SealedCredential, sealer: Sealer) -> Credential:
    """What was sealed, known by the same fingerprint.

    Raises:
        StoreError: it was sealed with another key.
    """
    return Credential(**sealer.open(one.sealed), mark=one.fingerprint)


@dataclass(frozen=True, slots=True)
class Entitlement:
    """The credentials of a job, by registry or namespace, and what its plan says of them."""

    sealed: Sequence[SealedCredential] = ()
    checkpoint: dict[str, Any] | None = None

    def fingerprint(self, repository: str) -> str:
        """The fingerprint of the credential for *repository*, with its registry; '' for none."""
        by_key = {one.registry: one.fingerprint for one in self.sealed}
        return most_specific(by_key, repository) or ""


def is_granted(one: NamedCredential, may_use: MayUse, *, writes: bool) -> bool:
    """Whether a credential is for the jobs of whoever *may_use* some, to read or to write."""
    if may_use is None:
        return True
    known = {one.id, one.name}
    if not writes:
        known |= {f"{each}{READ_ONLY}" for each in known}
    return not known.isdisjoint(may_use)


def settle(
    registries: Collection[str],
    written: Collection[str],
    given: Mapping[str, Credential],
    named: Sequence[NamedCredential],
    may_use: MayUse,
    sealer: Sealer,
) -> Entitlement:
    """Choose for a job that talks to *registries*; *given* for others is dropped.

    To those of *written* it sends something: no credential goes there that is granted for reading
    only. Of several named ones for the same registry or namespace the first by name is taken.
    """
    brought = [
        sealed_credential(key, credential, sealer)
        for key, credential in given.items()
        if _registry(key) in registries
    ]
    answered = {_registry(one.registry) for one in brought}
    own: dict[str, NamedCredential] = {}
    for one in named:
        key = one.credential.registry
        if (
            _registry(key) in registries
            and _registry(key) not in answered
            and is_granted(one, may_use, writes=_registry(key) in written)
        ):
            own.setdefault(key, one)
    checkpoint: dict[str, Any] = {}
    if brought:
        checkpoint[CREDENTIALS_FOR] = [one.registry for one in brought]
    if own:
        checkpoint[NAMED] = {one.name: key for key, one in own.items()}
    return Entitlement([*brought, *(one.credential for one in own.values())], checkpoint or None)


def lacking(
    checkpoint: Mapping[str, Any],
    written: Collection[str],
    given: Mapping[str, Credential],
    named: Sequence[NamedCredential],
    may_use: MayUse,
) -> list[str]:
    """For what a job like the one of *checkpoint* would lack the credentials that it had.

    It sends something to the registries *written*.

    Those that came with it are gone, and have to be given again. The server's own are there still,
    unless one was removed, or whoever asks now may not use it.
    """
    there = {
        one.name
        for one in named
        if is_granted(one, may_use, writes=_registry(one.credential.registry) in written)
    }
    needed = [
        *(["its URL"] if checkpoint.get(URL_SEALED) else ()),
        *checkpoint.get(CREDENTIALS_FOR, ()),
        *(key for name, key in checkpoint.get(NAMED, {}).items() if name not in there),
    ]
    answered = {_registry(key) for key in given}
    return [key for key in needed if _registry(key) not in answered]


def _registry(key: str) -> str:
    return key.partition("/")[0]
