"""Names as paths below the root."""

from __future__ import annotations

import pytest

from transship.store.errors import InvalidLayerError
from transship.store.layers.compose.paths import join, parse_path


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("etc/passwd", "etc/passwd"),
        ("/etc/passwd", "etc/passwd"),
        ("./etc//passwd/", "etc/passwd"),
        ("a/./b/../c", "a/c"),
        ("a/..", "."),
        ("", "."),
        ("./", "."),
        ("/", "."),
        ("...", "..."),
        ("..a/b..", "..a/b.."),
    ],
)
def test_names_are_cleaned_by_words_alone(name: str, path: str) -> None:
    assert join(parse_path(name)) == path


@pytest.mark.parametrize("name", ["..", "../etc", "a/../../b", "/../etc", "a/b/../../../c", "./.."])
def test_a_name_that_leads_out_of_the_root_is_refused(name: str) -> None:
    with pytest.raises(InvalidLayerError) as caught:
        parse_path(name)
    assert caught.value.subject == name
