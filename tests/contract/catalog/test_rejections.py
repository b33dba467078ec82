"""Messages that could not become jobs are kept, a bounded number of them, and do no harm."""

from __future__ import annotations

import pytest

from tests.contract.catalog.scene import Scene
from transship.store.catalog.scheduling import rejections


def _record(scene: Scene, *rejected: tuple[str, bytes]) -> list[rejections.Rejection]:
    with scene.catalog.write() as connection:
        rejections.record(connection, rejected, scene.now)
    with scene.catalog.read() as connection:
        return rejections.newest(connection, rejections.MAX_KEPT + 1)


def test_the_newest_comes_first(scene: Scene) -> None:
    found = _record(scene, ("first", b"1"), ("second", b"2"))
    assert [(one.reason, one.excerpt) for one in found] == [("second", "2"), ("first", "1")]
    assert found[0].time == scene.now


def test_the_oldest_are_forgotten_and_still_counted(scene: Scene) -> None:
    _record(scene, ("before", b""))
    with scene.catalog.read() as connection:
        before = rejections.count(connection)
    found = _record(scene, *((f"{n}", b"") for n in range(rejections.MAX_KEPT + 5)))
    assert len(found) == rejections.MAX_KEPT
    assert (found[0].reason, found[-1].reason) == (f"{rejections.MAX_KEPT + 4}", "5")
    with scene.catalog.read() as connection:
        assert rejections.count(connection) == before + rejections.MAX_KEPT + 5


@pytest.mark.parametrize(
    "raw",
    [b"\0\x1b[2J\xff\r\n", "a\u202eb\ud7ff\U0001f600".encode(), b"\\" * 5000, b"\xff" * 5000],
    ids=["control", "unicode", "long", "binary"],
)
def test_an_excerpt_is_plain_and_bounded(scene: Scene, raw: bytes) -> None:
    (found,) = _record(scene, ("a\0\ud800", raw))
    for text in (found.excerpt, found.reason):
        assert text.isascii()
        assert text.isprintable()
        assert len(text) <= rejections.EXCERPT_CHARS + 3
