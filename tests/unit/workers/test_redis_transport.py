"""The transport of the wire, after its connection was lost."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from kombu import Connection
from kombu.transport import redis as kombu_redis

from workers.app import app
from workers.redis_transport import Channel, Transport


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
