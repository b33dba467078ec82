"""When something is due, told by a wall clock that may jump.

A time to come is stored with the delay that led to it. It is due when it has passed, or when it
lies so much further ahead than the delay allows that the clock must have been set back. Small
differences do not count: a database that fails over to another host goes on with that host's clock.
"""

from __future__ import annotations

from sqlalchemy import BindParameter, ColumnElement, bindparam, or_

SKEW_SECONDS = 120.0  # a clock that differs by less was not set back

NOW: BindParameter[float] = bindparam("now")  # for statements that are built once


def is_due(until: float, delay: float, now: float) -> bool:
    """Tell of values that were read what `due` says of columns."""
    return until <= now or until - delay > now + SKEW_SECONDS


def due(
    until: ColumnElement[float],
    delay: ColumnElement[float] | float,
    now: float | BindParameter[float],
) -> ColumnElement[bool]:
    """The condition that *until*, set *delay* seconds ahead, is due at *now*."""
    return or_(until <= now, until - delay > now + SKEW_SECONDS)
