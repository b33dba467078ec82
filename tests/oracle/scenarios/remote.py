"""What registries and indexes are asked for: search, and what is said of an image over there."""

from __future__ import annotations

from tests.oracle.index import SearchIndex
from tests.oracle.stage import Stage


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


def search(stage: Stage) -> None:
    """Filters, limits and terms."""
    with SearchIndex(_RESULTS) as index, stage.case("filters"):
        stage.know_text(index.host, "<index>")
        term = f"{index.host}/app"
        stage.search(term)
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
            stage.search(term, filters=filters)
    with SearchIndex(_RESULTS[:1]) as index, stage.case("limits"):
        stage.know_text(index.host, "<index>")
        for limit in (None, 0, 1, 100, 101, -1):
            stage.search(f"{index.host}/app", limit=limit)
            stage.note("the index was asked for", index.asked.copy())
            index.asked.clear()
    with SearchIndex(_RESULTS[:1]) as index, stage.case("terms"):
        stage.know_text(index.host, "<index>")
        for term in ("app", "team/app", "library/app", "a/b/c", ""):
            stage.search(f"{index.host}/{term}")
            stage.note("the index was asked for", index.asked.copy())
            index.asked.clear()
        stage.search(f"http://{index.host}/app")


def inspect(stage: Stage) -> None:
    """The descriptor of an image in a registry, and its platforms."""
    with stage.case("forms"):
        made = stage.have_image("x", load=False)
        name = stage.have_pushed("app", "1", made)
        repository = stage.repository("app")
        stage.remote_inspect(name)
        stage.remote_inspect(f"{repository}@{made.to_push().digest}")
        stage.remote_inspect(repository)
        stage.remote_inspect(f"{repository}:nothing")
        stage.remote_inspect(stage.repository("nothing:1"))
        stage.remote_inspect("App")
        stage.remote_inspect(made.id)
    with stage.case("another platform"):
        top = {"architecture": "arm", "variant": "v7"}
        made = stage.have_image("x", load=False, top=top)
        stage.remote_inspect(stage.have_pushed("app", "1", made))
