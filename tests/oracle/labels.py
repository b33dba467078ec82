"""Stable names for what differs from run to run: IDs, digests, times, addresses."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

_DIGEST = re.compile(r"(?:sha256:)?\b([0-9a-f]{64})\b")
_SHORT = re.compile(r"\b[0-9a-f]{12}\b")
_TIME = re.compile(r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z")
_LONG = re.compile(r"(.)\1{39,}")
_RECENT = timedelta(hours=1)


class Labels:
    """Replaces what it was told about, and numbers what it was not, in the order of appearance."""

    def __init__(self) -> None:
        self._digests: dict[str, str] = {}
        self._texts: dict[str, str] = {}
        self._unknown = 0
        self._since = datetime.now(UTC) - _RECENT

    def give(self, digest: str, label: str) -> None:
        """Call a digest or an ID `<label>`, unless it has a name already.

        Where another digest is called so, a number is added.
        """
        hexadecimal = digest.removeprefix("sha256:")
        if hexadecimal in self._digests:
            return
        taken, number, free = set(self._digests.values()), 1, f"<{label}>"
        while free in taken:
            number += 1
            free = f"<{label} no. {number}>"
        self._digests[hexadecimal] = free

    def replace(self, text: str, label: str) -> None:
        """Write *label* instead of *text*, wherever it stands."""
        self._texts[text] = label

    def write(self, value: Any) -> Any:
        """Return a JSON value with labels in it, keys too."""
        if isinstance(value, str):
            return self._write(value)
        if isinstance(value, dict):
            return {
                self.write(key): "<now>" if self._is_recent(key, item) else self.write(item)
                for key, item in value.items()
            }
        return [self.write(item) for item in value] if isinstance(value, list) else value

    def _write(self, text: str) -> str:
        for found, label in self._texts.items():
            text = text.replace(found, label)
        text = _DIGEST.sub(lambda match: self._digest(match[1]), text)
        text = _SHORT.sub(lambda match: self._short(match[0]), text)
        text = _TIME.sub(self._time, text)
        return _LONG.sub(lambda match: f"{match[1]}{{{len(match[0])}}}", text)

    def _digest(self, hexadecimal: str) -> str:
        if hexadecimal not in self._digests:
            self._unknown += 1
            self.give(hexadecimal, f"digest {self._unknown}")
        return self._digests[hexadecimal]

    def _short(self, prefix: str) -> str:
        known = [label for digest, label in self._digests.items() if digest.startswith(prefix)]
        return f"<short {known[0][1:]}" if known else prefix

    def _time(self, match: re.Match[str]) -> str:
        # Python reads no more than microseconds.
        moment = datetime.fromisoformat(f"{match[0][:19]}+00:00")
        return "<now>" if moment >= self._since else match[0]

    def _is_recent(self, key: str, value: Any) -> bool:
        """Say whether this is a time in seconds since the epoch, and of this run."""
        is_time = key == "created" and isinstance(value, int)
        return is_time and value >= self._since.timestamp()
