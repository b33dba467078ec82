"""What failed of a mirror: each cause once, with the images that it kept back."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from transship.api.cli.output.errors import describe
from transship.store.text import escaped

MAX_NAMED = 5  # images of one cause; `jobs --parent` lists all


def described_failures(failed: Iterable[dict[str, Any]]) -> str:
    """The failures that a mirror's result names, grouped by cause, each line indented.

    One that stands alone is told as any error; of several with one cause that is told once.
    """
    known = [one for one in failed if one["error"]]
    of_one = len({one["image"].rpartition(":")[0] for one in known if one.get("image")}) == 1
    causes: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for one in known:
        error = one["error"]
        cause = tuple(str(error.get(key)) for key in ("code", "side", "detail", "hint"))
        causes.setdefault(cause, []).append(one)
    return "".join(_described(ones, of_one=of_one) for ones in causes.values())


def _described(ones: list[dict[str, Any]], *, of_one: bool) -> str:
    names = [
        str((one["tag"] if of_one or not one.get("image") else one["image"]) or one["image"])
        for one in ones
    ]
    error = ones[0]["error"]
    if len(ones) == 1:
        return describe(error, f"  {names[0]}")
    shared = describe({**error, "subject": "", "attempts": 1}, f"  {len(ones)} images")
    more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
    return shared + escaped(f"    {', '.join(names[:MAX_NAMED])}{more}\n")
