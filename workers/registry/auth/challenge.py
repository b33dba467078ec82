"""What a registry asks for with a 401: the grammar of WWW-Authenticate (RFC 9110, 11.6.1).

Pure: headers in, challenges out. One line may hold several challenges, and there may be several
lines; what cannot be read is left out rather than guessed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

MAX_HEADER_CHARS = 16 * 1024
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_SPACE = re.compile(r"[ \t]*")
_TOKEN68 = re.compile(r"[A-Za-z0-9._~+/-]+=*(?=[ \t]*(?:,|$))")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')
_BARE = re.compile(r"[^,\s\"]+")  # a token by the grammar, but URLs are seen
_PAIR = re.compile(r"\\(.)")


@dataclass(frozen=True, slots=True)
class Challenge:
    """One way to authenticate; scheme and parameter names are lower case."""

    scheme: str
    parameters: dict[str, str] = field(default_factory=dict)

    @property
    def realm(self) -> str:
        """For Bearer, where tokens are made."""
        return self.parameters.get("realm", "")

    @property
    def service(self) -> str:
        """For Bearer, whom the token is for; "" if not given."""
        return self.parameters.get("service", "")

    @property
    def scope(self) -> str:
        """For Bearer, what is needed, separated by spaces; "" if not given."""
        return self.parameters.get("scope", "")


def parse_challenges(lines: Iterable[str]) -> list[Challenge]:
    """Read every challenge of every WWW-Authenticate line, in their order."""
    challenges: list[Challenge] = []
    for line in lines:
        challenges.extend(_parse_line(line[:MAX_HEADER_CHARS]))
    return challenges


def preferred(challenges: Iterable[Challenge]) -> Challenge | None:
    """Return the challenge to answer: Bearer before Basic; None if neither is there."""
    known = {"bearer": 0, "basic": 1}
    usable = [
        challenge
        for challenge in challenges
        if challenge.scheme in known and (challenge.scheme == "basic" or challenge.realm)
    ]
    return min(usable, key=lambda challenge: known[challenge.scheme], default=None)


def _parse_line(line: str) -> list[Challenge]:
    challenges: list[Challenge] = []
    at = 0
    while at < len(line):
        at = _skip(line, at)
        if at < len(line) and line[at] == ",":
            at += 1
            continue
        token = _TOKEN.match(line, at)
        if token is None:
            break
        after = _skip(line, token.end())
        if challenges and after < len(line) and line[after] == "=":
            end = _parameter(line, token.group(), after + 1, challenges[-1])
            if end is None:
                break
            at = end
            continue
        challenges.append(Challenge(token.group().lower()))
        at = after
        blob = _TOKEN68.match(line, at)  # Negotiate and its like; of no use to us
        if blob is not None and after > token.end():
            at = blob.end()
    return challenges


def _parameter(line: str, name: str, at: int, challenge: Challenge) -> int | None:
    """Read the value of *name* at *at* into *challenge*; None if there is no telling where."""
    at = _skip(line, at)
    quoted = _QUOTED.match(line, at)
    if quoted is not None:
        value, end = _PAIR.sub(r"\1", quoted.group(1)), quoted.end()
    else:
        token = _BARE.match(line, at)
        if token is None:
            return None
        value, end = token.group(), token.end()
    challenge.parameters.setdefault(name.lower(), value)  # the first counts: no smuggling
    return end


def _skip(line: str, at: int) -> int:
    match = _SPACE.match(line, at)
    return at if match is None else match.end()
