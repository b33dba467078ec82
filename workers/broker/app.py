"""The Celery application, `transship.workers.broker.app:app`.

Messages carry ids and are late to be acknowledged, results are not kept, JSON is all that is
accepted: what a message means stands in SQL. A message that comes again after the visibility
timeout finds its row taken or done, and ends.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from celery import Celery
from kombu import Exchange
from kombu import Queue as KombuQueue

from transship.workers.broker import redis_transport
from transship.workers.broker.names import KEY_PREFIX, SUBMIT
from transship.workers.runtime.wire import Queue

VISIBILITY_SECONDS = 300


def _configuration() -> dict[str, Any]:
    """What Celery asks for when it is first used; to import this module has no effect."""
    redis_transport.install()
    return {
        "broker_url": os.environ.get("TRANSSHIP_BROKER_URL", "redis://127.0.0.1:6379/0"),
        "result_backend": None,
        "task_ignore_result": True,
        "task_serializer": "json",
        "accept_content": ["json"],
        "event_serializer": "json",
        "task_acks_late": True,
        "task_reject_on_worker_lost": True,
        "task_acks_on_failure_or_timeout": True,
        # An exchange of its own for each: on a shared one every message would reach every queue.
        "task_queues": [
            KombuQueue(name, Exchange(name), routing_key=name) for name in (*Queue, SUBMIT)
        ],
        "task_routes": {SUBMIT: {"queue": SUBMIT}},
        "task_default_queue": Queue.CONTROL.value,
        "task_create_missing_queues": False,
        "worker_prefetch_multiplier": 1,
        # Admission publishes what free threads can take; after a reconnect old tasks still run.
        "worker_enable_prefetch_count_reduction": False,
        "worker_consumer": "transship.workers.process.consumer:Consumer",
        "worker_hijack_root_logger": False,
        # Whoever can write to Redis could stop workers, or change what they do, past all of SQL.
        "worker_enable_remote_control": False,
        "worker_redirect_stdouts": False,
        # Half the cost of a task; who runs Flower turns them on, and those of jobs with them.
        "worker_send_task_events": False,
        "task_send_sent_event": False,
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        "broker_transport_options": {
            "global_keyprefix": KEY_PREFIX,
            "visibility_timeout": VISIBILITY_SECONDS,
            "unacked_restore_interval": 5,
            "unacked_restore_throttle": 1,
            "socket_keepalive": True,
            "socket_connect_timeout": 2,
            "socket_timeout": 3,  # a Redis that hangs is a lost connection
            "health_check_interval": 2,
        },
        "timezone": "UTC",
    }


app = Celery("transship", include=["transship.workers.process.tasks"], set_as_current=False)
app.add_defaults(_configuration)


def task(name: str) -> Callable[[Callable[..., None]], Any]:
    """Register a task body under a name that is part of the wire format. It has no options."""
    return app.task(name=name, acks_late=True, ignore_result=True)
