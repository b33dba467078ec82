"""Two tenants of a server: what one gets depends on nothing that only the other may see.

Programs of both are played side by side; then the one of the observer again, on a server that it
has for itself. The answers must be the same but for ids and times. Likewise nothing of one changes
by what the other does.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.contract.catalog.shelves import ImageFixtures, id_of, small
from tests.support.images import build_index
from tests.support.tars import file, tar_of
from tests.unit.api.serving import Api
from transship.store.catalog.access import tokens
from transship.store.catalog.content import image_events
from transship.store.catalog.scheduling import jobs
from transship.store.catalog.scheduling.jobs import NewJob
from transship.store.oci.platform import Platform
from transship.workers.runtime.ids import new_id

APP, CHILD, OTHER = small("app"), small("child"), small("other")
INDEX = build_index([OTHER, small("arm64", platform=Platform("linux", "arm64"))])
IMAGES = (APP, CHILD, OTHER, INDEX)
NAMES = ("docker.io/library/app:1", "docker.io/library/app:2", "registry.test/team/tool:1")
TEXTS = (
    *("app:1", "app:2", "registry.test/team/tool:1", "app"),
    *(id_of(one) for one in (APP, CHILD)),
    *(str(one.digest) for one in IMAGES),
    *(id_of(APP)[7:11], str(INDEX.digest)[7:15], f"app@{APP.digest}"),
)
CONFIGS = [one.blobs[one.manifest.config.digest] for one in (APP, CHILD)]
SPACES = ("one", "two")
pytestmark = pytest.mark.timeout(400)

BODY = tar_of(file("a", b"b"))
STEP = {"Cmd": ["/bin/sh"]}


@dataclass
class Tenant:
    """One who asks, with a token of its own; what it is told, without ids and times."""

    api: Api
    told: list[Any] = field(default_factory=list)
    own_jobs: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        name = f"tenant-{new_id()}"
        self.headers = {"Authorization": f"Bearer {self.api.token('submit', name=name)}"}
        with self.api.catalog.read() as connection:
            known = tokens.by_hash(connection).values()
        self.id = next(one.id for one in known if one.name == name)
        self.shelves = ImageFixtures(self.api.catalog, self.api.context.content, tenant=self.id)

    def ask(self, method: str, path: str, **options: Any) -> None:
        """Ask, and note what comes back."""
        answer = self.api.http.request(
            method, f"/api/v1{path}", headers=self.headers, follow_redirects=False, **options
        )
        text = answer.text if "json" in answer.headers.get("content-type", "") else None
        told = json.loads(text) if text else len(answer.content)
        self.told.append((method, self._stripped(path), answer.status_code, self._stripped(told)))

    def hold(self, image: int, name: int | None) -> None:
        """Have an image, as a pull or a load leaves it."""
        names = [] if name is None else [NAMES[name]]
        whole = IMAGES[image % len(IMAGES)]
        only = INDEX.images[:1] if image >= len(IMAGES) else ()  # another part of the index
        self.shelves.hold(whole if not only else INDEX, *names, only=only)
        with self.api.catalog.write() as connection:
            image_events.record(connection, self.id, "load", "x", {"name": "x"}, 1.0)

    def job(self) -> None:
        """Have a job, as if it was asked for."""
        id_ = new_id()
        new = NewJob(
            id=id_,
            kind="pull",
            spec={"kind": "pull", "reference": "localhost:1/app:1"},
            label="app",
            registry="localhost:1",
            priority=0,
            requested_by=f"token:{self.id}",
            tenant=self.id,
        )
        with self.api.catalog.write() as connection:
            jobs.create(connection, [new], 1.0)
        self.own_jobs.append(id_)

    def _stripped(self, told: Any) -> Any:
        """*told* without what no two tenants, or no two moments, have in common."""
        if isinstance(told, dict):
            return {
                key: self._stripped(value)
                for key, value in told.items()
                if key not in ("id", "root", "next", "used_at") or str(value).startswith("sha256:")
            }
        if isinstance(told, list):
            return [self._stripped(one) for one in told]
        if isinstance(told, str):
            told = told.replace(self.id, "TENANT")
            told = re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}", "UUID", told)
            return re.sub(r"\d{4}-\d\d-\d\dT[0-9:.]+(Z|\+00:00)", "TIME", told)
        return told


Act = Callable[[Tenant, "Tenant | None"], None]
_texts, _spaces = st.sampled_from(TEXTS), st.sampled_from(SPACES)


def _asks(method: str, path: str, **options: Any) -> Act:
    def act(one: Tenant, _other: Tenant | None) -> None:
        one.ask(method, path, **options)

    return act


def _holds(drawn: tuple[int, int | None]) -> Act:
    def act(one: Tenant, _other: Tenant | None) -> None:
        one.hold(*drawn)

    return act


def _has_a_job(one: Tenant, _other: Tenant | None) -> None:
    one.job()


def _of_others(method: str, path: str) -> Act:
    """Ask for a job of the other one; where there is none, for one that never was."""

    def act(one: Tenant, other: Tenant | None) -> None:
        theirs = other.own_jobs if other is not None else []
        one.ask(method, path.format(theirs[-1] if theirs else new_id()))

    return act


def _of_own(method: str, path: str) -> Act:
    def act(one: Tenant, other: Tenant | None) -> None:
        if one.own_jobs:
            one.ask(method, path.format(one.own_jobs[-1]))

    return act


_reads = st.one_of(
    st.sampled_from(
        [
            *(
                "/images",
                "/images?all=true",
                "/images?pattern=app*",
                "/images?filter=dangling=true",
            ),
            *("/usage", "/events", "/workspaces", "/jobs", "/jobs?state=queued", "/mirrors"),
            "/failures",
        ]
    ).map(lambda path: _asks("GET", path)),
    st.tuples(_texts, st.sampled_from(["inspect", "history", "children"])).map(
        lambda drawn: _asks("GET", f"/images/{drawn[0]}/{drawn[1]}")
    ),
    _spaces.map(lambda name: _asks("GET", f"/workspaces/{name}")),
    _spaces.map(lambda name: _asks("GET", f"/workspaces/{name}/files?path=/&list=true")),
    _spaces.map(lambda name: _asks("GET", f"/workspaces/{name}/diff")),
    st.sampled_from(
        [
            *(("GET", "/jobs/{}"), ("GET", "/jobs/{}/log"), ("GET", "/jobs/{}/transfers")),
            *(("GET", "/exports/{}"), ("POST", "/jobs/{}/cancel"), ("POST", "/jobs/{}/retry")),
            *(("GET", "/jobs?parent={}"), ("GET", "/jobs/{}/events")),
        ]
    ).map(lambda drawn: _of_others(*drawn)),
    st.just(_of_own("GET", "/jobs/{}")),
)
_writes = st.one_of(
    st.tuples(st.integers(0, len(IMAGES)), st.none() | st.integers(0, len(NAMES) - 1)).map(_holds),
    st.just(_has_a_job),
    st.just(_of_own("POST", "/jobs/{}/cancel")),
    st.tuples(_texts, st.sampled_from(NAMES)).map(
        lambda drawn: _asks("POST", f"/images/{drawn[0]}/tag", json={"reference": drawn[1]})
    ),
    st.tuples(_texts, st.booleans()).map(
        lambda drawn: _asks("DELETE", f"/images/{drawn[0]}?force={drawn[1]}")
    ),
    st.tuples(_spaces, st.none() | _texts).map(
        lambda drawn: _asks("POST", "/workspaces", json={"name": drawn[0], "reference": drawn[1]})
    ),
    st.tuples(_spaces, st.booleans()).map(
        lambda drawn: _asks("PATCH", f"/workspaces/{drawn[0]}", json={"busy": drawn[1]})
    ),
    _spaces.map(lambda name: _asks("DELETE", f"/workspaces/{name}")),
    _spaces.map(lambda name: _asks("PUT", f"/workspaces/{name}/files?path=/", content=BODY)),
    st.tuples(_texts, _texts).map(
        lambda drawn: _asks(
            "POST", "/images/cache", json={"parent": drawn[0], "config": STEP, "from": [drawn[1]]}
        )
    ),
    st.tuples(st.sampled_from(CONFIGS), st.none() | _texts).map(
        lambda drawn: _asks(
            "POST",
            "/images" + (f"?parent={drawn[1]}" if drawn[1] else ""),
            content=drawn[0],
        )
    ),
)
_programs = st.lists(st.tuples(st.booleans(), st.one_of(_reads, _writes)), max_size=14)


@pytest.fixture(scope="module")
def crowded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """A server that others use too."""
    with Api(tmp_path_factory.mktemp("crowded")) as api:
        yield api


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """One that nobody else uses."""
    with Api(tmp_path_factory.mktemp("quiet")) as api:
        yield api


LISTS = (
    *("/images?all=true", "/images?pattern=*", "/usage", "/events", "/workspaces", "/jobs"),
    "/failures",
    *(f"/workspaces/{name}{what}" for name in SPACES for what in ("", "/diff")),
    *(f"/images/{text}/{what}" for text in TEXTS for what in ("inspect", "history", "children")),
)


def _has_everything(one: Tenant) -> None:
    """What another may not see: images with every name, a child, workspaces, a job."""
    for number in range(len(IMAGES) + 1):
        one.hold(number, number % len(NAMES))
    one.shelves.hold(CHILD, parent=APP)
    for name in SPACES:
        one.ask("POST", "/workspaces", json={"name": name, "reference": str(APP.digest)})
    one.job()


def _seen(one: Tenant, other: Tenant | None) -> list[Any]:
    """All that *one* gets by asking for everything, of the other's jobs too."""
    one.told.clear()
    for path in LISTS:
        one.ask("GET", path)
    for path in ("", "/log", "/transfers", "/events"):
        _of_others("GET", f"/jobs/{{}}{path}")(one, other)
    _of_others("GET", "/jobs?parent={}")(one, other)
    _of_others("GET", "/exports/{}")(one, other)
    return one.told


@settings(
    deadline=None,
    max_examples=5,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(program=_programs)
def test_what_one_gets_depends_on_nothing_of_the_other(
    crowded: Api, quiet: Api, program: Sequence[tuple[bool, Act]]
) -> None:
    observer, other = Tenant(crowded), Tenant(crowded)
    _has_everything(other)
    for is_observer, act in program:
        one, two = (observer, other) if is_observer else (other, observer)
        act(one, two)
    alone = Tenant(quiet)
    for is_observer, act in program:
        if is_observer:
            act(alone, None)
    assert observer.told == alone.told
    assert _seen(observer, other) == _seen(alone, None)
    for one in (observer, alone):  # and of images that both have: who made which from which
        for number in range(len(IMAGES)):
            one.hold(number, None)
    assert _seen(observer, other) == _seen(alone, None)


@settings(
    deadline=None,
    max_examples=5,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(program=st.lists(_writes, max_size=10))
def test_nothing_of_one_changes_by_what_the_other_does(
    crowded: Api, quiet: Api, program: Sequence[Act]
) -> None:
    owner, other, untouched = Tenant(crowded), Tenant(crowded), Tenant(quiet)
    _has_everything(owner)
    _has_everything(untouched)
    for number in range(len(IMAGES)):  # so that there is much to take away
        other.hold(number, number % len(NAMES))
    for act in program:
        act(other, owner)
    for text in (*NAMES, *(str(one.digest) for one in IMAGES), id_of(APP), id_of(CHILD)):
        other.ask("DELETE", f"/images/{text}?force=true")
    assert _seen(owner, None) == _seen(untouched, None)
