"""What registries and indexes are asked for: search, and what is said of an image over there."""

from __future__ import annotations

from dataclasses import replace

from tests.oracle.harness import Harness
from tests.oracle.index import SearchIndex
from tests.support.images import AMD64
from transship.store.oci.platform import Platform


def _found(name: str, stars: int, *, official: bool, automated: bool) -> dict[str, object]:
    return {
        "name": name,
        "description": f"about {name}",
        "star_count": stars,
        "is_official": official,
        "is_automated": automated,
    }


_RESULTS = [
    _found("app", 100, official=True, automated=False),
    _found("team/app", 10, official=False, automated=True),
    _found("other/app", 2, official=False, automated=False),
]


def search(harness: Harness) -> None:
    """Filters, limits and terms."""
    with SearchIndex(_RESULTS) as index, harness.case("filters"):
        harness.know_text(index.host, "<index>")
        term = f"{index.host}/app"
        harness.search(term)
        for filters in (
            {"is-official": ["true"]},
            {"is-official": ["false"]},
            {"is-official": ["1"]},
            {"is-official": ["true", "false"]},
            {"is-automated": ["true"]},
            {"is-automated": ["false"]},
            {"is-automated": ["maybe"]},
            {"stars": ["10"]},
            {"stars": ["11"]},
            {"stars": ["1", "50"]},
            {"stars": ["-1"]},
            {"stars": ["many"]},
            {"is-official": ["false"], "stars": ["5"]},
            {"nonsense": ["1"]},
        ):
            harness.search(term, filters=filters)
    with SearchIndex(_RESULTS[:1]) as index, harness.case("limits"):
        harness.know_text(index.host, "<index>")
        for limit in (None, 0, 1, 100, 101, -1):
            harness.search(f"{index.host}/app", limit=limit)
            harness.note("the index was asked for", index.asked.copy())
            index.asked.clear()
    with SearchIndex(_RESULTS[:1]) as index, harness.case("terms"):
        harness.know_text(index.host, "<index>")
        for term in ("app", "team/app", "library/app", "a/b/c", ""):
            harness.search(f"{index.host}/{term}")
            harness.note("the index was asked for", index.asked.copy())
            index.asked.clear()
        harness.search(f"http://{index.host}/app")


def inspect(harness: Harness) -> None:
    """The descriptor of an image in a registry, and its platforms."""
    with harness.case("forms"):
        made = harness.have_image("x", load=False)
        name = harness.have_pushed("app", "1", made)
        repository = harness.repository("app")
        harness.remote_inspect(name)
        harness.remote_inspect(f"{repository}@{made.to_push().digest}")
        harness.remote_inspect(repository)
        harness.remote_inspect(f"{repository}:nothing")
        harness.remote_inspect(harness.repository("nothing:1"))
        harness.remote_inspect("App")
        harness.remote_inspect(made.id)
    with harness.case("another platform"):
        top = {"architecture": "arm", "variant": "v7"}
        made = harness.have_image("x", load=False, top=top)
        harness.remote_inspect(harness.have_pushed("app", "1", made))


def indexes(harness: Harness) -> None:
    """What a registry says of an index, of its children, and of what they have become."""
    with harness.case("an index and its children"):
        here = harness.have_image("here", load=False)
        there = harness.have_image("there", load=False, top={"architecture": "arm64"})
        arm = Platform("linux", "arm64")
        name = harness.have_pushed_index("app", "1", {AMD64: here, arm: there})
        harness.remote_inspect(name)
        for made in (here, there):
            digest = replace(made.to_push(), platform=None).digest
            harness.remote_inspect(f"{harness.repository('app')}@{digest}")
    with harness.case("a tag that moves"):
        for seed in ("one", "two"):
            made = harness.have_image(seed, load=False)
            harness.remote_inspect(harness.have_pushed("app", "1", made))
