"""One idempotent function a kind of job: plain, or a generator of needs (`steps.needs`).

It looks at what is there, does what is missing, and stops when it waits. Running it twice, late,
or after a crash changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from transship.store.catalog.scheduling.jobs import JobLease
from transship.workers.handlers import (
    commit,
    copy,
    export,
    fsck,
    gc,
    import_,
    load,
    mirror,
    prune,
    pull,
    push,
    squash,
    workspace,
)
from transship.workers.runtime.context import WorkerContext
from transship.workers.runtime.leases import LeaseMonitor
from transship.workers.steps.needs import Steps
from transship.workers.steps.outcome import Outcome

# One for each kind in `specs.KINDS`.
HANDLERS: Final[
    Mapping[str, Callable[[JobLease, WorkerContext, LeaseMonitor], Outcome | Steps[Outcome]]]
] = {
    "pull": pull.advance,
    "push": push.advance,
    "copy": copy.advance,
    "mirror": mirror.advance,
    "load": load.advance,
    "import": import_.advance,
    "export": export.advance,
    "squash": squash.advance,
    "workspace": workspace.advance,
    "commit": commit.advance,
    "prune": prune.advance,
    "gc": gc.advance,
    "fsck": fsck.advance,
}
