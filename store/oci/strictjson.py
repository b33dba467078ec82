"""JSON from strangers: bounded, UTF-8, without duplicate keys (image-spec, considerations.md)."""

from __future__ import annotations

import json
import math
import re
from typing import Any, NoReturn

from transship.store.errors import InvalidManifestError

DEEPEST = 64
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


def loads(raw: bytes, *, what: str, max_bytes: int, halves: bool = False) -> Any:
    """Parse *raw*, called *what* in errors.

    With *halves*, half a surrogate pair is read as U+FFFD, as Go reads it.

    Raises:
        InvalidManifestError: longer than *max_bytes*, not JSON, a key twice in an object, nested
            deeper than 64, a number that JSON does not have or that is too large, or text that
            is not Unicode.
    """
    if len(raw) > max_bytes:
        raise InvalidManifestError(f"longer than {max_bytes} bytes", subject=what)
    try:
        value = json.loads(
            raw.decode("utf-8"),
            object_pairs_hook=_object,
            parse_constant=_no_constant,
            parse_float=_finite,
        )
        if _SURROGATE.search(raw) and halves:
            value = _whole(value)
        elif _SURROGATE.search(raw):
            json.dumps(value, ensure_ascii=False).encode("utf-8")  # half a pair cannot be encoded
    except InvalidManifestError as error:
        error.subject = what
        raise
    except RecursionError:
        raise InvalidManifestError("nested too deep", subject=what) from None
    except ValueError as error:  # UnicodeError, JSONDecodeError, integers too long
        raise InvalidManifestError(f"not JSON: {error}", subject=what) from None
    _check_depth(value, what)
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise InvalidManifestError("an object has the same key twice")
    return value


def _whole(value: Any) -> Any:
    """*value* with each half of a surrogate pair replaced: it cannot be encoded."""
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [_whole(item) for item in value]
    if isinstance(value, dict):
        return _object([(_whole(key), _whole(item)) for key, item in value.items()])
    return value


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise InvalidManifestError(f"{text:.40} is too large a number")
    return value


def _no_constant(name: str) -> NoReturn:
    raise InvalidManifestError(f"{name} is not JSON")


def _check_depth(value: Any, what: str) -> None:
    level = [value]
    for _ in range(DEEPEST):
        level = [
            child
            for node in level
            if isinstance(node, (dict, list))
            for child in (node.values() if isinstance(node, dict) else node)
        ]
        if not level:
            return
    raise InvalidManifestError("nested too deep", subject=what)
