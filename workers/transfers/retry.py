"""What to do about an error: one pure table over error types.

A delayed transfer gives its slot to the next one. Nothing here sleeps, and nothing looks at words.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from sqlalchemy import Connection

from transship.store.catalog.scheduling.admission import parking
from transship.store.errors import (
    ContentError,
    DeniedError,
    DigestMismatchError,
    Interruption,
    ProtocolError,
    RecordedError,
    RegistryError,
    RegistryNotFoundError,
    RegistryUnavailableError,
    StoreError,
    TooManyRequestsError,
    TransshipError,
    UnauthorizedError,
    UntrustedAddressError,
)

BASE_SECONDS = 1.0
LONGEST_SECONDS = 60.0
LONGEST_RETRY_AFTER_SECONDS = 3600.0
FREE_PROGRESS_BYTES = 1024 * 1024  # an attempt that gets so much further costs nothing
FREE_TRIES_FACTOR = 4  # up to so many times the budget in all


class Parked(Enum):
    """Who else has to wait."""

    NOBODY = "nobody"
    CREDENTIAL = "credential"  # those who ask that registry with the same credential
    REGISTRY = "registry"  # all who ask that registry


@dataclass(frozen=True, slots=True)
class Again:
    """Try again after *seconds*. *counts*: it uses up an attempt. *parked*: so do others."""

    seconds: float
    counts: bool
    parked: Parked = Parked.NOBODY

    def park(self, connection: Connection, registry: str, credential: str, now: float) -> None:
        """Let those wait who have to: of *registry*, or of *credential*, by its fingerprint."""
        match self.parked:
            case Parked.REGISTRY:
                parking.park(connection, registry, self.seconds, now)
            case Parked.CREDENTIAL:
                parking.park_budget(connection, registry, credential, self.seconds, now)
            case Parked.NOBODY:
                pass


@dataclass(frozen=True, slots=True)
class Exclude:
    """This source will not serve; another one might."""


@dataclass(frozen=True, slots=True)
class Fail:
    """No use in trying again."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """The attempt that failed."""

    counted: int  # attempts before it that used up the budget
    tries: int  # attempts in all, with this one
    gained_bytes: int  # how much further it got than any before it


def decide(
    error: Exception,
    attempt: Attempt,
    *,
    most: int,
    jitter: Callable[[], float] = random.random,
) -> Again | Exclude | Fail:
    """Say what to do about *error* after *attempt*, with a budget of *most* attempts."""
    match error:
        case Interruption():
            raise TypeError("an interruption is no failure")
        case RecordedError():  # it was tried again where it happened
            return Fail()
        case (
            UnauthorizedError()
            | DeniedError()
            | RegistryNotFoundError()
            | UntrustedAddressError()
            | ProtocolError()
        ):
            return Exclude()
        case TransshipError(retryable=True):
            return _again(error, attempt, most, jitter)
        case StoreError():
            return Fail()
        case RegistryError() | ContentError():
            return Exclude()
        case _:
            return Fail()


def _again(
    error: TransshipError, attempt: Attempt, most: int, jitter: Callable[[], float]
) -> Again | Exclude:
    gained = (
        not isinstance(error, DigestMismatchError) and attempt.gained_bytes >= FREE_PROGRESS_BYTES
    )
    counts = not (gained and attempt.tries < FREE_TRIES_FACTOR * most)
    if counts and attempt.counted + 1 >= most:
        return Exclude()
    asked = error.retry_after_seconds if isinstance(error, RegistryError) else None
    if asked is not None:
        seconds = min(asked, LONGEST_RETRY_AFTER_SECONDS)
    else:
        doublings = min(attempt.counted, 16)  # far past the ceiling, and far from an overflow
        ceiling = min(LONGEST_SECONDS, BASE_SECONDS * 2.0**doublings)
        seconds = ceiling * jitter()
    # With 503 "Retry-After" speaks of the service, not of the blob (RFC 9110, 10.2.3).
    parked = Parked.NOBODY
    if isinstance(error, RegistryUnavailableError) and asked is not None:
        parked = Parked.REGISTRY
    if isinstance(error, TooManyRequestsError):  # what this credential may ask is used up
        parked = Parked.CREDENTIAL
        if asked is None:
            seconds = max(seconds, BASE_SECONDS)
    return Again(seconds=seconds, counts=counts, parked=parked)
