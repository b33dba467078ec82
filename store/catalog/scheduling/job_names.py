"""Finds jobs by a part of their id, and the newest of somebody's.

No look reads more than a bounded number of rows of an index. A beginning is found among all jobs,
for ids sort by it; an end only among the newest, for nothing sorts by that.
"""

from __future__ import annotations

import re
from typing import Final

from sqlalchemy import Connection, select, text

from transship.store.catalog.db.schema import JOB_TOP, jobs

ID_CHARS: Final = 36
MAX_NEWEST: Final = 1000  # jobs that are nobody's child, looked at for an end
MAX_PARENTS: Final = 20  # of these, whose children are looked at too, so many of each
MAX_IN_RANGE: Final = 10_000  # jobs of all with a beginning, where not all may be seen
_PART: Final = re.compile(r"[0-9a-f-]{4,35}")  # shorter ones are slips of the hand
_LOWEST: Final = "00000000-0000-0000-0000-000000000000"
_HIGHEST: Final = "ffffffff-ffff-ffff-ffff-ffffffffffff"


def newest(connection: Connection, requester: str) -> str | None:
    """The newest job that *requester* asked for, no child; None where there is none."""
    return connection.execute(
        select(jobs.c.id)
        .where(text(JOB_TOP), jobs.c.requester == requester)
        .order_by(jobs.c.requester.desc(), jobs.c.seq.desc())
        .limit(1)
    ).scalar()


def matching(connection: Connection, part: str, requester: str | None, *, limit: int) -> list[str]:
    """The ids that begin or end with *part*, at most *limit*; None of another's than *requester*.

    Without a requester, jobs of all. What is no part of an id matches nothing, and so does what is
    shorter than four characters.
    """
    wanted = part.lower()
    if not _PART.fullmatch(wanted):
        return []
    found = dict.fromkeys(_beginning(connection, wanted, requester, limit))
    top = _newest(connection, requester)
    found |= dict.fromkeys(one for one in top if one.startswith(wanted) or one.endswith(wanted))
    for parent in top[:MAX_PARENTS]:
        if len(found) >= limit:
            break
        found |= dict.fromkeys(one for one in _children(connection, parent) if one.endswith(wanted))
    return list(found)[:limit]


def _beginning(connection: Connection, part: str, requester: str | None, limit: int) -> list[str]:
    if any((a == "-") != (b == "-") for a, b in zip(part, _LOWEST, strict=False)):
        return []
    # Bounds as long as ids, with hyphens at the same places: every collation sorts these alike.
    low, high = part + _LOWEST[len(part) :], part + _HIGHEST[len(part) :]
    span = (
        select(jobs.c.id, jobs.c.requester)
        .where(jobs.c.id >= low, jobs.c.id <= high)
        .order_by(jobs.c.id.desc())
    )
    if requester is None:
        return list(connection.execute(span.limit(limit)).scalars())
    bounded = span.limit(MAX_IN_RANGE).subquery()
    query = select(bounded.c.id).where(bounded.c.requester == requester).limit(limit)
    return list(connection.execute(query).scalars())


def _newest(connection: Connection, requester: str | None) -> list[str]:
    query = select(jobs.c.id).where(text(JOB_TOP))
    if requester is None:
        query = query.order_by(jobs.c.seq.desc())
    else:
        query = query.where(jobs.c.requester == requester)
        query = query.order_by(jobs.c.requester.desc(), jobs.c.seq.desc())
    return list(connection.execute(query.limit(MAX_NEWEST)).scalars())


def _children(connection: Connection, parent: str) -> list[str]:
    query = select(jobs.c.id).where(jobs.c.parent == parent)
    query = query.order_by(jobs.c.parent.desc(), jobs.c.seq.desc()).limit(MAX_NEWEST)
    return list(connection.execute(query).scalars())
