"""What a mirror says when it has ended: figures, the images by name, and what failed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from transship.store.errors import ConflictError, Side
from transship.workers.mirrors.plan import Image

MAX_NAMED = 1000  # images listed in a result; `jobs --parent` lists them all
MAX_FAILED = 100

UP_TO_DATE, COPY, MISSING, FAILED = "up-to-date", "copy", "missing", "failed"  # in a plan


def named(items: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The images by name, as many as a result may have."""
    return {"items": items[:MAX_NAMED], "items_left_out": max(0, len(items) - MAX_NAMED)}


def unlisted(source: str, error: dict[str, Any]) -> dict[str, Any]:
    """A failure: the tags of a repository could not be had, or too few are selected."""
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


@dataclass(slots=True)
class Tally:
    """What a dry run has found so far, as much as its result may have. Safe to store as JSON.

    Args:
        states: How many images would come to what.
        items: The first images, by name.
        failed: The first of those that could not be compared.
        sized: How many of those to copy have a size.
        blobs: What these consist of; what several have moves once.
    """

    states: dict[str, int] = field(default_factory=dict)
    items: list[dict[str, Any]] = field(default_factory=list)
    failed: list[dict[str, Any]] = field(default_factory=list)
    sized: int = 0
    blobs: dict[str, int] = field(default_factory=dict)

    @property
    def images(self) -> int:
        """How many images have been compared."""
        return sum(self.states.values())

    def count(self, item: dict[str, Any]) -> None:
        """Add an image that has been compared."""
        state = item["state"]
        self.states[state] = self.states.get(state, 0) + 1
        self.sized += state == COPY and "bytes" in item
        if len(self.items) < MAX_NAMED:
            self.items.append(item)
        if state == FAILED and len(self.failed) < MAX_FAILED:
            told = {"image": item["destination"], "tag": None, "job": None, "state": FAILED}
            self.failed.append({**told, "error": item["error"]})


def plan_result(tally: Tally, failed: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The result of a dry run: what each image would come to, and whether there is anything to do.

    *failed* has what is no image: repositories that could not be listed, and clashes.
    """
    counts = {state: tally.states.get(state, 0) for state in (UP_TO_DATE, COPY, MISSING, FAILED)}
    return {
        "dry_run": True,
        "images": tally.images,
        "up_to_date": counts[UP_TO_DATE],
        "to_copy": counts[COPY],
        "missing": counts[MISSING],
        "drift": counts[UP_TO_DATE] < tally.images or bool(failed),
        "bytes": sum(tally.blobs.values()),
        "bytes_known_of": tally.sized,
        "failed": [*failed, *tally.failed][:MAX_FAILED],
        "failures": len(failed) + counts[FAILED],
        "items": tally.items,
        "items_left_out": tally.images - len(tally.items),
    }


def what_failed(bad: int, of: int, repositories: int, *, done: str, damaged: int = 0) -> str:
    """A sentence on a mirror that is not whole."""
    only = repositories or damaged
    parts = [f"{bad} of {of} images were not {done}"] if bad or not only else []
    if damaged:
        parts.append(f"{damaged} of {of} are damaged at the destination, or could not be verified")
    if repositories:
        were = "repository was" if repositories == 1 else "repositories were"
        parts.append(f"{repositories} {were} left out")
    return "; ".join(parts)


def nothing_selected(sources: Iterable[str]) -> dict[str, Any]:
    """The repositories of which no tag was wanted, as a hint that a rule may be wrong."""
    return {"nothing_selected": list(sources)[:MAX_FAILED]}
