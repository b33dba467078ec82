"""The retry table, line by line."""

from __future__ import annotations

import pytest

from tests.unit.store.error_tree import EVERY_ERROR, example
from transship.store.errors import (
    DigestMismatchError,
    Interruption,
    RecordedError,
    RegistryUnavailableError,
    Side,
    SizeMismatchError,
    TooManyRequestsError,
    TransshipError,
    UnreachableError,
)
from transship.workers.transfers.retry import (
    BASE_SECONDS,
    FREE_PROGRESS_BYTES,
    FREE_TRIES_FACTOR,
    LONGEST_RETRY_AFTER_SECONDS,
    LONGEST_SECONDS,
    Again,
    Attempt,
    Exclude,
    Fail,
    Parked,
    decide,
)

MAX_ATTEMPTS = 5
FIRST = Attempt(counted=0, tries=1, gained_bytes=0)
REFUSED = RegistryUnavailableError("is down", registry="r.test", http_status=503)
UNREACHABLE = UnreachableError("connection refused", registry="r.test")
CUT = SizeMismatchError(subject="blob", expected=10, actual=5)
MISMATCH = DigestMismatchError(expected="sha256:aa", actual="sha256:bb")

# One line for every class of the tree: a new one fails the test below until it is decided here.
TABLE: dict[str, type[Again | Exclude | Fail] | None] = {
    "TransshipError": Fail,
    "InternalError": Fail,
    # what was asked for does not get better by asking again
    "RequestError": Fail,
    "InvalidReferenceError": Fail,
    "InvalidDigestError": Fail,
    "InvalidPlatformError": Fail,
    "InvalidSpecError": Fail,
    "InvalidPolicyError": Fail,
    "InvalidSelectionError": Fail,
    "InvalidTimeError": Fail,
    "NotFoundError": Fail,
    "OtherPlatformError": Fail,
    "TokenError": Fail,
    "ScopeError": Fail,
    "ThrottledError": Again,
    "QuotaError": Fail,
    "TooLargeError": Fail,
    "IncompleteBodyError": Fail,
    "GoneError": Fail,
    "ConflictError": Fail,
    "AmbiguousError": Fail,
    "CredentialsNeededError": Fail,
    # nor does this machine, but for a database that is being restarted
    "DatabaseUnavailableError": Again,
    "StoreError": Fail,
    "HomeUnusableError": Fail,
    "DiskFullError": Fail,
    "BlobMissingError": Fail,
    "BlobHiddenError": Again,
    "ForeignProcessError": Fail,
    "SchemaVersionError": Fail,
    "EngineRunningError": Fail,
    "AddressInUseError": Fail,
    "MissingProgramError": Fail,
    "ServerUnreachableError": Again,
    # bytes: what may have been cut on the way is fetched again, what is wrong stays wrong
    "ContentError": Exclude,
    "SizeMismatchError": Again,
    "WrongSizeError": Exclude,
    "DigestMismatchError": Again,
    "InvalidManifestError": Exclude,
    "TooFewTagsError": Exclude,
    "UnsupportedMediaTypeError": Exclude,
    "UnsupportedCompressionError": Exclude,
    "DecompressionError": Exclude,
    "ExpansionError": Exclude,
    "InvalidLayerError": Exclude,
    "InvalidArchiveError": Exclude,
    # registries: another source may have what this one refuses
    "RegistryError": Exclude,
    "UnauthorizedError": Exclude,
    "DeniedError": Exclude,
    "PlatformNotFoundError": Exclude,
    "RegistryNotFoundError": Exclude,
    "ManifestNotFoundError": Exclude,
    "TooManyRequestsError": Again,
    "RegistryUnavailableError": Again,
    "RangeIgnoredError": Again,
    "ProtocolError": Exclude,
    "UntrustedAddressError": Exclude,
    "TlsError": Exclude,
    "BlockedError": Exclude,
    "UnreachableError": Again,
    "UnknownHostError": Again,
    "DeadlineExceededError": Fail,
    "RepeatedCrashError": Fail,
    "RecordedError": Fail,
    "ReportedError": Fail,
    "PartialError": Fail,
    "DamagedStoreError": Fail,
    # no failures: None says that the table does not take them
    "Interruption": None,
    "CancelledError": None,
    "LeaseLostError": None,
    "HandedBackError": None,
}


def test_every_error_of_the_tree_is_decided() -> None:
    assert {kind.__name__ for kind in EVERY_ERROR} == TABLE.keys()


@pytest.mark.parametrize("kind", [kind for kind in EVERY_ERROR if TABLE.get(kind.__name__)])
def test_what_is_done_about(kind: type[TransshipError]) -> None:
    expected = TABLE[kind.__name__]
    assert expected is not None
    assert isinstance(decide(example(kind), FIRST, most=MAX_ATTEMPTS), expected)


@pytest.mark.parametrize("kind", [kind for kind in EVERY_ERROR if issubclass(kind, Interruption)])
def test_an_interruption_is_no_failure(kind: type[TransshipError]) -> None:
    with pytest.raises(TypeError):
        decide(example(kind), FIRST, most=MAX_ATTEMPTS)


@pytest.mark.parametrize("kind", [kind for kind in EVERY_ERROR if TABLE.get(kind.__name__)])
def test_an_error_says_that_it_is_retryable_exactly_if_it_is_tried_again(
    kind: type[TransshipError],
) -> None:
    assert kind.retryable is (TABLE[kind.__name__] is Again)


def test_an_error_that_nobody_foresaw_fails() -> None:
    assert decide(ValueError("oops"), FIRST, most=MAX_ATTEMPTS) == Fail()


def test_a_recorded_error_is_not_tried_again_although_it_once_was() -> None:
    assert REFUSED.retryable
    assert decide(RecordedError(REFUSED.as_json()), FIRST, most=MAX_ATTEMPTS) == Fail()


def test_the_side_of_an_error_does_not_matter() -> None:
    error = RegistryUnavailableError("is down").at(Side.DESTINATION)
    assert isinstance(decide(error, FIRST, most=MAX_ATTEMPTS), Again)


# --- the budget ----------------------------------------------------------------------------------


def _attempt(counted: int, *, tries: int | None = None, gained: int = 0) -> Attempt:
    return Attempt(counted, counted + 1 if tries is None else tries, gained)


def test_attempts_are_counted_as_tries_not_as_retries() -> None:
    decisions = [decide(REFUSED, _attempt(n), most=3) for n in range(3)]
    assert [type(decision) for decision in decisions] == [Again, Again, Exclude]


def test_a_budget_of_one_means_no_second_try() -> None:
    assert decide(REFUSED, FIRST, most=1) == Exclude()


def test_a_lowered_budget_ends_what_is_past_it() -> None:
    assert decide(REFUSED, _attempt(7), most=3) == Exclude()


@pytest.mark.parametrize(
    ("gained", "counts"), [(FREE_PROGRESS_BYTES, False), (FREE_PROGRESS_BYTES - 1, True)]
)
def test_a_try_that_got_a_mebibyte_further_is_free(gained: int, counts: bool) -> None:
    decision = decide(CUT, _attempt(0, gained=gained), most=MAX_ATTEMPTS)
    assert isinstance(decision, Again)
    assert decision.counts is counts


def test_progress_is_free_even_when_the_budget_is_used_up() -> None:
    decision = decide(CUT, _attempt(4, gained=FREE_PROGRESS_BYTES), most=MAX_ATTEMPTS)
    assert isinstance(decision, Again)


def test_progress_is_free_up_to_four_times_the_budget_in_all() -> None:
    def after(tries: int) -> Again | Exclude | Fail:
        attempt = _attempt(4, tries=tries, gained=FREE_PROGRESS_BYTES)
        return decide(CUT, attempt, most=MAX_ATTEMPTS)

    assert isinstance(after(FREE_TRIES_FACTOR * MAX_ATTEMPTS - 1), Again)
    assert after(FREE_TRIES_FACTOR * MAX_ATTEMPTS) == Exclude()


def test_a_mismatch_never_counts_as_progress() -> None:
    decision = decide(MISMATCH, _attempt(0, gained=100 * FREE_PROGRESS_BYTES), most=MAX_ATTEMPTS)
    assert isinstance(decision, Again)
    assert decision.counts


# --- the delay -----------------------------------------------------------------------------------


def _seconds(counted: int, jitter: float, most: int = 10_000) -> float:
    decision = decide(REFUSED, _attempt(counted), most=most, jitter=lambda: jitter)
    assert isinstance(decision, Again)
    return decision.seconds


def test_the_delay_doubles_from_its_base() -> None:
    assert [_seconds(n, 1.0) for n in range(4)] == [BASE_SECONDS * 2**n for n in range(4)]


def test_the_delay_is_bounded() -> None:
    assert _seconds(20, 1.0) == LONGEST_SECONDS


def test_a_budget_of_thousands_is_no_reason_to_fall_over() -> None:
    assert _seconds(5000, 1.0) == LONGEST_SECONDS


@pytest.mark.parametrize(("jitter", "seconds"), [(0.0, 0.0), (0.25, 2.0), (1.0, 8.0)])
def test_the_delay_is_spread_over_its_whole_length(jitter: float, seconds: float) -> None:
    assert _seconds(3, jitter) == seconds


def test_the_delay_is_another_each_time() -> None:
    found = {
        decision.seconds
        for _ in range(20)
        if isinstance(decision := decide(REFUSED, _attempt(3), most=MAX_ATTEMPTS), Again)
    }
    assert len(found) > 1


@pytest.mark.parametrize(
    ("asked", "seconds"),
    [(0.0, 0.0), (7.0, 7.0), (3600.0, 3600.0), (86_400.0, LONGEST_RETRY_AFTER_SECONDS)],
)
def test_what_the_registry_asks_for_counts_up_to_an_hour(asked: float, seconds: float) -> None:
    error = RegistryUnavailableError("is down", retry_after_seconds=asked)
    assert decide(error, FIRST, most=MAX_ATTEMPTS) == Again(
        seconds=seconds, counts=True, parked=Parked.REGISTRY
    )


def test_too_many_requests_park_the_credential() -> None:
    error = TooManyRequestsError("slow down", retry_after_seconds=30)
    assert decide(error, FIRST, most=MAX_ATTEMPTS) == Again(
        seconds=30, counts=True, parked=Parked.CREDENTIAL
    )


def test_a_registry_that_does_not_say_for_how_long_is_parked_for_a_second_at_least() -> None:
    decision = decide(
        TooManyRequestsError("slow down"), FIRST, most=MAX_ATTEMPTS, jitter=lambda: 0.0
    )
    assert decision == Again(seconds=BASE_SECONDS, counts=True, parked=Parked.CREDENTIAL)


@pytest.mark.parametrize("error", [REFUSED, CUT, MISMATCH, UNREACHABLE])
def test_other_errors_park_nobody(error: TransshipError) -> None:
    decision = decide(error, FIRST, most=MAX_ATTEMPTS)
    assert isinstance(decision, Again)
    assert decision.parked is Parked.NOBODY
