"""Tokens: what one looks like, and what is kept of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from tests.contract.catalog.prepared import prepared_sqlite
from transship.store.catalog.access import tokens
from transship.store.catalog.access.tokens import Token
from transship.store.catalog.db.engine import Catalog
from transship.store.catalog.db.schema import tokens as token_rows
from transship.store.errors import ConflictError, NotFoundError

NOW = 1_900_000_000.0


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    made = Catalog(prepared_sqlite(tmp_path))
    yield made
    made.close()


def token(name: str = "ci", **more: float) -> Token:
    return Token(id=f"id-{name}", name=name, scopes=("read", "use:hub"), created_at=NOW, **more)


def add(catalog: Catalog, one: Token) -> str:
    text = tokens.make()
    with catalog.write() as connection:
        tokens.add(connection, one, text)
    return text


# --- the text -------------------------------------------------------------------------------------


def test_a_token_can_be_told_by_scanners_and_is_long_enough_not_to_be_guessed() -> None:
    text = tokens.make()
    assert text.startswith("ts_")
    assert len(text) == 3 + 43 + 6
    assert text[3:].isalnum()


def test_no_two_are_the_same() -> None:
    assert len({tokens.make() for _ in range(100)}) == 100


def test_what_was_made_is_well_formed() -> None:
    assert all(tokens.is_well_formed(tokens.make()) for _ in range(100))


def test_any_mistyped_character_is_found() -> None:
    text = tokens.make()
    for place in range(len(text)):
        wrong = text[:place] + ("a" if text[place] != "a" else "b") + text[place + 1 :]
        assert not tokens.is_well_formed(wrong), wrong


@pytest.mark.parametrize("cut", [slice(0, 0), slice(0, 20), slice(0, -1), slice(1, None)])
def test_a_part_of_one_is_none(cut: slice) -> None:
    assert not tokens.is_well_formed(tokens.make()[cut])


@pytest.mark.parametrize("text", ["ts_", "ts_" + "é" * 49, "x" * 10_000, "ts_" + "0" * 49])
def test_what_is_no_token_is_none(text: str) -> None:
    assert not tokens.is_well_formed(text)


# --- the rows -------------------------------------------------------------------------------------


def test_a_token_is_found_by_its_hash(catalog: Catalog) -> None:
    text = add(catalog, token(expires_at=NOW + 60))
    with catalog.read() as connection:
        assert tokens.by_hash(connection) == {tokens.hashed(text): token(expires_at=NOW + 60)}


def test_the_token_itself_is_not_kept(catalog: Catalog) -> None:
    text = add(catalog, token())
    with catalog.read() as connection:
        assert text not in str(connection.execute(select(token_rows)).all())


def test_a_name_belongs_to_one_token(catalog: Catalog) -> None:
    add(catalog, token())
    with pytest.raises(ConflictError, match="ci"), catalog.write() as connection:
        tokens.add(connection, token(), tokens.make())


def test_a_removed_token_is_gone_and_its_name_free(catalog: Catalog) -> None:
    add(catalog, token())
    with catalog.write() as connection:
        tokens.remove(connection, "ci")
        assert tokens.by_hash(connection) == {}
    add(catalog, token())


def test_what_is_not_there_cannot_be_removed(catalog: Catalog) -> None:
    with pytest.raises(NotFoundError), catalog.write() as connection:
        tokens.remove(connection, "ci")


def test_its_last_use_is_written_down(catalog: Catalog) -> None:
    add(catalog, token())
    add(catalog, token("other"))
    with catalog.write() as connection:
        tokens.used(connection, ["id-ci"], NOW + 5)
        used = {one.name: one.used_at for one in tokens.by_hash(connection).values()}
    assert used == {"ci": NOW + 5, "other": None}


@pytest.mark.parametrize(
    ("expires", "usable"), [(None, True), (NOW + 1, True), (NOW, False), (NOW - 1, False)]
)
def test_only_what_has_not_expired_is_of_use(expires: float | None, usable: bool) -> None:
    one = token() if expires is None else token(expires_at=expires)
    assert one.has_expired(NOW) is not usable
