"""Policies in files of the user: read here, so that no server ever reads them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transship.store.errors import InvalidPolicyError

if TYPE_CHECKING:
    from transship.workers.mirrors.policy import Policy

_STATES = {"up-to-date": "up to date", "copy": "to copy", "missing": "missing", "failed": "failed"}


def read_policy(file: str) -> Policy:
    """Read the policy in *file*; `-` is the input.

    Raises:
        InvalidPolicyError: it cannot be read, or be used; file and key are named.
    """
    from transship.workers.mirrors.documents import MAX_BYTES  # noqa: PLC0415 -- --help needs none of it
    from transship.workers.mirrors.policy import read  # noqa: PLC0415

    name = "the input" if file == "-" else file
    try:
        if file == "-":
            raw = sys.stdin.buffer.read(MAX_BYTES + 1)
        else:
            with Path(file).open("rb") as opened:
                raw = opened.read(MAX_BYTES + 1)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise InvalidPolicyError(f"cannot be read: {reason}", subject=name) from None
    return read(raw, name)


def warn(policy: Policy) -> None:
    """Report the settings of the file that are not supported."""
    for warning in policy.warnings:
        sys.stderr.write(f"transship: {policy.name}: {warning}\n")


def described_verification(result: dict[str, Any]) -> str:
    """What is damaged at the destinations: a line a fault, and the sum."""
    found = result["verified"]
    lines = [
        f"{item['image']}: {one['what']} {one['digest']}: {one['problem']}"
        for item in found["items"]
        for one in item["problems"]
    ]
    if (more := found["problems"] - len(lines)) > 0:
        lines.append(f"… and {more} more")
    parts = [f"{found['whole']} of {found['images']} images are whole"]
    if found["gone"]:
        parts.append(f"{found['gone']} are no longer at the source")
    if "repaired" in result:
        parts.append(f"{result['repaired']} repaired")
    lines.append(f"{result['reference']}: {', '.join(parts)}")
    return "\n".join(lines)


def described_plan(result: dict[str, Any]) -> str:
    """What a dry run found: a line an image, and the sum."""
    from transship.store.sizes import human_bytes  # noqa: PLC0415

    lines = []
    for item in result["items"]:
        size = f" ({human_bytes(item['bytes'])})" if item.get("bytes") else ""
        state = "to update" if item.get("replaces") and item["state"] == "copy" else ""
        lines.append(
            f"{state or _STATES[item['state']]:<11} {item['source']} -> {item['destination']}{size}"
        )
    if result["items_left_out"]:
        lines.append(f"… and {result['items_left_out']} more")
    lines += [f"{one}: no tag is selected" for one in result["nothing_selected"]]
    size = f" (at most {human_bytes(result['bytes'])})"
    if result["bytes_known_of"] < result["to_copy"]:
        size = f" ({human_bytes(result['bytes'])} for the first {result['bytes_known_of']})"
    parts = [
        f"{result['up_to_date']} up to date",
        f"{result['to_copy']} to copy{size if result['to_copy'] else ''}",
    ]
    if result["missing"]:
        parts.append(f"{result['missing']} missing")
    if result["failures"]:
        parts.append(f"{result['failures']} could not be compared")
    lines.append(f"{result['reference']}: {result['images']} images, {', '.join(parts)}")
    return "\n".join(lines)
