"""Two users of a server: one was let in by the registry, the other was not."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.support.images import Image, build_image, push_to_registry
from tests.support.processes import wait_until
from tests.support.registries import RegistryProcess
from tests.support.server import owner_client
from tests.support.up import Up, bare_environment
from transship.api.client import Client
from transship.api.client.exchange import RefusedError

USER, PASSWORD = "ann", "correct-horse-battery"


@dataclass
class Place:
    """A server, a registry that wants a login, one that does not, and who asks."""

    up: Up
    locked: RegistryProcess
    open: RegistryProcess
    image: Image
    admin: Client
    alice: Client
    bob: Client

    @property
    def name(self) -> str:
        """The private image, which Alice has pulled."""
        return f"{self.locked.host}/team/secret:1"

    def run(self, who: Client, *, login: bool = False, **spec: Any) -> dict[str, Any]:
        """Have a job done to its end."""
        given = {"username": USER, "password": PASSWORD}
        credentials = {self.locked.host: given} if login else {}
        return self.ended(who, who.submit(spec, credentials=credentials)["id"])

    def ended(self, who: Client, job: str) -> dict[str, Any]:
        """A job when it has ended."""
        return wait_until(lambda: _if_ended(who.wait(job)), 60, "the job to end") or {}


def _if_ended(job: dict[str, Any]) -> dict[str, Any] | None:
    return job if job["state"] in ("succeeded", "failed", "cancelled") else None


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    directory = tmp_path_factory.mktemp("tenants")
    image = build_image("secret", layers=2, layer_bytes=1000)
    with RegistryProcess(directory / "locked", host_name="localhost") as registry:
        push_to_registry(registry.url, "team/secret", "1", image)
    with (
        RegistryProcess(
            directory / "locked",
            htpasswd=(USER, PASSWORD),
            port=registry.port,
            host_name="localhost",
        ) as locked,
        RegistryProcess(directory / "open", host_name="localhost") as open_,
        Up(directory, "--workers", "1", environ=bare_environment(directory)) as up,
        owner_client(up.url, up.home) as admin,
    ):
        made = {
            name: admin.create_token(name, ["submit"], None)["token"] for name in ("alice", "bob")
        }
        with (
            Client(up.url, token=made["alice"]) as alice,
            Client(up.url, token=made["bob"]) as bob,
        ):
            place = Place(up, locked, open_, image, admin, alice, bob)
            pulled = place.run(alice, login=True, kind="pull", reference=place.name)
            assert pulled["state"] == "succeeded", pulled
            yield place


def test_who_was_refused_by_the_registry_has_no_image(place: Place) -> None:
    refused = place.run(place.bob, kind="pull", reference=place.name)
    assert refused["error"]["code"] == "unauthorized-by-registry"
    assert place.bob.images(None)["items"] == []
    assert [one["repo_tags"] for one in place.alice.images(None)["items"]] == [[place.name]]
    assert len(place.admin.images(None)["items"]) == 1


JOBS: dict[str, Callable[[Place], dict[str, Any]]] = {
    "push": lambda place: {
        "kind": "push",
        "reference": place.name,
        "destination": f"{place.open.host}/stolen/app:1",
    },
    "push by ID": lambda place: {
        "kind": "push",
        "reference": str(place.image.manifest.config.digest),
        "destination": f"{place.open.host}/stolen/app:1",
    },
    "push by digest": lambda place: {
        "kind": "push",
        "reference": str(place.image.digest),
        "destination": f"{place.open.host}/stolen/app:1",
    },
    "squash": lambda place: {"kind": "squash", "reference": place.name, "target": "mine:1"},
    "export": lambda place: {"kind": "export", "references": [place.name]},
}


@pytest.mark.parametrize("what", JOBS)
def test_nobody_else_gets_at_it_by_a_job(place: Place, what: str) -> None:
    done = place.run(place.bob, **JOBS[what](place))
    assert (done["state"], done["error"]["code"]) == ("failed", "not-found"), done


ASKS: dict[str, Callable[[Place], object]] = {
    "inspect": lambda place: place.bob.inspect(place.name),
    "history": lambda place: place.bob.history(place.name),
    "children": lambda place: place.bob.children(place.name),
    "tag": lambda place: place.bob.tag(place.name, "mine:1"),
    "remove": lambda place: place.bob.remove(place.name),
    "workspace": lambda place: place.bob.create_workspace("work", place.name),
}


@pytest.mark.parametrize("what", ASKS)
def test_nobody_else_gets_at_it_by_a_question(place: Place, what: str) -> None:
    with pytest.raises(RefusedError) as refused:
        ASKS[what](place)
    assert (refused.value.http_status, refused.value.as_json()["code"]) == (404, "not-found")


def test_a_name_that_another_gives_is_another_name(place: Place) -> None:
    """Bob imports as Alice's name; what Alice pushes is hers."""
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as out:
        out.addfile(tarfile.TarInfo("evil"))
    body = tar.getvalue()
    job = place.bob.send("/imports", [body], params={"reference": place.name}, size=len(body))
    assert place.ended(place.bob, job["id"])["state"] == "succeeded"
    pushed = place.run(
        place.alice,
        kind="push",
        reference=place.name,
        destination=f"{place.open.host}/team/copy:1",
    )
    assert pushed["state"] == "succeeded"
    assert pushed["result"]["digest"] == str(place.image.digest)
    assert pushed["result"]["source"] == {
        "reference": place.name,
        "digest": str(place.image.digest),
    }


def test_jobs_are_their_requesters(place: Place) -> None:
    job = place.alice.jobs(limit=1)["items"][0]["id"]
    for ask in (place.bob.job, place.bob.log, place.bob.transfers, place.bob.cancel):
        with pytest.raises(RefusedError) as refused:
            ask(job)
        assert refused.value.http_status == 404
    assert job not in {one["id"] for one in place.bob.jobs(limit=100)["items"]}
    token = place.admin.create_token("dashboard", ["read:all"], None)["token"]
    with Client(place.up.url, token=token) as dashboard:
        assert dashboard.job(job)["spec"] == {}
        assert dashboard.images(None)["items"] == []
    assert place.admin.job(job)["spec"] != {}
