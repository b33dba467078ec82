"""Single roles: the API, or a worker, beside others on the same home.

`transship up` starts them as its children, and holds the home for all of them; started by hand
they share it.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable

from transship.api.access import owner_token
from transship.api.access.administration import Access
from transship.api.app import create_app
from transship.api.processes import locks
from transship.api.processes.locks import SOCKET
from transship.api.processes.server import DRAIN_SECONDS, Server, address_of, bind_tcp, bind_unix
from transship.store.errors import StoreError
from transship.store.home import prepare_home
from transship.store.settings import Settings
from transship.workers.broker.celery_wire import CeleryWire
from transship.workers.process.bootstrap import make_context, open_catalog, write_defaults
from transship.workers.runtime import logs
from transship.workers.runtime.wire import Queue

CHILD_VARIABLE = "TRANSSHIP_CHILD_OF"  # set by `up`, whose lock covers its children
TASK_EVENTS_VARIABLE = "TRANSSHIP_TASK_EVENTS"  # set by `up` where it runs Flower
LISTENER_VARIABLE = "TRANSSHIP_LISTENER_FD"  # a bound socket that `up` hands over


def run_api(settings: Settings) -> None:
    """Serve the API until a signal comes."""
    logs.to_stderr(settings.log, settings.log_format)
    child = CHILD_VARIABLE in os.environ
    prepare_home(settings.home)
    lock = None if child else locks.engine_shared(settings.run_dir, kind="api")
    catalog = open_catalog(settings)
    if child:
        listener = socket.socket(fileno=int(os.environ[LISTENER_VARIABLE]))
    else:
        listener = bind_tcp(settings.listen_host, settings.listen_port)
        write_defaults(catalog, settings)
    # What it cancels, and what it receives, is shown as its work.
    shown_as = f"transship-api@{socket.gethostname()}" if _task_events() else None
    wire = CeleryWire(_broker(settings), shown_as=shown_as)
    context = make_context(settings, catalog, wire)
    logs.started(
        "api",
        address=address_of(listener),
        home=settings.home,
        database=catalog.name,
        broker=wire.broker,
    )
    owner_token.make_first(settings.home, Access(catalog, context.sealer))
    listeners = [listener]
    if child:  # only one can have the home's socket
        listeners.append(bind_unix(settings.run_dir / SOCKET))
    try:
        server = Server(create_app(context), listeners)
        # What `up` stops is all there is on this home: nobody could go elsewhere.
        server.run(drain_seconds=0.0 if child else DRAIN_SECONDS)
    finally:
        wire.close()
        context.close()
        if lock is not None:
            lock.close()


def run_worker(settings: Settings, queues: Iterable[Queue]) -> int:
    """Run a Celery worker until a signal comes. Returns the exit code."""
    from transship.workers.process.process import run  # noqa: PLC0415 -- Celery, which the API role needs not

    logs.to_stderr(settings.log, settings.log_format)
    child = CHILD_VARIABLE in os.environ
    prepare_home(settings.home)
    lock = None if child else locks.engine_shared(settings.run_dir, kind="worker")
    open_catalog(settings).close()  # a wrong schema is said here, in one sentence
    try:
        return run(
            queues,
            broker_url=_broker(settings),
            task_events=_task_events(),
        )
    finally:
        if lock is not None:
            lock.close()


def _task_events() -> bool:
    """Whether monitors are told of tasks and jobs."""
    return bool(os.environ.get(TASK_EVENTS_VARIABLE))


def _broker(settings: Settings) -> str:
    if settings.broker_url is None:
        raise StoreError(
            "this role needs a broker",
            subject="TRANSSHIP_BROKER_URL",
            hint="set it to redis://HOST:PORT/DB, or run `transship up`",
        )
    return settings.broker_url.get_secret_value()
