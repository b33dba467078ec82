"""Other services send jobs through the broker, in the queue where they belong and in any other."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from uuid import uuid4

import pytest
from celery import Celery
from redis import Redis

from tests.support.processes import wait_until
from tests.support.server import Server, run

SPEC = {"kind": "pull", "reference": "127.0.0.1:1/app:1", "priority": -100}
QUEUES = ("transship.submit", "transship.control", "transship.local")


@pytest.fixture
def server(start_server: Callable[..., Server]) -> Server:
    return start_server(workers=1)


@pytest.fixture
def celery(server: Server) -> Iterator[Celery]:
    made = Celery(broker=server.redis.url)
    made.conf.broker_transport_options = {"global_keyprefix": "transship:"}
    yield made
    made.close()


@pytest.mark.parametrize("queue", QUEUES)
def test_a_job_is_accepted_from_any_queue(server: Server, celery: Celery, queue: str) -> None:
    good, bad = str(uuid4()), str(uuid4())
    celery.send_task("transship.submit", kwargs={"id": good, "spec": SPEC}, queue=queue)
    celery.send_task("transship.submit", kwargs={"id": bad, "spec": {"kind": "pull"}}, queue=queue)
    wait_until(lambda: server.job_row(good) and server.job_row(bad), 20, "both jobs")
    job = server.client.job(bad)
    assert (job["state"], job["error"]["code"]) == ("failed", "invalid-spec")
    assert server.client.job(good)["requested_by"] == "broker"


def test_what_cannot_be_a_job_is_shown_to_operators(server: Server, celery: Celery) -> None:
    with Redis.from_url(server.redis.url) as client:
        for queue in QUEUES:
            client.lpush(f"transship:{queue}", b"\xff hello")
        celery.send_task("transship.submit", kwargs={"spec": SPEC}, queue="transship.control")
        celery.send_task("nobody.knows", queue="transship.control")
        celery.send_task("transship.pull", args=[5], queue="transship.control")
        celery.send_task("transship.pull", args=["gone"], headers={"eta": "x"}, queue=QUEUES[1])
    wait_until(lambda: len(server.client.rejected(limit=10)["items"]) == 7, 20, "the messages")
    shown = run(
        *("jobs", "rejected", "--json"), environ={**server.environ, "TRANSSHIP_URL": server.url}
    )
    assert shown.returncode == 0, shown.stderr
    reasons = [one["reason"] for one in json.loads(shown.stdout)["items"]]
    assert reasons.count("the message is not JSON") == len(QUEUES)
    assert "there is no id that is text" in reasons
    assert "no worker has a task 'nobody.knows'" in reasons
    # It goes on.
    job = str(uuid4())
    celery.send_task("transship.submit", kwargs={"id": job, "spec": SPEC})
    assert [worker.exit_status for worker in server.workers] == [None]


def test_the_application_sends_them_to_their_queue(server: Server, celery: Celery) -> None:
    celery.conf.task_routes = {"transship.submit": {"queue": "transship.submit"}}
    job = str(uuid4())
    celery.send_task("transship.submit", kwargs={"id": job, "spec": SPEC})
    wait_until(lambda: server.job_row(job), 20, "the job")


@pytest.mark.parametrize("kind", ["prune", "gc", "fsck"])
def test_what_needs_an_admin_is_not_done_for_whoever_writes_to_redis(
    server: Server, celery: Celery, kind: str
) -> None:
    forged, other = str(uuid4()), str(uuid4())
    for id_, spec in ((forged, {"kind": kind}), (other, SPEC)):
        celery.send_task("transship.submit", kwargs={"id": id_, "spec": spec}, queue=QUEUES[0])
    for id_ in (forged, other, str(uuid4())):  # a task's message makes nothing that has no row
        celery.send_task(f"transship.{kind}", args=[id_], queue="transship.local")
    wait_until(lambda: server.job_row(forged) and server.job_row(other), 20, "both jobs")
    row = server.job_row(forged)
    assert (row.state, row.error["code"], row.result) == ("failed", "forbidden", None)
    jobs = server.client.jobs()["items"]
    assert {job["id"]: job["kind"] for job in jobs} == {forged: kind, other: "pull"}
