"""Programs that send jobs as messages: by `transship.client.celery`, and as other languages do."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from celery import Celery
from redis import Redis

import tests
from tests.support.processes import wait_until
from tests.support.server import Server
from transship.client import Client, InvalidRequestError, MirrorSpec, NotFoundError, PullSpec
from transship.client.celery import submit
from transship.store.home import read_token

PAGE = (Path(tests.__path__[0]).parent / "api" / "README.md").read_text()
SPEC = PullSpec(reference="127.0.0.1:1/app:1")


@pytest.fixture
def server(start_server: Callable[..., Server]) -> Server:
    return start_server(workers=1)


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    with Client(server.url, read_token(server.home)) as opened:
        yield opened


@pytest.fixture
def caller(server: Server) -> Iterator[Celery]:
    """The application of another service, with ways of its own."""
    made = Celery("orders", broker=server.redis.url, set_as_current=False)
    made.conf.update(
        broker_transport_options={"global_keyprefix": "orders:", "socket_timeout": 5},
        task_routes={"*": {"queue": "slow", "exchange": "slow", "routing_key": "slow"}},
        task_create_missing_queues=False,
        task_serializer="pickle",
        task_compression="gzip",
        task_default_priority=9,
        result_backend="cache+memory://",
    )
    yield made
    made.close()


def submitted(client: Client, id_: str) -> Any:
    """The job, when a worker has stored it."""

    def there() -> bool:
        try:
            client.job(id_)
        except NotFoundError:
            return False
        return True

    wait_until(there, 20, "the job")
    return client.job(id_)


def test_a_message_becomes_a_job_whatever_the_application_is_set_to(
    server: Server, caller: Celery, client: Client
) -> None:
    first = submit(caller, SPEC)
    assert str(UUID(first)) == first
    job = submitted(client, first)
    assert (job.kind, job.requested_by, job.label) == ("pull", "broker", "127.0.0.1:1/app:1")
    mirror = submit(
        caller, {"kind": "mirror", "source": "127.0.0.1:1/a", "destination": "b.test/a"}
    )
    assert submitted(client, mirror).priority == MirrorSpec.model_fields["priority"].default
    assert client.wait(first, 60).state == "failed"
    assert server.client.rejected(limit=1)["items"] == []
    with Redis.from_url(server.redis.url) as redis:
        assert list(redis.scan_iter("orders:*")) == []


def test_an_id_that_is_given_twice_makes_one_job(
    server: Server, caller: Celery, client: Client
) -> None:
    id_ = uuid4()
    assert submit(caller, SPEC, id=id_) == submit(caller, SPEC, id=str(id_)) == str(id_)
    submitted(client, str(id_))
    submitted(client, submit(caller, SPEC))  # it came last
    assert [job.id for job in client.jobs()].count(str(id_)) == 1
    assert server.client.rejected(limit=1)["items"] == []


def test_the_message_that_is_documented_becomes_a_job(server: Server, client: Client) -> None:
    (shown,) = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    (key,) = re.findall(r"left of the list `([^`]+)`", PAGE)
    with Redis.from_url(server.redis.url) as redis:
        redis.lpush(key, shown)
    _, named, _ = json.loads(json.loads(shown)["body"])
    job = submitted(client, named["id"])
    assert job.label == "docker.io/library/alpine:3.20"
    client.cancel(job.id)


@pytest.mark.parametrize(
    ("spec", "id_", "says"),
    [
        ({"kind": "pull", "reference": "UPPER"}, None, "reference"),
        ({"kind": "pull"}, None, "this is missing"),
        ({"kind": "gc"}, None, "a job of the kind 'gc' cannot be sent as a message"),
        ({"kind": "load"}, None, "a job of the kind 'load' cannot be sent as a message"),
        ({"kind": "import"}, None, "its body cannot be sent as a message"),
        (SPEC, "nightly", "nightly: not a UUID"),
    ],
)
def test_what_cannot_be_a_job_is_not_sent(spec: Any, id_: str | None, says: str) -> None:
    nowhere = Celery(broker="redis://127.0.0.1:1/0", set_as_current=False)
    with nowhere, pytest.raises(InvalidRequestError, match=says) as raised:
        submit(nowhere, spec, id=id_)
    assert raised.value.side == "request"


def test_another_broker_is_refused() -> None:
    elsewhere = Celery(broker="memory://", set_as_current=False)
    with elsewhere, pytest.raises(InvalidRequestError, match="the broker is memory"):
        submit(elsewhere, SPEC)
