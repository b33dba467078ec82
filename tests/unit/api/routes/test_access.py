"""/tokens and /credentials: what is made, shown, refused and removed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.support.processes import wait_until
from tests.unit.api.serving import Api
from transship.store.catalog.access import credentials, tokens
from transship.store.catalog.db.schema import named_credentials
from transship.store.catalog.db.schema import tokens as token_rows
from transship.workers.registry.auth.credentials import Credential

SECRET = "correct-horse-battery"
HUB = {"name": "hub", "registry": "docker.io", "username": "ann", "password": SECRET}


class Admin:
    """Asks as an admin; with a token, since making one ends the time without."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.api.http.headers["Authorization"] = f"Bearer {api.token('admin', name='root')}"
        wait_until(lambda: api.get("/tokens").status_code == 200, 5, "the token to count")

    def token(self, **wanted: Any) -> Any:
        return self.api.post("/tokens", json=wanted)

    def credential(self, **changed: Any) -> Any:
        return self.api.post("/credentials", json={**HUB, **changed})

    def listed(self, what: str) -> dict[str, dict[str, Any]]:
        """What is listed, by name."""
        page = self.api.get(what).json()
        assert page["next"] is None
        return {one["name"]: one for one in page["items"]}

    def credentials_of(self, job: str) -> dict[str, Credential]:
        """What a job works with."""
        with self.api.catalog.read() as connection:
            sealed = credentials.of_root(connection, job)
        opened = {key: self.api.context.sealer.open(one.sealed) for key, one in sealed.items()}
        return {key: Credential(**values) for key, values in opened.items()}


@pytest.fixture
def admin(tmp_path: Path) -> Iterator[Admin]:
    with Api(tmp_path) as api:
        yield Admin(api)


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Admin]:
    """The same for tests after which nothing is there."""
    with Api(tmp_path_factory.mktemp("empty")) as api:
        yield Admin(api)


# --- tokens ---------------------------------------------------------------------------------------


def test_a_token_is_shown_once_and_works(admin: Admin) -> None:
    answer = admin.token(name="ci", scopes=["read", "submit", "read"])
    made = answer.json()
    assert (answer.status_code, answer.headers["cache-control"]) == (201, "no-store")
    assert made["scopes"] == ["read", "submit"]
    assert tokens.is_well_formed(made["token"])
    headers = {"Authorization": f"Bearer {made['token']}"}
    wait_until(lambda: admin.api.get("/jobs", headers=headers).status_code == 200, 5, "it to work")
    assert made["token"] not in admin.api.get("/tokens").text
    assert admin.listed("/tokens")["ci"].keys() == made.keys() - {"token"}


def test_a_token_without_a_name_gets_one_of_its_own(admin: Admin) -> None:
    names = {admin.token(scopes=["read"]).json()["name"] for _ in range(3)}
    assert len(names) == 3


def test_a_token_expires_when_it_was_told_to(admin: Admin) -> None:
    made = admin.token(scopes=["read"], expires_in_seconds=3600).json()
    created, expires = (datetime.fromisoformat(made[f"{end}_at"]) for end in ("created", "expires"))
    assert (expires - created).total_seconds() == pytest.approx(3600, abs=0.01)


@pytest.mark.parametrize(
    ("wanted", "field"),
    [
        ({}, "scopes"),
        ({"scopes": []}, "scopes"),
        ({"scopes": ["write"]}, "scopes.0"),
        ({"scopes": ["read", "use:"]}, "scopes.1"),
        ({"scopes": ["use:a b"]}, "scopes.0"),
        ({"scopes": ["use:missing"]}, "scopes.0"),
        ({"scopes": ["read"], "name": "a b"}, "name"),
        ({"scopes": ["read"], "name": ""}, "name"),
        ({"scopes": ["read"], "expires_in_seconds": 0}, "expires_in_seconds"),
        ({"scopes": ["read"], "odd": 1}, "odd"),
    ],
)
def test_a_token_that_cannot_be_is_refused_by_its_field(
    empty: Admin, wanted: dict[str, Any], field: str
) -> None:
    answer = empty.token(**wanted)
    assert answer.status_code == 422
    assert [one["field"] for one in answer.json()["errors"]] == [field]
    assert empty.listed("/tokens").keys() == {"root"}


def test_a_name_is_used_once(admin: Admin) -> None:
    assert admin.token(name="ci", scopes=["read"]).status_code == 201
    assert admin.token(name="ci", scopes=["read"]).status_code == 409


def test_a_token_is_removed_by_its_name(admin: Admin) -> None:
    admin.token(name="team/ci", scopes=["read"])
    assert admin.api.http.delete("/api/v1/tokens/team/ci").status_code == 204
    assert admin.api.http.delete("/api/v1/tokens/team/ci").status_code == 404


# --- credentials ----------------------------------------------------------------------------------


def test_a_credential_is_listed_without_its_secret(admin: Admin) -> None:
    answer = admin.credential()
    assert answer.status_code == 201
    assert SECRET not in answer.text + admin.api.get("/credentials").text
    assert admin.listed("/credentials")["hub"] == answer.json()
    assert answer.json().keys() == {"name", "registry", "created_at"}


def test_it_is_sealed_at_rest(admin: Admin) -> None:
    admin.credential()
    with admin.api.catalog.read() as connection:
        (row,) = connection.execute(named_credentials.select()).all()
    assert SECRET not in str(row)
    assert admin.api.context.sealer.open(row.sealed)["password"] == SECRET


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("docker.io", "docker.io"),
        ("index.docker.io", "docker.io"),
        ("docker.io/team", "docker.io/team"),
        ("index.docker.io/team", "docker.io/team"),
        ("quay.io/a/b", "quay.io/a/b"),
        ("localhost:5000", "localhost:5000"),
    ],
)
def test_its_registry_is_called_as_references_call_it(admin: Admin, given: str, kept: str) -> None:
    answer = admin.api.post("/credentials", json={"registry": given, "username": "ann"})
    assert (answer.json()["registry"], answer.json()["name"]) == (kept, kept)


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"registry": "https://docker.io"}, "registry"),
        ({"registry": "team"}, "registry"),
        ({"registry": "quay.io/UPPER"}, "registry"),
        ({"registry": "quay.io/a:tag"}, "registry"),
        ({"registry": ""}, "registry"),
        ({"name": "a,b"}, "name"),
        ({"username": "", "password": ""}, "password"),
        ({"password": 3}, "password"),
    ],
)
def test_one_that_cannot_be_is_refused_by_its_field(
    empty: Admin, changed: dict[str, Any], field: str
) -> None:
    answer = empty.credential(**changed)
    assert answer.status_code == 422
    assert [one["field"] for one in answer.json()["errors"]] == [field]
    assert SECRET not in answer.text
    assert empty.listed("/credentials") == {}


def test_its_secret_can_be_changed_but_not_its_registry(admin: Admin) -> None:
    admin.credential()
    assert admin.credential(password="new").status_code == 201
    assert admin.credential(registry="evil.test").status_code == 409
    assert admin.listed("/credentials")["hub"]["registry"] == "docker.io"


def test_it_is_removed_by_its_name(admin: Admin) -> None:
    admin.credential(name="quay.io/team", registry="quay.io/team")
    assert admin.api.http.delete("/api/v1/credentials/quay.io/team").status_code == 204
    assert admin.listed("/credentials") == {}
    assert admin.api.http.delete("/api/v1/credentials/quay.io/team").status_code == 404


# --- what jobs get --------------------------------------------------------------------------------

PULL = {"kind": "pull", "reference": "docker.io/team/app:1"}
ANN = Credential("ann", SECRET)


def submitted(admin: Admin, *scopes: str, **more: Any) -> tuple[str, dict[str, str]]:
    """The id of a job of a new token with *scopes*, and the headers with that token."""
    headers = {"Authorization": f"Bearer {admin.token(scopes=list(scopes)).json()['token']}"}
    wait_until(lambda: admin.api.get("/jobs", headers=headers).status_code == 200, 5, "the token")
    job = admin.api.post("/jobs", json={**PULL, **more}, headers=headers)
    assert job.status_code == 202, job.text
    return job.json()["id"], headers


def test_a_job_has_the_credential_that_its_token_may_use(admin: Admin) -> None:
    admin.credential()
    job, _ = submitted(admin, "submit", "use:hub")
    assert admin.credentials_of(job) == {"docker.io": ANN}


def test_a_credential_that_is_granted_to_read_is_not_written_with(admin: Admin) -> None:
    admin.credential()
    job, headers = submitted(admin, "submit", "use:hub:read")
    assert admin.credentials_of(job) == {"docker.io": ANN}
    copies = {
        "from there": ("docker.io/team/app:1", "localhost:1/app", {"docker.io": ANN}),
        "to there": ("localhost:1/app", "docker.io/team/app:1", {}),
        "within": ("docker.io/team/app:1", "docker.io/team/other:1", {}),
    }
    for source, destination, expected in copies.values():
        spec = {"kind": "copy", "source": source, "destination": destination}
        made = admin.api.post("/jobs", json=spec, headers=headers).json()["id"]
        assert admin.credentials_of(made) == expected


def test_a_grant_is_of_one_credential_and_not_of_its_name(admin: Admin) -> None:
    admin.credential()
    _, headers = submitted(admin, "submit", "use:hub")
    assert admin.api.http.delete("/api/v1/credentials/hub").status_code == 204
    admin.credential(password="of another")
    job = admin.api.post("/jobs", json=PULL, headers=headers).json()["id"]
    assert admin.credentials_of(job) == {}


def test_grants_are_shown_by_name(admin: Admin) -> None:
    admin.credential()
    admin.token(name="t", scopes=["submit", "use:hub", "use:hub:read"])
    assert admin.listed("/tokens")["t"]["scopes"] == ["submit", "use:hub", "use:hub:read"]


def test_no_name_ends_like_a_grant_to_read(admin: Admin) -> None:
    assert admin.credential(name="hub:read").status_code == 422


def test_a_job_of_another_token_has_none(admin: Admin) -> None:
    admin.credential()
    job, _ = submitted(admin, "submit")
    assert admin.credentials_of(job) == {}


def test_what_comes_with_a_job_goes_before(admin: Admin) -> None:
    admin.credential()
    own = {"docker.io": {"username": "bob", "password": "his"}}
    job, _ = submitted(admin, "submit", "use:hub", credentials=own)
    assert admin.credentials_of(job) == {"docker.io": Credential("bob", "his")}


def test_no_answer_names_the_credential_that_a_job_has(admin: Admin) -> None:
    admin.credential()
    job, _ = submitted(admin, "submit", "use:hub")
    assert SECRET not in admin.api.get(f"/jobs/{job}").text + admin.api.get(f"/jobs/{job}/log").text


def test_a_retry_asks_for_no_credential_that_the_server_has(admin: Admin) -> None:
    admin.credential()
    job, headers = submitted(admin, "submit", "use:hub")
    admin.api.post(f"/jobs/{job}/cancel", headers=headers)
    again = admin.api.post(f"/jobs/{job}/retry", headers=headers)
    assert again.status_code == 202
    assert admin.credentials_of(again.json()["id"]) == {"docker.io": ANN}


def test_a_retry_by_somebody_who_may_not_use_it_is_told_so(admin: Admin) -> None:
    admin.credential()
    job, headers = submitted(admin, "submit", "use:hub")
    admin.api.post(f"/jobs/{job}/cancel", headers=headers)
    with admin.api.catalog.write() as connection:
        taken = token_rows.c.name != "root"
        connection.execute(token_rows.update().where(taken).values(scopes=["submit"]))

    def told() -> str:
        answer = admin.api.post(f"/jobs/{job}/retry", headers=headers)
        return str(answer.json().get("code"))

    wait_until(lambda: told() == "credentials-needed", 5, "the scope to be gone")
