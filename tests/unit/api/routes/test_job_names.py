"""Jobs by a part of their id, and `last`: found, ambiguous, and not seen."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import select, update

from tests.unit.api.serving import Api
from transship.store.catalog.db.schema import jobs
from transship.store.catalog.scheduling import job_names


def named(api: Api, name: str, **options: Any) -> Any:
    return api.get(f"/jobs/{name}", **options)


def rename(api: Api, id_: str, new: str) -> None:
    """Give a job another id, for one that is to be like another's."""
    with api.catalog.write() as connection:
        connection.execute(update(jobs).where(jobs.c.id == id_).values(id=new, root=new))


def test_a_beginning_and_an_end_stand_for_the_job(own: Api) -> None:
    id_ = own.submit()["id"]
    rename(own, own.submit()["id"], str(uuid4()))
    for name in (id_, id_[:13], id_[:20], id_[-12:], id_[-5:], id_[:20].upper()):
        assert named(own, name).json()["id"] == id_, name


@pytest.mark.parametrize("path", ["", "/transfers", "/log", "/cancel", "/events"])
def test_every_path_takes_a_part(own: Api, path: str) -> None:
    id_ = own.submit()["id"]
    own.post(f"/jobs/{id_}/cancel")
    ask = own.post if path == "/cancel" else own.get
    answer = ask(f"/jobs/{id_[-12:]}{path}")
    assert answer.status_code in (200, 202), answer.text


def test_children_are_listed_by_a_part_of_their_parent(own: Api) -> None:
    parent, child = own.submit()["id"], own.submit()["id"]
    with own.catalog.write() as connection:
        connection.execute(update(jobs).where(jobs.c.id == child).values(parent=parent))
    listed = own.get("/jobs", params={"parent": parent[-12:]}).json()["items"]
    assert [job["id"] for job in listed] == [child]
    assert named(own, child[-12:]).json()["id"] == child
    assert named(own, child[:20]).json()["id"] == child


def test_several_that_match_are_named(own: Api) -> None:
    several = [f"0000000{n}-0000-7000-8000-{'ab' * 6}" for n in range(7)]
    for new in several:
        rename(own, own.submit()["id"], new)
    answer = named(own, "abab")
    problem = answer.json()
    assert (answer.status_code, problem["code"], problem["subject"]) == (409, "ambiguous", "abab")
    assert sum(one in problem["detail"] for one in several) == 5
    assert problem["detail"].endswith("and more")
    assert own.post("/jobs/000000/cancel").status_code == 409
    assert named(own, "00000003").json()["id"] == several[3]


@pytest.mark.parametrize(
    "name", ["none", "fffffff", "0", "abc", "z", "g" * 12, "0" * 40, "%25", "last"]
)
def test_what_stands_for_nothing_is_no_job(own: Api, name: str) -> None:
    assert named(own, name).json()["code"] == "not-found"


def test_last_is_the_newest_that_the_asker_asked_for(own: Api) -> None:
    mine = {"Authorization": f"Bearer {own.token('submit')}"}
    theirs = {"Authorization": f"Bearer {own.token('submit')}"}
    body = {"kind": "pull", "reference": "registry.test/a:1"}
    own.post("/jobs", json=body, headers=mine)
    wanted = own.post("/jobs", json=body, headers=mine).json()["id"]
    own.post("/jobs", json=body, headers=theirs)
    own.submit()
    assert named(own, "last", headers=mine).json()["id"] == wanted


def test_what_may_not_be_seen_is_absent(own: Api) -> None:
    """Another's job makes nothing ambiguous, and no part of it finds it."""
    mine = {"Authorization": f"Bearer {own.token('submit')}"}
    body = {"kind": "pull", "reference": "registry.test/a:1"}
    seen, hidden = own.post("/jobs", json=body, headers=mine).json()["id"], own.submit()["id"]
    like = ["0a0a0a0a-0000-7000-8000-abababababab", "0a0a0a0a-1111-7000-8000-abababababab"]
    rename(own, seen, like[0])
    rename(own, hidden, like[1])
    for name in ("0a0a0a0a", "abababababab"):
        assert named(own, name, headers=mine).json()["id"] == like[0]
        assert named(own, name).json()["code"] == "ambiguous"
    for name in (like[1], like[1][:13]):
        assert named(own, name, headers=mine).status_code == 404


def test_an_end_is_looked_for_among_the_newest_only(
    own: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = own.submit()["id"], own.submit()["id"]
    monkeypatch.setattr(job_names, "MAX_NEWEST", 1)
    assert named(own, old[-12:]).status_code == 404
    assert named(own, new[-12:]).json()["id"] == new
    assert named(own, old[:20]).json()["id"] == old  # beginnings are found among all
    with own.catalog.read() as connection:
        assert len(connection.execute(select(jobs.c.id)).all()) == 2
