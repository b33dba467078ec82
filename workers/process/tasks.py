"""The tasks: each hands over to the worker of its process, and decides nothing.

There is one for batches of jobs, and one for each direction of transfers. Names are part of the
wire format; the argument is the id of a row. `transship.submit`, which other services send, is not
among them: `broker.submissions` stores it.
"""

from __future__ import annotations

from transship.workers.broker.app import task
from transship.workers.process import process
from transship.workers.runtime.wire import DISPATCH, Message, Queue
from transship.workers.specs import KINDS


def _make_task(name: str, queue: Queue) -> None:
    @task(name)
    def run(id_: str) -> None:
        process.current().worker.run(Message(queue, name, id_, ""))


_make_task(DISPATCH, Queue.CONTROL)
# What an older version has sent: Redis may hold it during an upgrade. To go with the next release.
for _kind, _spec in KINDS.items():
    _make_task(f"transship.{_kind}", Queue.of(_spec.queue))
_make_task("transship.download", Queue.DOWNLOADS)
_make_task("transship.upload", Queue.UPLOADS)
