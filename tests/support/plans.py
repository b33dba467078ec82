"""Reads the plan of every statement that goes through a catalog, and says which of them scan.

A statement is run once more before it runs in earnest, with the same values and inside a savepoint
that is rolled back, because only a run tells how many rows were read.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import event

from transship.store.catalog.db.engine import Catalog

# What grows with the work that was ever done, or with what is queued.
GROWING = frozenset(
    {
        "blob_sources",
        "blobs",
        "credentials",
        "derivations",
        "edges",
        "events",
        "image_events",
        "image_references",
        "images",
        "job_children",
        "jobs",
        "layers",
        "leases",
        "lineage",
        "mirror_runs",
        "targets",
        "transfers",
        "waits",
    }
)
MAX_UNWANTED = 100  # rows read beyond those returned or changed
EXPLAINED = 3  # times each statement is looked at: other values may have another plan

# Steps of SQLite's virtual machine. A row of the widest table that is changed with all its indexes
# takes about 250; one that is looked at and passed over, with what belongs to it, at most 40.
_STEPS_A_ROW = 300
_STEPS_PASSED_OVER = 40
_EVERY = 10  # steps between two calls of the handler that counts


@dataclass(frozen=True, slots=True)
class Finding:
    """A statement that reads what it does not want."""

    step: str
    database: str
    statement: str
    reason: str

    def __str__(self) -> str:
        """As a failing test shows it."""
        return f"[{self.database}] {self.step}: {self.reason}\n    {self.statement}"


@dataclass(frozen=True, slots=True)
class Allowed:
    """An exception for statements that contain *statement*: they may read so many rows."""

    statement: str
    most_rows: int
    reason: str


@dataclass
class PlanReader:
    """Looks at what a catalog executes while it is `watching`.

    Attributes:
        step: What the statements belong to, for messages.
        found: What scans, once for each statement and reason.
        seen: How often each statement was executed.
    """

    catalog: Catalog
    allowed: Sequence[Allowed] = ()
    step: str = ""
    found: list[Finding] = field(default_factory=list)
    seen: Counter[str] = field(default_factory=Counter)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Look at every statement of the block."""
        database: Any = self.catalog._database
        engines = (database._writer, database._reader)
        for engine in engines:
            event.listen(engine, "before_cursor_execute", self._before)
        try:
            yield
        finally:
            for engine in engines:
                event.remove(engine, "before_cursor_execute", self._before)

    def _before(
        self,
        connection: Any,
        cursor: Any,
        statement: str,
        parameters: Any,
        context: Any,
        executemany: bool,
    ) -> None:
        name = _normal(statement)
        verb = name.split(maxsplit=1)[0].upper()
        tables = _tables(statement)
        if verb not in ("SELECT", "INSERT", "UPDATE", "DELETE", "WITH"):
            return
        if not GROWING & set(tables.values()):
            return
        self.seen[name] += 1
        if self.seen[name] > EXPLAINED:
            return
        # Of many sets of values for one statement, the first; rows of one INSERT are one set.
        several = executemany and isinstance(parameters, list)
        values = parameters[0] if several else parameters
        raw = connection.connection.dbapi_connection
        postgresql = connection.dialect.name == "postgresql"
        read = _of_postgresql if postgresql else _of_sqlite
        spare = len(values) + max(
            (one.most_rows for one in self.allowed if one.statement in name),
            default=MAX_UNWANTED,
        )
        for reason in read(raw, statement, values, tables, spare):
            finding = Finding(self.step, connection.dialect.name, name, reason)
            if not any(
                old.statement == name and _kind(old.reason) == _kind(reason) for old in self.found
            ):
                self.found.append(finding)


def _of_postgresql(
    raw: Any, statement: str, values: Any, tables: dict[str, str], spare: int
) -> Iterator[str]:
    """What is wrong with the plan of a statement on PostgreSQL, which was run to see it."""
    explain = f"EXPLAIN (ANALYZE, BUFFERS OFF, FORMAT JSON) {statement}"
    with raw.cursor() as cursor:
        cursor.execute("SAVEPOINT rehearsal")
        try:
            cursor.execute(explain, values)
            (found,) = cursor.fetchone()
        finally:
            cursor.execute("ROLLBACK TO SAVEPOINT rehearsal")
            cursor.execute("RELEASE SAVEPOINT rehearsal")
    plan = (json.loads(found) if isinstance(found, str) else found)[0]["Plan"]
    read = 0
    where: Counter[str] = Counter()
    for node in _nodes(plan):
        table = node.get("Relation Name")
        if table not in GROWING or "Scan" not in node["Node Type"]:
            continue
        rows = round(node["Actual Loops"] * _rows_of(node))
        read += rows
        where[f"{node['Node Type']} of {table} by {node.get('Index Name', 'nothing')}"] += rows
        if node["Node Type"] == "Seq Scan":
            yield f"Seq Scan of {table}"
    wanted = _wanted(plan)
    if read > wanted + spare:
        most = ", ".join(f"{rows} by {what}" for what, rows in where.most_common(2))
        yield f"rows read: {read} for {wanted} wanted: {most}"


def _rows_of(node: dict[str, Any]) -> float:
    return float(
        node["Actual Rows"]
        + node.get("Rows Removed by Filter", 0)
        + node.get("Rows Removed by Index Recheck", 0)
    )


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for below in plan.get("Plans", ()):
        yield from _nodes(below)


def _wanted(plan: dict[str, Any]) -> int:
    """Rows that a statement returns or changes."""
    if plan["Node Type"] != "ModifyTable":
        return int(plan["Actual Rows"])
    below = [one for one in plan["Plans"] if one.get("Parent Relationship") == "Outer"]
    return max(int(one["Actual Rows"] * one["Actual Loops"]) for one in below)


def _of_sqlite(
    raw: Any, statement: str, values: Any, tables: dict[str, str], spare: int
) -> Iterator[str]:
    """What is wrong with the plan of a statement on SQLite, and with how long it took."""
    partial = _partial_indexes(raw)
    for *_, line in raw.execute(f"EXPLAIN QUERY PLAN {statement}", values).fetchall():
        scan = re.match(r"SCAN (\w+)(?: USING (?:COVERING )?INDEX (\w+))?", line)
        # A partial index may be small, whatever its table has: the steps tell.
        if scan and tables.get(scan[1], scan[1]) in GROWING and scan[2] not in partial:
            yield line
    steps = 0

    def count() -> int:
        nonlocal steps
        steps += _EVERY
        return 0

    raw.execute("SAVEPOINT rehearsal")
    raw.set_progress_handler(count, _EVERY)
    try:
        cursor = raw.execute(statement, values)
        rows = len(cursor.fetchall())
        wanted = max(rows, cursor.rowcount)
    finally:
        raw.set_progress_handler(None, 0)
        raw.execute("ROLLBACK TO rehearsal")
        raw.execute("RELEASE rehearsal")
    most = _STEPS_A_ROW * wanted + _STEPS_PASSED_OVER * spare
    if steps > most:
        yield f"steps: {steps} for {wanted} rows wanted, at most {most}"


def _partial_indexes(raw: Any) -> set[str]:
    query = "SELECT name FROM sqlite_master WHERE type = 'index' AND sql LIKE '%WHERE%'"
    return {name for (name,) in raw.execute(query)}


# --- statements ----------------------------------------------------------------------------------


def _normal(statement: str) -> str:
    """A statement as one line, the same for lists of any length."""
    line = " ".join(statement.split())
    line = re.sub(r"%\((\w+?)(?:_\d+)*(?:__\d+)?\)s(::[\w ()]+?)?(?=[ ,)]|$)", r"?", line)
    line = re.sub(r"\?(?:, \?)+", "?, …", line)
    return re.sub(r"\(\?, …\)(?:, \(\?, …\))+", "(?, …), …", line)


def _tables(statement: str) -> dict[str, str]:
    """The tables of a statement, by the names that they have in it."""
    named = dict.fromkeys(re.findall(r"\b(\w+)\b", statement))
    tables = {name: name for name in named if name in GROWING}
    aliases = re.findall(r"\b(\w+) AS (\w+)", statement)
    return tables | {alias: table for table, alias in aliases if table in GROWING}


def _kind(reason: str) -> str:
    return re.sub(r"\d+", "", reason)


def report(found: Sequence[Finding]) -> str:
    """All that was found, a paragraph each."""
    return "\n".join(map(str, found))
