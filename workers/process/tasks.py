"""The tasks: each hands over to the worker of its process, and decides nothing.

Names are part of the wire format. The first argument is the id of a row. `transship.submit`, which
other services send, is not among them: `transship.workers.broker.submissions` stores it.
"""

from __future__ import annotations

from transship.workers.broker.app import task
from transship.workers.process import process
from transship.workers.runtime.wire import Message, Queue


def _run(queue: Queue, name: str, id_: str) -> None:
    process.current().worker.run(Message(queue, name, id_, ""))


@task("transship.pull")
def pull(id_: str) -> None:
    """Advance a pull."""
    _run(Queue.CONTROL, "transship.pull", id_)


@task("transship.push")
def push(id_: str) -> None:
    """Advance a push."""
    _run(Queue.CONTROL, "transship.push", id_)


@task("transship.copy")
def copy(id_: str) -> None:
    """Advance a copy."""
    _run(Queue.CONTROL, "transship.copy", id_)


@task("transship.mirror")
def mirror(id_: str) -> None:
    """Advance a mirror."""
    _run(Queue.CONTROL, "transship.mirror", id_)


@task("transship.commit")
def commit(id_: str) -> None:
    """Advance a commit."""
    _run(Queue.LOCAL, "transship.commit", id_)


@task("transship.load")
def load(id_: str) -> None:
    """Advance a load."""
    _run(Queue.LOCAL, "transship.load", id_)


@task("transship.import")
def import_(id_: str) -> None:
    """Advance an import."""
    _run(Queue.LOCAL, "transship.import", id_)


@task("transship.export")
def export(id_: str) -> None:
    """Advance an export."""
    _run(Queue.LOCAL, "transship.export", id_)


@task("transship.squash")
def squash(id_: str) -> None:
    """Advance a squash."""
    _run(Queue.LOCAL, "transship.squash", id_)


@task("transship.prune")
def prune(id_: str) -> None:
    """Advance a prune."""
    _run(Queue.LOCAL, "transship.prune", id_)


@task("transship.gc")
def gc(id_: str) -> None:
    """Collect."""
    _run(Queue.LOCAL, "transship.gc", id_)


@task("transship.fsck")
def fsck(id_: str) -> None:
    """Check the store."""
    _run(Queue.LOCAL, "transship.fsck", id_)


@task("transship.download")
def download(id_: str) -> None:
    """Make an attempt at a download."""
    _run(Queue.DOWNLOADS, "transship.download", id_)


@task("transship.upload")
def upload(id_: str) -> None:
    """Make an attempt at an upload."""
    _run(Queue.UPLOADS, "transship.upload", id_)
