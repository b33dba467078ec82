"""What comes of every fault at every kind of request: a table that is a test.

`test_faults.py` plays each cell. The same rows are printed in `workers/README.md`, between
markers; this writes them there:

    python -m tests.scenario.fault_table
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.scenario.faulted import Outcome
from tests.support.faults import Rule, Verb

README = Path(__file__).parents[2] / "workers" / "README.md"
BEGIN = "<!-- fault table: written by tests/scenario/fault_table.py -->"
END = "<!-- end of the fault table -->"

READS = (Verb.TOKEN_GET, Verb.TAGS_LIST, Verb.MANIFEST_HEAD, Verb.MANIFEST_GET, Verb.BLOB_GET)
WRITES = (
    Verb.BLOB_HEAD,
    Verb.UPLOAD_POST,
    Verb.UPLOAD_PATCH,
    Verb.UPLOAD_STATUS,
    Verb.UPLOAD_PUT,
    Verb.UPLOAD_CLOSE,
    Verb.MANIFEST_PUT,
)
EVERY = READS + WRITES
# What only saves work decides nothing, however it is refused.
SAVES = (Verb.MANIFEST_HEAD, Verb.BLOB_HEAD, Verb.UPLOAD_STATUS)
FOR_EVER = None
ANOTHER_WAY = "another way"
PATCHED = "by PATCH instead"
PAGE_AGAIN = "asks for the page again"
WHOLE = "sends it whole"
CUT_BLOB = Rule(Verb.BLOB_GET, "cut", "100000", times=1, after=1)
CUT_CHUNK = Rule(Verb.UPLOAD_PATCH, "cut", "10000", times=1, after=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A fault, the kinds of requests that meet it alike, and what comes of it.

    *times* requests meet it, once *after* of their kind have passed, and once *first* has
    happened, whose try is not counted.
    """

    what: str
    fault: str
    verbs: tuple[Verb, ...]
    outcome: Outcome
    times: int | None = 1
    after: int = 0
    first: Rule | None = None
    why: str = ""

    def cells(self) -> Iterator[tuple[str, list[Rule], Verb, Outcome]]:
        """A name, the rules, the kind of request and the outcome, for each kind."""
        fault, _, value = self.fault.partition("=")
        for verb in self.verbs:
            first = CUT_CHUNK if verb is Verb.UPLOAD_STATUS else self.first
            rules = [Rule(verb, fault, value, self.times, self.after)]
            if first is not None:
                rules.insert(0, first)
            outcome = self.outcome
            if first is not None:
                outcome = outcome.after_another_try()
            yield f"{self.what}: {verb}", rules, verb, outcome


def but(verbs: tuple[Verb, ...], *others: Verb) -> tuple[Verb, ...]:
    """*verbs* without *others*."""
    return tuple(verb for verb in verbs if verb not in others)


def done(tries: int = 1, *, parked: float = 0.0) -> Outcome:
    """The image arrives."""
    return Outcome("succeeded", tries, parked)


def fails(code: str, side: str, tries: int = 1, *, parked: float = 0.0) -> Outcome:
    """The job says why it does not."""
    return Outcome("failed", tries, parked, code, side)


def at_source(code: str, tries: int = 1, *, parked: float = 0.0) -> Outcome:
    """The job blames the source."""
    return fails(code, "source", tries, parked=parked)


def at_target(code: str, tries: int = 1, *, parked: float = 0.0) -> Outcome:
    """The job blames the destination."""
    return fails(code, "destination", tries, parked=parked)


ROWS: tuple[Row, ...] = (
    *(
        Row(what=f"{status} once", fault=status, verbs=verbs, outcome=outcome, why=why)
        for status in ("500", "502")
        for verbs, outcome, why in (
            (but(EVERY, Verb.UPLOAD_PUT, Verb.TAGS_LIST, *SAVES), done(2), ""),
            ((Verb.UPLOAD_PUT,), done(), PATCHED),
            ((Verb.TAGS_LIST,), done(), PAGE_AGAIN),
            (SAVES, done(), ANOTHER_WAY),
        )
    ),
    Row(what="503, Retry-After: 7, once", fault="503=7", verbs=EVERY, outcome=done(2, parked=7)),
    Row(
        what="429 once",
        fault="429",
        verbs=but(EVERY, Verb.UPLOAD_STATUS),
        outcome=done(2, parked=1),
    ),
    Row(what="429 once", fault="429", verbs=(Verb.UPLOAD_STATUS,), outcome=done(2, parked=2)),
    Row(what="429, Retry-After: 7, once", fault="429=7", verbs=EVERY, outcome=done(2, parked=7)),
    Row(
        what="429, Retry-After: a date, once",
        fault="429=date+7",
        verbs=EVERY,
        outcome=done(2, parked=7),
    ),
    Row(
        what="429, Retry-After: 7, for ever",
        fault="429=7",
        times=FOR_EVER,
        verbs=READS,
        outcome=at_source("too-many-requests", 5, parked=7),
    ),
    Row(
        what="429, Retry-After: 7, for ever",
        fault="429=7",
        times=FOR_EVER,
        verbs=WRITES,
        outcome=at_target("too-many-requests", 5, parked=7),
    ),
    Row(
        what="503 for ever",
        fault="503",
        times=FOR_EVER,
        verbs=but(READS, Verb.BLOB_GET, Verb.TAGS_LIST, *SAVES),
        outcome=at_source("registry-unavailable", 5, parked=4),
    ),
    Row(
        what="503 for ever",
        fault="503",
        times=FOR_EVER,
        verbs=(Verb.TAGS_LIST,),
        outcome=at_source("registry-unavailable", 5, parked=8),
    ),
    Row(
        what="503 for ever",
        fault="503",
        times=FOR_EVER,
        verbs=SAVES,
        outcome=done(),
        why=ANOTHER_WAY,
    ),
    Row(
        what="503 for ever",
        fault="503",
        times=FOR_EVER,
        verbs=(Verb.BLOB_GET,),
        outcome=at_source("registry-unavailable", 5, parked=60),
    ),
    Row(
        what="503 for ever",
        fault="503",
        times=FOR_EVER,
        verbs=but(WRITES, Verb.UPLOAD_PUT, Verb.MANIFEST_PUT, *SAVES),
        outcome=at_target("registry-unavailable", 5),
    ),
    Row(
        what="503 for ever",
        fault="503",
        times=FOR_EVER,
        verbs=(Verb.MANIFEST_PUT,),
        outcome=at_target("registry-unavailable", 5, parked=4),
    ),
    Row(
        what="503 for ever",
        fault="503",
        times=FOR_EVER,
        verbs=(Verb.UPLOAD_PUT,),
        outcome=done(),
        why=PATCHED,
    ),
    Row(
        what="reset before an answer, once",
        fault="reset",
        verbs=but(EVERY, Verb.TOKEN_GET, Verb.UPLOAD_PATCH, Verb.UPLOAD_PUT),
        outcome=done(),
    ),
    Row(
        what="reset before an answer, once",
        fault="reset",
        verbs=(Verb.TOKEN_GET, Verb.UPLOAD_PATCH, Verb.UPLOAD_PUT),
        outcome=done(2),
    ),
    Row(
        what="reset for ever",
        fault="reset",
        times=FOR_EVER,
        verbs=(Verb.MANIFEST_HEAD, Verb.MANIFEST_GET),
        outcome=at_source("unreachable", 5, parked=4),
    ),
    Row(
        what="reset in mid-body, once",
        fault="reset=100",
        verbs=(Verb.MANIFEST_GET, Verb.BLOB_GET),
        outcome=done(2),
    ),
    Row(
        what="cut in mid-body, the length announced being right, once",
        fault="cut=20",
        verbs=but(READS, Verb.MANIFEST_HEAD),
        outcome=done(2),
    ),
    Row(
        what="cut in mid-body, once",
        fault="cut=100",
        verbs=(Verb.UPLOAD_PATCH, Verb.UPLOAD_PUT),
        outcome=done(2),
    ),
    Row(
        what="cut in mid-body, once",
        fault="cut=100",
        verbs=(Verb.MANIFEST_PUT,),
        outcome=done(),
    ),
    Row(
        what="every body cut after 100 kB, of 328",
        why="takes up the rest",
        fault="cut=100000",
        times=FOR_EVER,
        verbs=(Verb.BLOB_GET,),
        outcome=done(4),
    ),
    Row(
        what="wrong bytes once",
        fault="wrong-bytes",
        verbs=(Verb.MANIFEST_GET, Verb.BLOB_GET, Verb.UPLOAD_PUT),
        outcome=done(2),
    ),
    Row(
        what="wrong bytes once",
        fault="wrong-bytes",
        verbs=(Verb.UPLOAD_PATCH,),
        outcome=done(),
        why=WHOLE,
    ),
    Row(
        what="wrong bytes once",
        fault="wrong-bytes",
        verbs=(Verb.MANIFEST_PUT,),
        outcome=at_target("registry-error"),
    ),
    Row(
        what="wrong bytes for ever",
        fault="wrong-bytes",
        times=FOR_EVER,
        verbs=(Verb.MANIFEST_GET, Verb.BLOB_GET),
        outcome=at_source("digest-mismatch", 5),
    ),
    Row(
        what="wrong bytes for ever",
        fault="wrong-bytes",
        times=FOR_EVER,
        verbs=(Verb.UPLOAD_PUT,),
        outcome=at_target("registry-unavailable", 5),
    ),
    Row(
        what="wrong bytes for ever",
        fault="wrong-bytes",
        times=FOR_EVER,
        verbs=(Verb.UPLOAD_PATCH,),
        outcome=done(),
        why=WHOLE,
    ),
    Row(
        what="HTML",
        fault="html",
        verbs=but(READS, Verb.TAGS_LIST, *SAVES),
        outcome=at_source("protocol-error"),
    ),
    Row(
        what="HTML",
        fault="html",
        verbs=but(WRITES, *SAVES),
        outcome=at_target("protocol-error"),
    ),
    Row(what="HTML", fault="html", verbs=(Verb.TAGS_LIST,), outcome=done(), why=PAGE_AGAIN),
    Row(what="HTML", fault="html", verbs=SAVES, outcome=done(), why=ANOTHER_WAY),
    Row(
        what="401, no use in another token",
        fault="401",
        verbs=READS,
        outcome=at_source("unauthorized-by-registry"),
    ),
    Row(
        what="401, no use in another token",
        fault="401",
        verbs=but(WRITES, Verb.UPLOAD_PATCH),
        outcome=at_target("unauthorized-by-registry"),
    ),
    Row(
        what="401, the token having expired",
        fault="expired-token",
        verbs=but(EVERY, Verb.TOKEN_GET, Verb.TAGS_LIST, Verb.MANIFEST_HEAD, Verb.UPLOAD_POST),
        outcome=done(),
    ),
    Row(
        what="401, the token having expired",
        fault="expired-token",
        verbs=(Verb.UPLOAD_POST,),
        after=1,
        outcome=done(),
    ),
    Row(
        what="401 to a token just made",
        fault="expired-token",
        verbs=(Verb.TAGS_LIST, Verb.MANIFEST_HEAD),
        outcome=at_source("unauthorized-by-registry"),
    ),
    Row(
        what="401 to a token just made",
        fault="expired-token",
        verbs=(Verb.UPLOAD_POST,),
        outcome=at_target("unauthorized-by-registry"),
    ),
    Row(
        what="403",
        fault="403",
        verbs=but(READS, *SAVES),
        outcome=at_source("denied-by-registry"),
    ),
    Row(
        what="403",
        fault="403",
        verbs=but(WRITES, *SAVES),
        outcome=at_target("denied-by-registry"),
    ),
    Row(what="403", fault="403", verbs=SAVES, outcome=done(), why=ANOTHER_WAY),
    Row(
        what="404",
        fault="404",
        verbs=(Verb.TOKEN_GET, Verb.TAGS_LIST, Verb.BLOB_GET),
        outcome=at_source("not-in-registry"),
    ),
    Row(
        what="404",
        fault="404",
        verbs=(Verb.MANIFEST_GET,),
        outcome=at_source("manifest-not-found"),
    ),
    Row(
        what="404",
        fault="404",
        verbs=(Verb.MANIFEST_HEAD, Verb.BLOB_HEAD),
        outcome=done(),
        why=ANOTHER_WAY,
    ),
    Row(
        what="404",
        fault="404",
        verbs=(Verb.UPLOAD_POST,),
        outcome=at_target("not-in-registry"),
    ),
    Row(
        what="404",
        fault="404",
        verbs=(Verb.MANIFEST_PUT,),
        outcome=at_target("manifest-not-found"),
    ),
    Row(
        what="404: the upload session is lost",
        fault="404",
        verbs=(Verb.UPLOAD_PATCH,),
        after=1,
        outcome=done(),
        why=WHOLE,
    ),
    Row(
        what="404: the upload session is lost",
        fault="404",
        verbs=(Verb.UPLOAD_CLOSE,),
        outcome=done(),
        why=WHOLE,
    ),
    Row(
        what="404: the upload session is lost",
        fault="404",
        verbs=(Verb.UPLOAD_STATUS,),
        outcome=done(),
        why="anew",
    ),
    Row(
        what="404, 416 to the first chunk",
        why="by PUT instead",
        fault="416",
        verbs=(Verb.UPLOAD_PATCH,),
        outcome=done(),
    ),
    Row(
        what="416 to a chunk",
        why="asks where it stands; not elsewhere: sends it whole",
        fault="416",
        verbs=(Verb.UPLOAD_PATCH,),
        after=2,
        outcome=done(),
    ),
    Row(
        what="416 to a range",
        fault="416",
        first=CUT_BLOB,
        after=2,
        verbs=(Verb.BLOB_GET,),
        outcome=done(),
    ),
    Row(
        what="the whole blob in answer to a range",
        why="and skips what it has",
        fault="no-range",
        first=CUT_BLOB,
        times=FOR_EVER,
        verbs=(Verb.BLOB_GET,),
        outcome=done(),
    ),
    Row(
        what="another range than asked for",
        why="asks for all",
        fault="lying-range",
        first=CUT_BLOB,
        after=2,
        verbs=(Verb.BLOB_GET,),
        outcome=done(),
    ),
    Row(
        what="Range that lies",
        fault="lying-range",
        times=FOR_EVER,
        verbs=(Verb.UPLOAD_POST, Verb.UPLOAD_PATCH),
        outcome=done(),
    ),
    Row(
        what="Range that lies",
        fault="lying-range",
        times=FOR_EVER,
        verbs=(Verb.UPLOAD_STATUS,),
        outcome=done(),
        why=WHOLE,
    ),
    Row(
        what="sent to a private address of another host",
        fault="elsewhere=http://127.0.0.2:9",
        verbs=(Verb.MANIFEST_HEAD, Verb.MANIFEST_GET, Verb.BLOB_GET),
        outcome=at_source("untrusted-address"),
    ),
    Row(
        what="sent to a private address of another host",
        fault="elsewhere=http://127.0.0.2:9",
        verbs=(Verb.UPLOAD_POST, Verb.UPLOAD_PATCH, Verb.UPLOAD_STATUS),
        outcome=at_target("untrusted-address"),
    ),
    Row(
        what="sent to a private address of another host",
        fault="elsewhere=http://127.0.0.2:9",
        verbs=(Verb.BLOB_HEAD,),
        outcome=done(),
        why="does not go there, and uploads it",
    ),
    Row(what="silence", fault="silence", verbs=(Verb.BLOB_GET,), outcome=done(2)),
    Row(what="slow drip", fault="drip", after=1, verbs=(Verb.BLOB_GET,), outcome=done(2)),
    Row(what="latency", fault="latency=0.02", times=FOR_EVER, verbs=EVERY, outcome=done()),
    Row(
        what="a narrow line",
        fault="bandwidth=4000000",
        times=FOR_EVER,
        verbs=(Verb.BLOB_GET, Verb.UPLOAD_PATCH),
        outcome=done(),
    ),
    Row(
        what="a Content-Encoding that nobody asked for",
        fault="encoded",
        verbs=(Verb.MANIFEST_GET,),
        outcome=at_source("protocol-error"),
    ),
    Row(
        what="a Content-Encoding that nobody asked for",
        fault="encoded",
        verbs=(Verb.TAGS_LIST,),
        outcome=done(),
        why=PAGE_AGAIN,
    ),
    Row(
        what="a Content-Encoding that nobody asked for",
        fault="encoded",
        verbs=(Verb.BLOB_GET,),
        outcome=done(),
    ),
)


def as_markdown() -> str:
    """The rows as a table, those of one fault together."""
    lines = ["| fault | request | what comes of it |", "|---|---|---|"]
    for what, rows in itertools.groupby(ROWS, key=lambda row: row.what):
        shown = what
        for row in rows:
            why = f" ({row.why})" if row.why else ""
            lines.append(f"| {shown} | {_named(row.verbs)} | {row.outcome}{why} |")
            shown = ""
    return "\n".join(lines)


def _named(verbs: tuple[Verb, ...]) -> str:
    """Kinds of requests in few words."""
    for name, group in (("any", EVERY), ("any read", READS), ("any write", WRITES)):
        missing = [verb for verb in group if verb not in verbs]
        if set(verbs) <= set(group) and len(missing) <= 2 and len(verbs) > 3:
            return f"{name} but {', '.join(missing)}" if missing else name
    return ", ".join(verbs)


def written_in(text: str) -> str:
    """*text* with the table between its markers."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{as_markdown()}\n\n{END}{after}"


if __name__ == "__main__":
    README.write_text(written_in(README.read_text()))
