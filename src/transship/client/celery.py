"""Jobs for programs that have Celery: a message in Redis instead of a request over HTTP.

It needs no token and no address of a server, and arrives when a worker reads it. Who may write to
Redis may send it, so some kinds are not taken this way: what only admins may do, and what brings a
body.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID, uuid4

from celery import Celery
from celery.app.routes import Router
from kombu import Exchange, Producer, Queue
from kombu.pools import connections

from transship.client.errors import as_client_errors
from transship.store.errors import RequestError
from transship.workers.broker.names import KEY_PREFIX, SUBMIT
from transship.workers.specs import BROKER_KINDS, AnySpec, asked, parse_spec

__all__ = ["submit"]

_QUEUE = Queue(SUBMIT, Exchange(SUBMIT), routing_key=SUBMIT)


def submit(app: Celery, spec: AnySpec | Mapping[str, Any], *, id: str | UUID | None = None) -> str:  # noqa: A002 -- as the message has it
    """Send a job through *app*, whose broker is the Redis of Transship, and return the job's id.

    The message has the queue and the prefix of Transship, whatever *app* uses for its own; routes,
    serializer and compression of *app* do not apply, its retries and its transport options do. The
    job is accepted when its row exists: until then `Client.job` raises NotFoundError. The same *id*
    and spec twice make one job.

    Args:
        app: The application of the caller.
        spec: What to do: a spec of `transship.client`, or the JSON object that the API takes.
        id: A UUID for the job; by default a fresh one.

    Raises:
        InvalidRequestError: the spec cannot be done, or not for a message; or *id* is not a UUID,
            or the broker not a Redis. Nothing was sent.
        kombu.exceptions.OperationalError: Redis does not take the message.
    """
    with as_client_errors():
        wanted = parse_spec(spec) if isinstance(spec, Mapping) else spec
        _check(wanted)
        job = _canonical(id)
        connection = app.connection_for_write(transport_options={"global_keyprefix": KEY_PREFIX})
        if connection.transport.driver_type != "redis":
            raise RequestError(
                f"jobs are read from a Redis, and the broker is {connection.transport.driver_type}",
                subject="broker_url",
                hint="make a Celery application whose broker_url is TRANSSHIP_BROKER_URL",
            )
    options: dict[str, Any] = {
        "kwargs": {"id": job, "spec": asked(wanted)},
        "task_id": job,
        "kwargsrepr": repr({"id": job}),  # what the spec has may be a secret, as a signed URL
        "queue": _QUEUE,
        "router": Router(),
        "declare": [],  # a queue in Redis is there while it has messages
        "priority": 0,
        "serializer": "json",
        "ignore_result": True,
        "add_to_parent": False,
    }
    with connections[connection].acquire(block=True) as opened:
        app.send_task(SUBMIT, producer=_PlainProducer(opened, auto_declare=False), **options)
    return job


class _PlainProducer(Producer):
    """Sends messages as they are read; an application may compress those for its own workers."""

    def publish(self, body: Any, *args: Any, **options: Any) -> Any:
        """Send *body* without compression."""
        return super().publish(body, *args, **{**options, "compression": None})


def _check(spec: AnySpec) -> None:
    if spec.kind not in BROKER_KINDS or spec.body is not None:
        raise RequestError(
            f"a job of the kind {spec.kind!r} cannot be sent as a message"
            if spec.kind not in BROKER_KINDS
            else "its body cannot be sent as a message",
            subject=spec.kind,
            hint="ask for it over HTTP, with transship.client.Client",
        )


def _canonical(id_: str | UUID | None) -> str:
    try:
        return str(uuid4() if id_ is None else UUID(str(id_)))
    except ValueError:
        raise RequestError("not a UUID", subject=str(id_)) from None
