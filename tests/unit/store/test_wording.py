"""What a validator says, in sentences of ours."""

from __future__ import annotations

import math
import re
from enum import Enum
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, field_validator

from transship.store.wording import SENTENCES, told


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class One(BaseModel):
    model_config = ConfigDict(extra="forbid")

    kind: Literal["one"] = "one"
    size: int

    @field_validator("size")
    @classmethod
    def _even(cls, value: int) -> int:
        if value % 2:
            raise ValueError("{odd} sizes are not made")
        return value


class Two(BaseModel):
    kind: Literal["two"]


EITHER = Annotated[One | Two, Field(discriminator="kind")]
SAID: list[tuple[Any, Any, str, str]] = [
    (One, {}, "missing", "this is missing"),
    (One, {"size": 2, "more": 1}, "extra_forbidden", "there is no such field"),
    (bool, "maybe", "bool_parsing", "expected true or false"),
    (bool, [], "bool_type", "expected true or false"),
    (int, "soon", "int_parsing", "expected a whole number"),
    (int, [], "int_type", "expected a whole number"),
    (int, 1.5, "int_from_float", "expected a whole number"),
    (int, "1" * 5000, "int_parsing_size", "this number is too large"),
    (float, "soon", "float_parsing", "expected a number"),
    (float, [], "float_type", "expected a number"),
    (
        Annotated[float, Field(allow_inf_nan=False)],
        math.inf,
        "finite_number",
        "expected a number that is not infinite",
    ),
    (Annotated[int, Field(gt=1)], 1, "greater_than", "expected more than 1"),
    (Annotated[int, Field(ge=1)], 0, "greater_than_equal", "expected 1 or more"),
    (Annotated[int, Field(lt=1)], 1, "less_than", "expected less than 1"),
    (Annotated[int, Field(le=1)], 2, "less_than_equal", "expected 1 or less"),
    (str, 1, "string_type", "expected a text"),
    (str, b"\xff", "string_unicode", "expected a text in UTF-8"),
    (
        Annotated[str, Field(min_length=2)],
        "a",
        "string_too_short",
        "this is too short: the shortest is 2 long",
    ),
    (
        Annotated[str, Field(max_length=2)],
        "abc",
        "string_too_long",
        "this is too long: the longest is 2 long",
    ),
    (
        Annotated[str, Field(pattern="^a{1}$")],
        "b",
        "string_pattern_mismatch",
        "expected a text that matches ^a{1}$",
    ),
    (Literal["a", "b"], "c", "literal_error", "expected 'a' or 'b'"),
    (Colour, "green", "enum", "expected 'red' or 'blue'"),
    (list[int], 1, "list_type", "expected a list"),
    (tuple[int, ...], 1, "tuple_type", "expected a list"),
    (Annotated[list[int], Field(min_length=1)], [], "too_short", "too few: expected 1 or more"),
    (
        Annotated[list[int], Field(max_length=1)],
        [1, 2],
        "too_long",
        "too many: expected 1 at most",
    ),
    (dict[str, int], 1, "dict_type", "expected an object"),
    (One, 1, "model_type", "expected an object"),
    (EITHER, {}, "union_tag_not_found", "'kind' is missing"),
    (
        EITHER,
        {"kind": "six"},
        "union_tag_invalid",
        "there is no 'kind' 'six'; expected one of 'one', 'two'",
    ),
    (One, {"size": 1}, "value_error", "{odd} sizes are not made"),
]


@pytest.mark.parametrize(("kind", "value", "type_", "sentence"), SAID)
def test_an_error_is_told_in_a_sentence(kind: Any, value: Any, type_: str, sentence: str) -> None:
    with pytest.raises(ValidationError) as raised:
        TypeAdapter(kind).validate_python(value)
    (error,) = raised.value.errors(include_url=False, include_input=False)
    assert (error["type"], told(error)) == (type_, sentence)


def test_what_is_not_known_is_told_as_the_validator_does() -> None:
    assert told({"type": "of a later version", "msg": "so it {is}"}) == "so it {is}"


def test_every_sentence_is_plain() -> None:
    assert not [one for one in SENTENCES.values() if re.search(r"Input|valid|\.$", one)]
