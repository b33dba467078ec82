"""The error tree: what each error says, and to whom."""

from __future__ import annotations

import re

import pytest

from tests.unit.store.error_tree import EVERY_ERROR, example
from transship.store import errors
from transship.store.errors import (
    CancelledError,
    DigestMismatchError,
    InvalidSpecError,
    RecordedError,
    RegistryError,
    Side,
    SizeMismatchError,
    TransshipError,
)

FIELDS = {"code", "side", "subject", "detail", "hint", "retryable"}


@pytest.mark.parametrize("kind", EVERY_ERROR)
def test_each_reads_as_a_sentence_about_its_subject(kind: type[TransshipError]) -> None:
    error = example(kind)
    assert str(error).endswith(error.detail)
    assert str(error).startswith(error.subject)


@pytest.mark.parametrize("kind", EVERY_ERROR)
def test_each_has_all_fields_as_json(kind: type[TransshipError]) -> None:
    described = example(kind).as_json()
    assert described.keys() >= FIELDS
    assert described["side"] in set(Side)


@pytest.mark.parametrize("kind", EVERY_ERROR)
def test_each_code_is_lower_case_words(kind: type[TransshipError]) -> None:
    assert re.fullmatch(r"[a-z]+(-[a-z]+)*", kind.code)


def test_no_two_have_the_same_code() -> None:
    codes = [kind.code for kind in EVERY_ERROR if kind is not TransshipError]
    assert len(codes) == len(set(codes))


def test_the_tree_at_the_head_of_the_module_is_the_tree() -> None:
    assert errors.__doc__ is not None
    drawn = set(re.findall(r"\b(\w+Error|Interruption)\b", errors.__doc__))
    assert drawn == {kind.__name__ for kind in EVERY_ERROR}


@pytest.mark.parametrize("kind", EVERY_ERROR)
def test_a_failure_has_a_side_from_the_beginning(kind: type[TransshipError]) -> None:
    assert isinstance(kind.side, Side)


def test_who_calls_says_on_which_side_it_was() -> None:
    error = RegistryError("refused", registry="r.test").at(Side.DESTINATION)
    assert error.as_json()["side"] == "destination"


def test_the_side_of_one_error_is_not_that_of_its_class() -> None:
    RegistryError("refused").at(Side.DESTINATION)
    assert RegistryError("refused").side is Side.SOURCE


def test_without_a_subject_only_the_detail_is_read() -> None:
    assert str(CancelledError("a stop was requested")) == "a stop was requested"


def test_without_a_subject_a_registrys_error_is_about_the_registry() -> None:
    assert RegistryError("refused", registry="r.test").subject == "r.test"


def test_a_size_mismatch_says_both_sizes() -> None:
    error = SizeMismatchError(subject="blob", expected=10, actual=5)
    assert str(error) == "blob: expected 10 bytes, got 5"


def test_a_digest_mismatch_says_both_digests() -> None:
    error = DigestMismatchError(expected="sha256:aa", actual="sha256:bb")
    assert str(error) == "sha256:aa: the bytes received have the digest sha256:bb"


def test_an_invalid_spec_names_its_first_wrong_field_and_lists_all() -> None:
    wrong = [{"field": "a", "message": "is wrong"}, {"field": "b", "message": "too"}]
    error = InvalidSpecError("is wrong", errors=wrong)
    assert (error.subject, error.as_json()["errors"]) == ("a", wrong)


def test_a_recorded_error_is_what_was_recorded() -> None:
    recorded = {**RegistryError("refused", registry="r.test").as_json(), "attempts": 3}
    again = RecordedError(recorded)
    assert again.as_json() == recorded
    assert (str(again), again.side) == ("r.test: refused", Side.SOURCE)
