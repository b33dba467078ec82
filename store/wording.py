"""What is wrong with a value, in a sentence of ours instead of the validator's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

SENTENCES: Final = {
    "missing": "this is missing",
    "missing_argument": "this is missing",
    "extra_forbidden": "there is no such field",
    "bool_parsing": "expected true or false",
    "bool_type": "expected true or false",
    "int_parsing": "expected a whole number",
    "int_type": "expected a whole number",
    "int_from_float": "expected a whole number",
    "int_parsing_size": "this number is too large",
    "float_parsing": "expected a number",
    "float_type": "expected a number",
    "finite_number": "expected a number that is not infinite",
    "greater_than": "expected more than {gt}",
    "greater_than_equal": "expected {ge} or more",
    "less_than": "expected less than {lt}",
    "less_than_equal": "expected {le} or less",
    "string_type": "expected a text",
    "string_unicode": "expected a text in UTF-8",
    "string_too_short": "this is too short: the shortest is {min_length} long",
    "string_too_long": "this is too long: the longest is {max_length} long",
    "string_pattern_mismatch": "expected a text that matches {pattern}",
    "literal_error": "expected {expected}",
    "enum": "expected {expected}",
    "list_type": "expected a list",
    "tuple_type": "expected a list",
    "too_short": "too few: expected {min_length} or more",
    "too_long": "too many: expected {max_length} at most",
    "dict_type": "expected an object",
    "model_type": "expected an object",
    "model_attributes_type": "expected an object",
    "union_tag_not_found": "{discriminator} is missing",
    "union_tag_invalid": "there is no {discriminator} {tag!r}; expected one of {expected_tags}",
    "value_error": "{error}",
}


def told(error: Mapping[str, Any]) -> str:
    """What an error of the validator says, which it gives with its context.

    A type of error that is not known here is told as the validator tells it.
    """
    sentence = SENTENCES.get(error["type"])
    if sentence is None:
        return str(error["msg"])
    return sentence.format_map(error.get("ctx", {}))
