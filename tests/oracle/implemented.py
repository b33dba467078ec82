"""The scenarios that Transship is held to: a name goes in when all its operations are there."""

from __future__ import annotations

from collections.abc import Sequence

IMPLEMENTED: Sequence[str] = (
    "pull_index",
    "pull_plain",
    "pull_wrong",
    "push_plain",
    "push_wrong",
    "remote_inspect",
    "remote_search",
)
