"""Reads what there is to tell of a pull or a push in Docker's words; nothing is stored for it."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Row, select

from transship.api.views.docker_progress import DockerProgress, JobSnapshot, Line, Moving
from transship.store.catalog.db.schema import jobs as jobs_table
from transship.store.catalog.db.schema import transfers, waits
from transship.store.catalog.scheduling import events, jobs
from transship.store.errors import RequestError
from transship.workers.specs import PullSpec, PushSpec, parse_spec

MAX_CHILDREN = 100  # told of at a time


class DockerStream:
    """Tells a job from its beginning; of all tags one after the other, as they were listed."""

    def __init__(self, row: Row[Any]) -> None:
        """Begin with nothing told.

        Raises:
            RequestError: there are no such words for jobs of this kind.
        """
        spec = parse_spec(row.spec)
        if not isinstance(spec, PullSpec | PushSpec):
            raise RequestError(
                "only a pull or a push can be told in Docker's words",
                subject="format",
                hint="leave the format out",
            )
        self._job = str(row.id)
        self._all_tags = spec.all_tags
        self._progress = _JobLines(row)
        self._child: _JobLines | None = None
        self._last_seq = 0  # the seq of the last child that was begun

    def new_lines(self, connection: Connection) -> tuple[list[Line], bool]:
        """What is new, and whether there is nothing more to come."""
        row = jobs.get(connection, self._job)
        if row is None:
            return [], True
        if not self._all_tags:
            return self._progress.new_lines(connection, row), row.state in jobs.ENDED
        lines = self._progress.new_lines(connection, row, to_the_end=False)
        of_children, all_told = self._children(connection)
        lines += of_children
        if all_told and row.state in jobs.ENDED:
            return [*lines, *self._progress.new_lines(connection, row)], True
        return lines, False

    def _children(self, connection: Connection) -> tuple[list[Line], bool]:
        lines: list[Line] = []
        for _ in range(MAX_CHILDREN):
            row = self._current(connection)
            if row is None:
                return lines, True
            assert self._child is not None
            lines += self._child.new_lines(connection, row)
            if row.state not in jobs.ENDED:
                return lines, False
            self._child = None
        return lines, False

    def _current(self, connection: Connection) -> Row[Any] | None:
        """The child to tell of: the one begun, or the next."""
        if self._child is not None:
            return jobs.get(connection, self._child.id)
        row = connection.execute(
            select(jobs_table)
            .where(jobs_table.c.parent == self._job, jobs_table.c.seq > self._last_seq)
            .order_by(jobs_table.c.seq)
            .limit(1)
        ).one_or_none()
        if row is not None:
            self._child, self._last_seq = _JobLines(row, alone=False), row.seq
        return row


class _JobLines:
    """The progress of a job, and how far the events of its job have been read."""

    def __init__(self, row: Row[Any], *, alone: bool = True) -> None:
        spec = parse_spec(row.spec)
        assert isinstance(spec, PullSpec | PushSpec)
        self.id = str(row.id)
        self._direction = "download" if isinstance(spec, PullSpec) else "upload"
        self._progress = DockerProgress(spec, alone=alone)
        self._after = 0

    def new_lines(
        self, connection: Connection, row: Row[Any], *, to_the_end: bool = True
    ) -> list[Line]:
        new = events.of_job(connection, self.id, after=self._after)
        self._after = new[-1].id if new else self._after
        moving = connection.execute(
            select(transfers.c.digest, transfers.c.state, transfers.c.size, transfers.c.bytes_done)
            .join(waits, waits.c.transfer == transfers.c.id)
            .where(waits.c.job == self.id, transfers.c.direction == self._direction)
            .order_by(transfers.c.id)
        )
        snapshot = JobSnapshot(
            state=row.state if to_the_end else "running",
            checkpoint=row.checkpoint or {},
            result=row.result or {},
            error=row.error,
            superseded=row.superseded_by is not None,
            transfers={one.digest: Moving(one.state, one.size, one.bytes_done) for one in moving},
            new=new,
        )
        return list(self._progress.tell(snapshot))
