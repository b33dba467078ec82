"""Archives of Docker before 1.10; the IDs of their images are in `tests/oracle`, load_legacy."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.unit.store.archives.archives import read, tar
from transship.store.errors import InvalidArchiveError

A, B, C = ("a" * 64, "b" * 64, "c" * 64)


def old(id_: str, parent: str = "", **fields: Any) -> dict[str, bytes]:
    """A directory of one image."""
    document = {"id": id_, "created": "2015-03-20T00:00:00Z", "os": "linux", **fields}
    if parent:
        document["parent"] = parent
    return {
        f"{id_}/VERSION": b"1.0",
        f"{id_}/json": json.dumps(document).encode(),
        f"{id_}/layer.tar": tar({f"etc/{id_[:1]}": id_.encode()}),
    }


def names(**tags: str) -> dict[str, bytes]:
    return {"repositories": json.dumps({"app": tags}).encode()}


def test_each_directory_is_an_image_on_top_of_its_parents() -> None:
    first, second, third = read({**old(C, B), **old(B, A), **old(A), **names(v1=C, v2=B)}).images
    assert [len(one.layers) for one in (first, second, third)] == [1, 2, 3]
    assert (second.parent, third.parent) == (first.image_id, second.image_id)
    assert [[str(name) for name in one.names] for one in (first, second, third)] == [
        [], ["docker.io/library/app:v2"], ["docker.io/library/app:v1"],
    ]  # fmt: skip
    assert third.config is not None
    assert [layer.diff_id for layer in third.layers] == list(third.config.diff_ids)


def test_one_is_read_without_names_too() -> None:
    (image,) = read(old(A)).images
    assert image.names == ()


def test_layers_may_be_links_to_others() -> None:
    files = {**old(A), **old(B, A)}
    del files[f"{B}/layer.tar"]
    links = {f"{B}/layer.tar": f"../{A}/layer.tar"}
    _, second = read(tar(files, links=links)).images
    assert second.layers[0] == second.layers[1]


@pytest.mark.parametrize(
    ("files", "why"),
    [
        (old(A, A), "no end"),
        ({**old(A, B), **old(B, C), **old(C, A)}, "no end"),
        (old(A, B), "does not hold this image"),
        (old(A, "../x"), "does not hold this image"),
        (old(A, os="plan9"), "not linux"),
        (old(A, created="yesterday"), "no time"),
        (old(A, created=5), "created is 5"),
        (old(A, config=[]), "config is"),
        (old(A, config={"Env": "A=1"}), "Env is"),
        (old(A, config={"Volumes": ["/a"]}), "Volumes is"),
        (old(A, docker_version="1.9.0", container_config={"Cmd": 5}), "Cmd is 5"),
        ({**old(A), f"{A}/json": b"[]"}, "not an object"),
        ({**old(A), f"{A}/json": b'{"id":"1","id":"2"}'}, "twice"),
        ({**old(A), f"{A}/json": b"{"}, "not JSON"),
        ({**old(A), **names(v1=B)}, "not there"),
        ({**old(A), "repositories": b"[]"}, "does not map"),
        ({**old(A), "repositories": b'{"app": 5}'}, "does not map"),
        ({**old(A), "repositories": b'{"app": {"1": 5}}'}, "does not map"),
        ({**old(A), "repositories": b'{"App": {"1": "%s"}}' % A.encode()}, "a name is wrong"),
        ({**old(A), **old(B, A), f"{B}/layer.tar": b"\x1f\x8b\x08\0 no gzip"}, "layer"),
    ],
)
def test_what_does_not_hold_together_is_refused(files: dict[str, bytes], why: str) -> None:
    with pytest.raises(InvalidArchiveError) as refused:
        read(files)
    assert why in str(refused.value) or f"{B}/layer.tar" in str(refused.value)


def test_a_thousand_parents_are_enough() -> None:
    files: dict[str, bytes] = {}
    for number in range(1002):
        files |= old(f"{number:064x}", f"{number + 1:064x}" if number < 1001 else "")
    with pytest.raises(InvalidArchiveError):
        read(files)
