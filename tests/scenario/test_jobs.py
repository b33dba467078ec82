"""The life of a job: cancelled, tried again, late, urgent, asked for twice."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.images import build_image, push_to_registry
from tests.support.processes import wait_until
from tests.support.proxy import Action, ProxiedRequest, SlowProxy
from tests.support.registries import RegistryProcess
from tests.support.up import Environment, up_environment
from transship.api.client.exchange import RefusedError

USER, PASSWORD = "ann", "correct-horse"


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Environment]:
    with up_environment(tmp_path_factory.mktemp("environment")) as opened:
        yield opened


class Gate:
    """Holds every blob that is asked for until it is opened."""

    def __init__(self) -> None:
        self._open = threading.Event()

    def __call__(self, request: ProxiedRequest) -> Action | None:
        return Action(hold_until=self._open) if request.is_blob_get else None

    def open(self) -> None:
        self._open.set()


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
def gated(here: Environment, gate: Gate) -> Iterator[SlowProxy]:
    """The way to the source, closed for blobs until the test opens the gate."""
    with SlowProxy(here.source.host, on_request=gate, host_name="localhost") as proxy:
        yield proxy
        gate.open()


def events(here: Environment, job: str) -> list[str]:
    return [event["type"] for event in here.up.client.log(job)["items"]]


def tags_put(registry: RegistryProcess, repository: str) -> list[str]:
    path = f"/v2/{repository}/manifests/"
    return [r.path for r in registry.requests() if r.method == "PUT" and r.path.startswith(path)]


# --- cancel ------------------------------------------------------------------------------------


def test_a_cancelled_job_stops_within_a_moment_and_publishes_nothing(
    here: Environment, gated: SlowProxy
) -> None:
    here.put("stopped")
    job = here.submit(
        kind="copy",
        source=f"{gated.host}/team/stopped:1",
        destination=f"{here.target.host}/stopped",
    )
    wait_until(lambda: gated.blob_bodies > 0, 20, "a body on its way")
    here.up.client.cancel(job)
    ended = here.up.client.wait(job)
    assert (ended["state"], ended["result"]) == ("cancelled", None)
    wait_until(lambda: gated.blob_bodies == 0, 5, "the connection to be closed")
    assert events(here, job)[-1] == "cancelled"
    assert tags_put(here.target, "stopped") == []


def test_a_cancel_closes_the_socket_within_a_second_and_the_next_pull_asks_for_the_rest(
    here: Environment,
) -> None:
    image = here.put("resumed", layers=1, layer_bytes=4_000_000)
    layer = image.manifest.layers[0]
    with SlowProxy(
        here.source.host, bytes_per_second=layer.size / 6, host_name="localhost"
    ) as proxy:
        name = f"{proxy.host}/team/resumed:1"
        job = here.submit(kind="pull", reference=name)

        def moved() -> int:
            items = here.up.client.transfers(job)["items"]
            return max((one["bytes_done"] for one in items), default=0)

        wait_until(lambda: moved() > layer.size / 3, 30, "a third to have arrived")
        began = time.monotonic()
        here.up.client.cancel(job)
        wait_until(lambda: proxy.blob_bodies == 0, 5, "the connection to be closed")
        assert time.monotonic() - began < 1.0
        assert here.up.client.wait(job)["state"] == "cancelled"
        kept = moved()
        proxy.bytes_per_second = None
        again = here.up.client.wait(here.submit(kind="pull", reference=name))
        assert again["state"] == "succeeded"
        last = [r for r in proxy.requests() if r.blob_digest == str(layer.digest)][-1]
    assert last.range is not None
    assert int(last.range.removeprefix("bytes=").partition("-")[0]) >= kept
    assert again["progress"]["bytes_skipped"] >= kept


def test_cancelling_one_of_two_leaves_the_other_its_transfers(
    here: Environment, gate: Gate, gated: SlowProxy
) -> None:
    image = here.put("shared")
    name = f"{gated.host}/team/shared:1"
    first, second = (here.submit(kind="pull", reference=name) for _ in range(2))
    wait_until(lambda: gated.blob_bodies > 0, 20, "a body on its way")
    both = [first, second]
    wait_until(
        lambda: all(here.up.client.transfers(job)["items"] for job in both), 20, "both to wait"
    )
    here.up.client.cancel(first)
    gate.open()
    assert here.up.client.wait(second)["state"] == "succeeded"
    assert here.up.client.wait(first)["state"] == "cancelled"
    bodies = [r for r in gated.requests() if r.is_blob_get]
    assert len(bodies) == len(image.blobs)


def test_cancelling_a_mirror_cancels_its_children(here: Environment, gated: SlowProxy) -> None:
    for tag in ("a", "b"):
        image = build_image("many", labels={"tag": tag})
        push_to_registry(here.source.url, "team/many", tag, image)
    job = here.submit(
        kind="mirror", source=f"{gated.host}/team/many", destination=f"{here.target.host}/many"
    )
    wait_until(lambda: gated.blob_bodies > 0, 20, "a body on its way")
    here.up.client.cancel(job)
    ended = here.up.client.wait(job)
    assert ended["state"] == "cancelled"
    wait_until(
        lambda: here.up.client.job(job)["children"] == {"cancelled": 2}, 10, "the children to end"
    )
    assert tags_put(here.target, "many") == []


# --- retry -------------------------------------------------------------------------------------


def test_a_retry_does_what_the_first_could_not(here: Environment) -> None:
    name = f"{here.source.host}/team/later:1"
    job = here.submit(kind="pull", reference=name)
    assert here.up.client.wait(job)["state"] == "failed"
    image = here.put("later")
    again = here.up.client.retry(job, credentials={})
    ended = here.up.client.wait(again["id"])
    assert ended["state"] == "succeeded"
    assert ended["result"]["digest"] == str(image.digest)
    assert ended["retry_of"] == job
    assert here.up.client.job(job)["state"] == "failed"


def test_a_retry_of_a_mirror_takes_only_what_failed(here: Environment) -> None:
    push_to_registry(here.source.url, "team/partly", "here", build_image("partly"))
    job = here.submit(
        kind="mirror",
        source=f"{here.source.host}/team/partly",
        destination=f"{here.target.host}/partly",
        tags=["here", "gone"],
    )
    assert here.up.client.wait(job)["error"]["code"] == "partial"
    push_to_registry(here.source.url, "team/partly", "gone", build_image("came back"))
    again = here.up.client.retry(job, credentials={})
    assert again["spec"]["tags"] == ["gone"]
    ended = here.up.client.wait(again["id"])
    assert ended["state"] == "succeeded"
    assert ended["children"] == {"succeeded": 1}


def test_a_mirror_of_which_nothing_failed_is_not_tried_again(here: Environment) -> None:
    here.put("whole")
    job = here.submit(
        kind="mirror",
        source=f"{here.source.host}/team/whole",
        destination=f"{here.target.host}/whole",
    )
    here.up.client.wait(job)
    with pytest.raises(RefusedError, match="every image of this mirror was mirrored"):
        here.up.client.retry(job, credentials={})


def test_a_retry_with_credentials_uses_them(here: Environment, tmp_path_factory: Any) -> None:
    directory = tmp_path_factory.mktemp("locked")
    with RegistryProcess(directory, htpasswd=(USER, PASSWORD), host_name="localhost") as locked:
        here.put("credentials")
        spec = {
            "kind": "copy",
            "source": f"{here.source.host}/team/credentials:1",
            "destination": f"{locked.host}/credentials",
        }
        wrong = {locked.host: {"username": USER, "password": "wrong"}}
        job = here.submit(wrong, **spec)
        assert here.up.client.wait(job)["error"]["side"] == "destination"
        with pytest.raises(RefusedError) as refused:
            here.up.client.retry(job, credentials={})
        assert refused.value.http_status == 409
        assert locked.host in refused.value.detail
        right = {locked.host: {"username": USER, "password": PASSWORD}}
        again = here.up.client.retry(job, credentials=right)
        assert here.up.client.wait(again["id"])["state"] == "succeeded"


# --- time and order ----------------------------------------------------------------------------


def test_a_job_past_its_deadline_fails_and_says_so(here: Environment, gated: SlowProxy) -> None:
    here.put("late")
    job = here.submit(kind="pull", reference=f"{gated.host}/team/late:1", deadline=1.5)
    ended = here.up.client.wait(job)
    assert (ended["state"], ended["error"]["code"]) == ("failed", "deadline-exceeded")
    assert "--deadline" in ended["error"]["hint"]


def test_an_urgent_pull_overtakes_what_waits(
    here: Environment, gate: Gate, gated: SlowProxy
) -> None:
    for number in range(3):
        here.put(f"slow{number}")
    here.put("urgent")
    slow = [here.submit(kind="pull", reference=f"{gated.host}/team/slow{n}:1") for n in range(3)]
    wait_until(lambda: gated.blob_bodies == 3, 20, "all slots to be taken")

    def all_wait() -> bool:
        """What shares a slot with a blob that takes long waits for another one."""
        found = [here.up.client.transfers(job)["items"] for job in slow]
        running = sum(one["state"] == "running" for some in found for one in some)
        return all(found) and running == 3

    wait_until(all_wait, 20, "all to wait")
    urgent = here.submit(kind="pull", reference=f"{gated.host}/team/urgent:1", priority=100)
    wait_until(lambda: here.up.client.transfers(urgent)["items"], 20, "the urgent one to wait")
    gate.open()
    for job in (urgent, *slow):
        assert here.up.client.wait(job)["state"] == "succeeded"
    order = [r.path.split("/")[3] for r in gated.requests() if r.is_blob_get]
    assert "urgent" in order[3:5]  # it gets the next slot; its blobs share it


def test_two_jobs_for_one_target_end_in_the_order_in_which_they_came(
    here: Environment, gate: Gate, gated: SlowProxy
) -> None:
    here.put("older")
    newer_image = here.put("newer")
    target = f"{here.target.host}/same:1"
    older = here.submit(kind="copy", source=f"{gated.host}/team/older:1", destination=target)
    wait_until(lambda: gated.blob_bodies > 0, 20, "a body on its way")
    newer = here.submit(kind="copy", source=f"{here.source.host}/team/newer:1", destination=target)
    gate.open()
    ended = [here.up.client.wait(job) for job in (older, newer)]
    assert [job["state"] for job in ended] == ["succeeded", "succeeded"]
    check = here.submit(kind="pull", reference=target)
    assert here.up.client.wait(check)["result"]["digest"] == str(newer_image.digest)
