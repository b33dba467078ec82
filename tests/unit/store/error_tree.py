"""Every class of the error tree, and an example of each."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

from transship.store import errors
from transship.store.errors import (
    RegistryUnavailableError,
    SizeMismatchError,
    TransshipError,
    WrongSizeError,
)


def _tree(root: type[TransshipError]) -> Iterator[type[TransshipError]]:
    if root.__module__.startswith(f"{errors.__name__}."):
        yield root
    for child in root.__subclasses__():
        yield from _tree(child)


EVERY_ERROR = tuple(_tree(TransshipError))


def example(kind: type[TransshipError]) -> TransshipError:
    """An error of *kind*, with something for each argument that it insists on."""
    given: dict[str, object] = {
        "detail": "went wrong",
        "subject": "it",
        "errors": [{"field": "it", "message": "is wrong"}],
        "expected": 10 if kind is SizeMismatchError else "sha256:aa",
        "actual": 5 if kind in (SizeMismatchError, WrongSizeError) else "sha256:bb",
        "claimed": 5,
        "report": {},
        "image": {"platform": "linux/arm64"},
        "recorded": RegistryUnavailableError("is down", registry="r.test").as_json(),
    }
    needed = [
        name
        for name, parameter in inspect.signature(kind).parameters.items()
        if parameter.default is parameter.empty
    ]
    return kind(**{name: given[name] for name in needed})  # type: ignore[arg-type]
