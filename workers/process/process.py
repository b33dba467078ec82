"""The worker of a Celery process, and how such a process is run."""

from __future__ import annotations

import logging
import os
import threading
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from celery.exceptions import SecurityWarning
from celery.signals import worker_init, worker_ready, worker_shutdown, worker_shutting_down

from transship.store.catalog.scheduling.heartbeats import Threads
from transship.store.errors import StoreError
from transship.store.oci.platform import Platform
from transship.store.settings import Settings
from transship.workers.broker.app import app
from transship.workers.broker.celery_wire import CeleryWire
from transship.workers.broker.incoming import Rights
from transship.workers.broker.redis_rates import RedisBuckets
from transship.workers.broker.redis_transport import Client, link
from transship.workers.broker.submissions import Submissions
from transship.workers.jobs.service import JobService
from transship.workers.process import interpreter
from transship.workers.process.bootstrap import make_context, open_catalog
from transship.workers.process.worker import HAND_BACK_SECONDS, Worker, threads_for
from transship.workers.runtime import logs
from transship.workers.runtime.context import WorkerContext
from transship.workers.runtime.wire import Queue

log = logging.getLogger(__name__)

CLOSING_SECONDS = 2.0  # for the rest of an orderly end, when nothing is held any more
QUEUES_VARIABLE = "TRANSSHIP_WORKER_QUEUES"  # how `run` tells the signal handlers


@dataclass(frozen=True, slots=True)
class Process:
    """What a worker process consists of."""

    context: WorkerContext
    wire: CeleryWire
    worker: Worker
    submissions: Submissions


_current: Process | None = None
_left = threading.Event()
_exit_code = 0


def open_worker(settings: Settings, shown_as: str | None) -> None:
    """Make the worker of this process, which monitors know as *shown_as*; None: it has none."""
    global _current  # noqa: PLW0603 -- Celery calls tasks by name, with no place for a context
    wire = CeleryWire(_broker(settings), shown_as=shown_as)
    buckets = RedisBuckets(_broker(settings))
    context = make_context(settings, open_catalog(settings), wire, buckets)
    names = os.environ.get(QUEUES_VARIABLE, "")
    logs.started(
        "worker",
        queues=names,
        home=settings.home,
        database=context.catalog.name,
        broker=wire.broker,
    )
    queues = {Queue(name) for name in names.split(",") if name} or set(Queue)
    submissions = Submissions(
        _broker(settings),
        context.catalog,
        JobService(context.catalog, context.sealer, wire, Platform.host()),
        wire,
        rights=Rights.of(settings),
        tasks=frozenset(name for name in app.tasks if name.startswith("transship.")),
        queues=frozenset(queues),
        consumes=Queue.CONTROL in queues,
    )
    Client.admits = submissions.admits
    _current = Process(
        context=context,
        wire=wire,
        worker=Worker(context, threads_for(queues), connected=link.is_up),
        submissions=submissions,
    )


def current() -> Process:
    """The worker of this process.

    Raises:
        RuntimeError: this process is none.
    """
    if _current is None:
        raise RuntimeError("no worker runs in this process")
    return _current


def close_worker() -> None:
    """Leave, after the pool has ended its tasks."""
    global _current
    if _current is not None:
        process, _current = _current, None
        process.submissions.stop()
        process.worker.stop()
        process.wire.close()
        process.context.close()
        _left.set()


@contextmanager
def _or_exit() -> Iterator[None]:
    """End the process where it cannot become a worker.

    Celery logs what its signals' handlers raise and goes on: such a process would take messages
    and do nothing about them.
    """
    try:
        yield
    except Exception as error:  # noqa: BLE001 -- whatever it is, this is no worker
        log.critical("this process cannot become a worker: %s", error)
        logging.shutdown()
        os._exit(1)  # it holds nothing yet, and Celery would have its threads end first


@worker_init.connect
def _open(sender: Any = None, **_: Any) -> None:
    with _or_exit():
        shown = getattr(sender, "task_events", None)
        open_worker(Settings.load(), sender.hostname if shown else None)


@worker_ready.connect
def _start(**_: Any) -> None:
    interpreter.settle()
    with _or_exit():
        current().worker.start()
        current().submissions.start()


@worker_shutting_down.connect
def _hand_back(**_: Any) -> None:
    # This is a signal's handler, in the middle of whatever the main thread does.
    _leave_in_background(exit_code=0)


def consumer_ended() -> None:
    """Hand back what is held: nothing more arrives, and Celery waits for its tasks to end."""
    log.critical("the consumer of messages has failed, this worker ends")
    _leave_in_background(exit_code=1)


def _leave_in_background(exit_code: int) -> None:
    here = current()
    here.submissions.request_stop()
    threading.Thread(
        target=_see_to_the_end, args=(here.worker, exit_code), name="leaving", daemon=True
    ).start()


def _see_to_the_end(worker: Worker, exit_code: int) -> None:
    """Leave in good time: Celery waits for its threads, and for Redis, however long it takes."""
    if worker.leave(HAND_BACK_SECONDS) and _left.wait(CLOSING_SECONDS):
        return
    try:
        worker.stop()
    except StoreError as error:
        log.warning("this worker is known until its lease expires: %s", error)
    logging.shutdown()
    os._exit(exit_code)  # threads that are stuck would keep any other exit waiting


@worker_shutdown.connect
def _stop(sender: Any = None, **_: Any) -> None:
    global _exit_code  # noqa: PLW0603 -- Celery's `worker_main` drops it
    _exit_code = getattr(sender, "exitcode", None) or 0
    close_worker()


def run(
    queues: Iterable[Queue],
    *,
    broker_url: str,
    log_level: str = "WARNING",
    task_events: bool = False,
) -> int:
    """Run a Celery worker for *queues* in this process until it is told to stop.

    Returns the exit code: not 0 where the worker could not go on.

    With *task_events* it tells monitors of its tasks and jobs; else nobody, for remote control is
    off, by which Flower would ask.
    """
    chosen = list(queues)
    threads = threads_for(set(chosen))
    os.environ[QUEUES_VARIABLE] = ",".join(queue.value for queue in chosen)
    app.conf.update(broker_url=broker_url)
    # Tasks carry ids, not code, and run as whoever started us: root is not refused.
    warnings.filterwarnings("ignore", category=SecurityWarning)
    main: Any = app.worker_main  # it returns, whatever its stubs say
    main(
        [
            "--quiet",
            "worker",
            "--pool=threads",
            f"--concurrency={_total(threads)}",
            f"--queues={os.environ[QUEUES_VARIABLE]}",
            f"--hostname=transship-{os.getpid()}@%h",
            f"--loglevel={log_level}",
            "--without-gossip",
            "--without-mingle",
            *(["--task-events"] if task_events else []),
        ]
    )
    return _exit_code


def _total(threads: Threads) -> int:
    """One pool serves all queues.

    None can keep the others waiting: admission never lets a queue hold more than its threads.
    """
    return threads.control + threads.downloads + threads.uploads + threads.local


def _broker(settings: Settings) -> str:
    if settings.broker_url is None:
        raise StoreError(
            "a standalone worker needs a broker",
            subject="TRANSSHIP_BROKER_URL",
            hint="set it to redis://HOST:PORT/DB, or run `transship up`",
        )
    return settings.broker_url.get_secret_value()
