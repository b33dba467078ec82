"""What a mirror says when it has ended: figures, the images by name, and what failed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from store.errors import ConflictError, Side
from workers.mirrors.plan import Image

MOST_NAMED = 1000  # images listed in a result; `jobs --parent` lists them all
MOST_FAILED = 100

UP_TO_DATE, COPY, MISSING, FAILED = "up-to-date", "copy", "missing", "failed"  # in a plan


def named(items: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The images by name, as many as a result may have."""
    return {"items": items[:MOST_NAMED], "items_left_out": max(0, len(items) - MOST_NAMED)}


def unlisted(source: str, error: dict[str, Any]) -> dict[str, Any]:
    """A failure: the tags of a repository could not be had."""
    return {"image": source, "tag": None, "job": None, "state": "unlisted", "error": error}


def clash(one: Image) -> dict[str, Any]:
    """A failure: another image of the same mirror goes to the same place, and came first."""
    error = ConflictError(
        f"another image of this mirror goes to {one.target}",
        subject=str(one.source),
        hint="give one of them another destination",
        side=Side.REQUEST,
    )
    return {
        "image": str(one.target),
        "tag": one.target.tag,
        "job": None,
        "state": "not-started",
        "error": {"attempts": 0, **error.as_json()},
    }


def plan_result(
    items: Sequence[dict[str, Any]], failed: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    """The result of a dry run: what each image would come to, and whether there is anything to do.

    *failed* has what is no image: repositories that could not be listed, and clashes.
    """
    states = Counter(item["state"] for item in items)
    broken = [
        {
            "image": item["destination"],
            "tag": None,
            "job": None,
            "state": FAILED,
            "error": item["error"],
        }
        for item in items
        if item["state"] == FAILED
    ]
    return {
        "dry_run": True,
        "images": len(items),
        "up_to_date": states[UP_TO_DATE],
        "to_copy": states[COPY],
        "missing": states[MISSING],
        "drift": states[UP_TO_DATE] < len(items) or bool(failed),
        "failed": [*failed, *broken][:MOST_FAILED],
        "failures": len(failed) + len(broken),
        **named(items),
    }


def what_failed(bad: int, of: int, repositories: int, *, done: str) -> str:
    """A sentence on a mirror that is not whole."""
    parts = [f"{bad} of {of} images were not {done}"] if bad or not repositories else []
    if repositories:
        s = "repository" if repositories == 1 else "repositories"
        parts.append(f"the tags of {repositories} {s} could not be listed")
    return "; ".join(parts)


def nothing_selected(sources: Iterable[str]) -> dict[str, Any]:
    """The repositories of which no tag was wanted, as a hint that a rule may be wrong."""
    return {"nothing_selected": list(sources)[:MOST_FAILED]}
