"""What a person reads when something failed, and what a script gets."""

from __future__ import annotations

import os
import sys
import traceback
from typing import Any

from transship.api.http.statuses import status_of
from transship.store.errors import (
    NotFoundError,
    RequestError,
    TransshipError,
    UnauthorizedError,
    sentence,
)
from transship.store.text import escaped

DONE, FAILED, USAGE, PARTIAL, INTERRUPTED = 0, 1, 2, 3, 130
_SIDES = {
    "source": "at the source",
    "destination": "at the destination",
    "store": "in the store",
    "request": "in the request",
    "internal": "a fault of Transship",
}


_failed_helpers: dict[str, None] = {}  # what was said of each, in this command


def explain(error: Exception) -> str:
    """One clear sentence that names the side, and what can be done; never a traceback."""
    if isinstance(error, TransshipError):
        return describe(error.as_json())
    if os.environ.get("TRANSSHIP_TRACEBACK"):
        return "".join(traceback.format_exception(error))
    return (
        f"transship: a fault of Transship: {type(error).__name__}: {error}\n"
        "  set TRANSSHIP_TRACEBACK=1 to see where\n"
    )


def describe(error: dict[str, Any], about: str = "transship") -> str:
    """The same for an error as jobs and problems carry it, beginning with what it is *about*."""
    side = _SIDES.get(error["side"], error["side"])
    tries = f" (after {error['attempts']} attempts)" if error.get("attempts", 1) > 1 else ""
    lines = [f"{about}: {side}: {sentence(error['subject'], error['detail'])}{tries}\n"]
    lines += [
        f"  {one['field']}: {one['message']}\n"
        for one in error.get("errors") or ()
        if one["message"] not in error["detail"]
    ]
    if error.get("hint"):
        lines.append(f"  {error['hint']}\n")
    if error["code"] == UnauthorizedError.code:
        lines += [f"  {one}\n" for one in _failed_helpers]
    return escaped("".join(lines))


def warn_of_helper(message: str) -> None:
    """Tell once that a credential helper was of no use, and again where a registry wants one."""
    if message not in _failed_helpers:
        _failed_helpers[message] = None
        print(escaped(f"transship: warning: {message}"), file=sys.stderr)


def exit_code(error: Exception) -> int:
    """2 for a request that could not be, or a server that is not there; 1 for the rest."""
    status = getattr(error, "http_status", 0)
    code = getattr(error, "code", "")
    if isinstance(error, RequestError) and status_of(error) in (400, 422):
        return USAGE
    if status in (400, 422) and hasattr(error, "recorded"):
        return USAGE
    if code in ("server-unreachable", "needs-server"):
        return USAGE
    return FAILED


def is_missing(error: TransshipError) -> bool:
    """Whether there is not what was asked for."""
    return bool(error.as_json()["code"] == NotFoundError.code)


def job_exit_code(job: dict[str, Any]) -> int:
    """How a command ends that waited for *job*."""
    result = job.get("result") or {}
    if result.get("dry_run"):
        # What could not be compared is no answer, unless there is one on something else.
        failed = job["state"] != "succeeded" and result["failures"] >= result["images"]
        return FAILED if failed else PARTIAL if result["drift"] else DONE
    if job["state"] == "succeeded":
        return DONE
    if job["error"] and job["error"]["code"] == "partial":
        whole = result.get("verified", {}).get("whole", 0)
        return PARTIAL if whole or job["children"].get("succeeded") else FAILED
    return FAILED


def worst(codes: list[int]) -> int:
    """The worst of several endings: failed, then partial, then done."""
    for code in (FAILED, PARTIAL):
        if code in codes:
            return code
    return DONE
