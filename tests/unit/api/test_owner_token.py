"""The admin token that a server makes at its first start, and never again."""

from __future__ import annotations

from pathlib import Path

from tests.unit.api.serving import PREFIX, Api
from transship.api.access import owner_token
from transship.api.access.administration import Access
from transship.api.http.audit_log import OWNER
from transship.store.home import read_token


def test_it_is_made_once_and_may_everything(tmp_path: Path) -> None:
    with Api(tmp_path) as api:
        access = Access(api.catalog, api.context.sealer)
        owner_token.make_first(api.home, access)
        token = read_token(api.home)
        assert (api.home / "token").stat().st_mode & 0o777 == 0o600
        headers = {"Authorization": f"Bearer {token}"}
        assert api.anybody.get(f"{PREFIX}/tokens", headers=headers).status_code == 200
        owner_token.make_first(api.home, access)
        assert read_token(api.home) == token
        assert [one.name for one in access.tokens().items] == [owner_token.NAME]


def test_none_is_made_where_the_last_one_was_removed(tmp_path: Path) -> None:
    with Api(tmp_path) as api:
        access = Access(api.catalog, api.context.sealer)
        owner_token.make_first(api.home, access)
        access.remove_token(owner_token.NAME, OWNER)
        owner_token.make_first(api.home, access)
        assert access.tokens().items == []


def test_none_is_made_where_there_are_others(tmp_path: Path) -> None:
    with Api(tmp_path) as api:
        api.token("read", name="ci")
        owner_token.make_first(api.home, Access(api.catalog, api.context.sealer))
        assert read_token(api.home) is None
