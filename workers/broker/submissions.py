"""Stores the jobs that other services send as `transship.submit`.

Such a message is the only copy of a job until its row exists. So it is not taken from its queue and
acknowledged later, as Celery does: it is read where it lies, and removed after the commit. A worker
or a database that goes away loses nothing, and what is stored twice is stored once, by its id.

One worker at a time stores, by a lock in Redis; that only saves work, and may be lost.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Sequence
from typing import Any
from uuid import uuid4

import redis
from kombu.utils.json import dumps

from transship.store.catalog.db.engine import Catalog
from transship.store.catalog.scheduling import jobs, rejections
from transship.store.errors import InternalError, StoreError, TransshipError
from transship.workers.broker.incoming import (
    REQUESTER,
    Invalid,
    Rights,
    Unusable,
    invalid,
    is_runnable,
    read,
)
from transship.workers.broker.names import KEY_PREFIX, SUBMIT
from transship.workers.broker.redis_client import impatient_redis
from transship.workers.jobs.service import JobService
from transship.workers.jobs.submission import Submission, known
from transship.workers.runtime import logs, task_events
from transship.workers.runtime.wire import TaskEvent, Wire
from transship.workers.specs import as_json

log = logging.getLogger(__name__)

FEWEST_TOGETHER = 16  # messages a transaction: fewer would not make one shorter
MAX_TOGETHER = 256
TRANSACTION_SECONDS = 0.1  # that other writers wait for; fewer messages go together if it is more
LONGEST_PAUSE_SECONDS = 5.0
_LOCK_SECONDS = 30
_IDLE_SECONDS = 1.0  # how long one look into an empty queue waits for a message
_TURN_SECONDS = 0.1  # while another worker stores
_FORWARD_TIMEOUT_SECONDS = 1.0

_QUEUE = f"{KEY_PREFIX}{SUBMIT}"
# Kombu keeps messages of other priorities in lists of their own.
_LISTS = (_QUEUE, *(f"{_QUEUE}\x06\x16{priority}" for priority in (3, 6, 9)))
_LOCK = f"{_QUEUE}.lock"

# The oldest messages of one list, read under the lock; or whether somebody else has that.
_LOOK = """
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return {0} end
for i = 2, #KEYS do
  local found = redis.call('LRANGE', KEYS[i], -tonumber(ARGV[3]), -1)
  if #found > 0 then
    redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
    return {1, KEYS[i], found}
  end
end
return {2}
"""
_RELEASE = "if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end"


class Submissions:
    """The thread of a worker process that stores submissions, and the way there for others.

    Celery's queues may hold messages that are not for Celery: `admits` sends them on, to be stored
    as jobs or among the rejected messages.
    """

    def __init__(
        self,
        broker_url: str,
        catalog: Catalog,
        job_service: JobService,
        wire: Wire,
        *,
        rights: Rights,
        tasks: Collection[str],
        queues: Collection[str],
        consumes: bool,
    ) -> None:
        """Prepare; nothing runs before `start`.

        *tasks* can be run by this process, which takes messages from *queues*. It stores what lies
        in the queue of submissions if it *consumes*.
        """
        self._catalog = catalog
        self._jobs = job_service
        self._wire = wire
        self._rights = rights
        self._tasks = tasks
        self._queues = queues
        self._consumes = consumes
        self._token = uuid4().hex
        self._redis = impatient_redis(broker_url, timeout=_IDLE_SECONDS + 2)
        self._look = self._redis.register_script(_LOOK)
        self._release = self._redis.register_script(_RELEASE)
        self._forwarding = impatient_redis(broker_url, timeout=_FORWARD_TIMEOUT_SECONDS)
        self._held: deque[bytes] = deque()  # what Redis did not take back
        self._together = FEWEST_TOGETHER
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="submissions", daemon=True)

    def start(self) -> None:
        """Start to store."""
        self._thread.start()

    def request_stop(self) -> None:
        """Let the thread end after the batch under way."""
        self._end.set()

    def stop(self) -> None:
        """Stop. What is not stored stays in Redis."""
        self._end.set()
        if self._thread.is_alive():
            self._thread.join(2 * _IDLE_SECONDS)
        self._redis.close()
        self._forwarding.close()

    def admits(self, queue: str, raw: bytes) -> bool:
        """Whether Celery may have a message that was taken from *queue*; else it is sent on."""
        if queue not in self._queues or is_runnable(raw, self._tasks):
            return True
        self._forward(raw)
        return False

    def set_aside(self, message: object) -> None:
        """Send on a message that Celery has refused, as kombu has decoded it."""
        self._forward(dumps(message).encode())

    def _forward(self, raw: bytes) -> None:
        try:
            self._forwarding.lpush(_QUEUE, raw)
        except redis.RedisError:
            self._held.append(raw)  # the thread stores it from here

    def _run(self) -> None:
        pause = 0.0
        while not self._end.wait(pause):
            try:
                pause = self._once()
            except (StoreError, redis.RedisError) as error:
                pause = min(LONGEST_PAUSE_SECONDS, 2 * pause or 0.5)
                log.warning("submissions wait, retrying in %.1f s: %s", pause, error)
            except Exception:
                pause = LONGEST_PAUSE_SECONDS
                log.exception("submissions wait, retrying in %.1f s", pause)

    def _once(self) -> float:
        """Store a batch, if there is one. Returns how long to wait before the next."""
        if self._held:
            # The newest ones are added on the right, so these do not move.
            batch = [self._held[n] for n in range(min(len(self._held), self._together))]
            return self._store(batch, lambda _: self._held.popleft())
        if not self._consumes:
            return _IDLE_SECONDS
        answer = self._look(
            keys=[_LOCK, *_LISTS], args=[self._token, _LOCK_SECONDS, self._together]
        )
        match answer:
            case [1, key, found]:
                remove: Any = self._redis.lrem  # which takes bytes, too
                try:
                    return self._store(found[::-1], lambda raw: remove(key, -1, raw))
                finally:
                    self._release(keys=[_LOCK], args=[self._token])
            case [0]:
                return _TURN_SECONDS
        # Moves the oldest message to where it is: a way to wait for one without taking it.
        self._redis.blmove(_QUEUE, _QUEUE, int(_IDLE_SECONDS), "RIGHT", "RIGHT")
        return 0.0

    def _store(self, batch: Sequence[bytes], stored: Callable[[bytes], object]) -> float:
        """Commit a batch, or else its messages one by one; call *stored* with each of them.

        Returns how long to leave the database to others: as long as this took.

        Raises:
            StoreError: the catalog cannot be written now; what is not stored stays where it is.
        """
        began = time.monotonic()
        try:
            self._commit([(raw, self._read(raw)) for raw in batch])
        except StoreError:
            raise
        except Exception:
            log.exception("a batch of submissions failed, its messages are stored one by one")
            for raw in batch:
                self._store_alone(raw)
                stored(raw)
            return 0.0
        took = time.monotonic() - began
        if took > TRANSACTION_SECONDS:
            self._together = max(FEWEST_TOGETHER, self._together // 2)
        elif took < TRANSACTION_SECONDS / 2 and len(batch) == self._together:
            self._together = min(MAX_TOGETHER, self._together * 2)
        for raw in batch:
            stored(raw)
        return min(took, _IDLE_SECONDS)

    def _read(self, raw: bytes) -> Submission | Invalid | Unusable:
        return read(raw, self._rights)

    def _store_alone(self, raw: bytes) -> None:
        message = self._read(raw)
        try:
            self._commit([(raw, message)])
        except StoreError:
            raise
        except Exception as error:
            log.exception("a submission failed")
            fault = InternalError(f"the job cannot be stored: {type(error).__name__}")
            try:
                if isinstance(message, Unusable):
                    raise
                self._commit([(raw, invalid(message.id, None, fault))])
            except StoreError:
                raise
            except Exception as again:  # noqa: BLE001 -- whatever it is, the message must go
                self._commit([(raw, Unusable(f"it cannot be stored: {type(again).__name__}"))])

    def _commit(self, messages: Sequence[tuple[bytes, Submission | Invalid | Unusable]]) -> None:
        wanted = [(raw, one) for raw, one in messages if isinstance(one, Submission)]
        rest = [(raw, one) for raw, one in messages if not isinstance(one, Submission)]
        if wanted:
            answers = self._jobs.submit([one for _, one in wanted])
            for (raw, one), answer in zip(wanted, answers, strict=True):
                if isinstance(answer, TransshipError):
                    rest.append((raw, invalid(one.id, as_json(one.spec), answer)))
        if rest:
            self._record(rest)

    def _record(self, rest: Sequence[tuple[bytes, Invalid | Unusable]]) -> None:
        """Make failed jobs, and keep what cannot be one among the rejected messages."""
        rejected: list[tuple[str, bytes]] = []
        events: list[TaskEvent] = []
        with self._catalog.write() as connection:
            now = self._catalog.now()
            for raw, one in rest:
                if isinstance(one, Unusable):
                    rejected.append((one.reason, raw))
                    continue
                try:
                    if known(connection, REQUESTER, None, one.fingerprint, id_=one.id):
                        continue
                except TransshipError:
                    rejected.append((f"the id {one.id!r} belongs to another job", raw))
                    continue
                jobs.create(connection, [one.job()], now)
                lease = jobs.claim(connection, one.id, REQUESTER, now)
                assert lease is not None
                end = jobs.End(lease, "failed", error=one.error)
                jobs.finish(connection, [end], now)
                events += [*task_events.claimed([lease]), *task_events.ended([end], now)]
            rejections.record(connection, rejected, now)
        logs.report(self._wire, events)
        for reason, _ in rejected:
            log.warning("a message was rejected, see `transship jobs rejected`: %s", reason)
