"""The transport of the wire, after its connection was lost."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from kombu import Connection
from kombu.transport import redis as kombu_redis
from redis._parsers.base import BaseParser
from redis.exceptions import TimeoutError as RedisTimeoutError

from transship.workers.broker.app import app
from transship.workers.broker.redis_transport import LOST_SECONDS, Channel, Link, Transport


def _channel(client: object) -> Any:
    channel: Any = Channel.__new__(Channel)
    channel.connection = SimpleNamespace(client=client)
    return channel


def test_the_application_uses_it() -> None:
    connection = app.connection_for_write("redis://127.0.0.1:1/0")
    assert isinstance(connection.transport, Transport)
    assert Connection("redis://127.0.0.1:1/0").transport_cls == "redis"


@pytest.mark.parametrize("call", ["basic_ack", "basic_reject"])
def test_after_its_connection_has_gone_nothing_is_said(call: str) -> None:
    getattr(_channel(None), call)("a tag")
    channel = _channel(None)
    channel.connection = None
    getattr(channel, call)("a tag")


@pytest.mark.parametrize("call", ["basic_ack", "basic_reject"])
def test_while_it_is_there_kombu_does_it(call: str, monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[str] = []
    monkeypatch.setattr(kombu_redis.Channel, call, lambda _, tag, **__: called.append(tag))
    getattr(_channel(object()), call)("a tag")
    assert called == ["a tag"]


def test_giving_messages_back_to_a_redis_that_has_gone_is_a_connection_error() -> None:
    transport = app.connection_for_write("redis://127.0.0.1:1/0").transport
    with pytest.raises(transport.connection_errors):
        _channel(None)._connparams()


# What a Redis answers that cannot be used at present; the last are of no kind that redis-py knows.
ERROR_REPLIES = [
    "READONLY You can't write against a read only replica.",
    "UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)",
    "LOADING Redis is loading the dataset in memory",
    "NOAUTH Authentication required.",
    "WRONGPASS invalid username-password pair or user is disabled.",
    "NOPERM this user has no permissions to run the 'brpop' command",
    "OOM command not allowed when used memory > 'maxmemory'.",
    "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
    "CLUSTERDOWN The cluster is down",
    "NOREPLICAS Not enough good replicas to write.",
    "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist",
    "BUSY Redis is busy running a script.",
    "EXECABORT Transaction discarded because of previous errors.",
    "ERR max number of clients reached",
    "SOMETHING new",
]


@pytest.mark.parametrize("reply", ERROR_REPLIES, ids=lambda reply: reply.split()[0])
def test_a_redis_that_answers_with_an_error_is_a_lost_connection(reply: str) -> None:
    parse: Any = BaseParser.parse_error  # which redis-py leaves untyped
    error = parse(reply)
    connection = app.connection_for_read("redis://127.0.0.1:1/0")
    for errors in (
        connection.connection_errors,
        connection.recoverable_connection_errors,
        connection.transport.connection_errors,
    ):
        assert isinstance(error, errors)


@pytest.mark.parametrize("error", [TimeoutError("hangs"), RedisTimeoutError("hangs")])
def test_a_redis_that_hangs_is_a_lost_connection(error: Exception) -> None:
    assert isinstance(error, Transport.connection_errors)


@pytest.mark.parametrize("error", [ValueError(), TypeError(), AssertionError()])
def test_a_fault_of_the_program_is_not(error: Exception) -> None:
    assert not isinstance(error, Transport.connection_errors)


def test_the_consumer_hears_from_redis_while_answers_are_not_overdue() -> None:
    now = 0.0
    link = Link(lambda: now)
    assert not link.is_up()
    link.heard()
    assert link.is_up()
    now = 100.0  # it has not asked: all its threads are busy
    assert link.is_up()
    link.asked()
    now += LOST_SECONDS - 0.1
    assert link.is_up()
    now += 0.2
    assert not link.is_up()
    link.heard()
    assert link.is_up()
    link.lost()
    assert not link.is_up()
