"""Celery's consumer, which reconnects quickly and ends the process when it cannot go on."""

from __future__ import annotations

import logging
import time
from typing import Any

from celery.worker import consumer as celery_consumer
from celery.worker.state import maybe_shutdown

from transship.workers.broker.redis_transport import Transport, link
from transship.workers.process import process

log = logging.getLogger(__name__)

RETRY_SECONDS = 0.5  # between two attempts to connect; each may take a socket timeout, too


class Consumer(celery_consumer.Consumer):
    """See the module."""

    _reported = ""  # why the broker could not be reached

    def start(self) -> None:
        """Consume until the worker stops. What cannot be mended by reconnecting ends the worker."""
        try:
            super().start()
        except Exception:
            link.lost()
            process.consumer_ended()
            raise

    def on_ready(self) -> None:
        """Report the connection before Celery reports the worker."""
        link.heard()
        if self._reported:
            self._reported = ""
            log.warning("connected to the broker again")
        super().on_ready()

    def ensure_connected(self, conn: Any) -> Any:
        """Connect, trying again at short intervals for as long as it takes."""
        conn.ensure_connection(
            self._cannot_connect,
            interval_start=RETRY_SECONDS,
            interval_step=0,
            interval_max=RETRY_SECONDS,
            callback=maybe_shutdown,
        )
        self.first_connection_attempt = False
        return conn

    def on_connection_error_before_connected(self, exc: Exception) -> None:
        """Report the loss, and pause before the next attempt."""
        self._cannot_connect(exc)
        time.sleep(RETRY_SECONDS)

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        """Report the loss, clean up, and pause before the next attempt.

        A replica lets us connect and refuses the first command, so this may happen in a row.
        """
        link.lost()
        super().on_connection_error_after_connected(exc)
        self._reported = str(exc)
        time.sleep(RETRY_SECONDS)

    def on_decode_error(self, message: Any, exc: Exception) -> None:
        """Keep a message that cannot be decoded where operators see it."""
        self._set_aside(message)

    def on_unknown_message(self, body: Any, message: Any) -> None:
        """Keep what is not a task message where operators see it."""
        self._set_aside(message)

    def on_unknown_task(self, body: Any, message: Any, exc: Exception) -> None:
        """Keep a message for a task that does not exist where operators see it."""
        self._set_aside(message)

    def on_invalid_task(self, body: Any, message: Any, exc: Exception) -> None:
        """Keep a message that Celery refuses where operators see it."""
        self._set_aside(message)

    def _set_aside(self, message: Any) -> None:
        process.current().submissions.set_aside(message._raw)  # noqa: SLF001 -- as kombu's QoS does
        message.ack_log_error(log, Transport.connection_errors)

    def _cannot_connect(self, error: Exception, *_: Any) -> None:
        link.lost()
        if str(error) != self._reported:  # once, and not at each attempt
            self._reported = str(error)
            log.warning("cannot connect to the broker, retrying: %s", error)
