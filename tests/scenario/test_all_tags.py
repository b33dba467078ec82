"""All tags of a repository, from the command line: into the store and out again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.images import Image, build_image, push_to_registry
from tests.support.server import run
from tests.support.up import Environment, up_environment


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Environment]:
    with up_environment(tmp_path_factory.mktemp("environment")) as opened:
        yield opened


def _transship(here: Environment, *arguments: str, code: int = 0) -> dict[str, Any]:
    done = run(*arguments, "--json", environ=here.environ)
    assert (done.returncode, "Traceback" in done.stderr) == (code, False), done.stderr
    job: dict[str, Any] = json.loads(done.stdout)
    return job


def _put(here: Environment, repository: str) -> dict[str, Image]:
    images = {tag: build_image(f"{repository} {tag}", layers=2) for tag in ("1", "2")}
    images["latest"] = images["2"]
    for tag, image in images.items():
        push_to_registry(here.source.url, repository, tag, image)
    return images


def test_all_tags_are_pulled_and_pushed(here: Environment) -> None:
    images = _put(here, "team/whole")
    name, there = f"{here.source.host}/team/whole", f"{here.target.host}/whole"
    pulled = _transship(here, "pull", name, "--all-tags")
    assert (pulled["result"]["tags"], pulled["children"]) == (3, {"succeeded": 3})
    moved = sum(image.size for image in (images["1"], images["2"]))
    assert pulled["progress"]["bytes_moved"] == moved
    pushed = _transship(here, "push", name, there, "-a")
    assert pushed["result"] == {
        "reference": there,
        "tags": 3,
        "by_state": {"succeeded": 3},
        "failed": [],
    }
    for tag, image in images.items():
        copied = _transship(here, "copy", f"{name}:{tag}", f"{there}:{tag}")
        assert copied["result"]["up_to_date"] is True
        assert copied["result"]["digest"] == str(image.digest)
    told = [one for one in here.up.client.image_events() if one["actor"] in (name, there)]
    assert [(one["action"], one["actor"]) for one in told] == [("pull", name), ("push", there)]


def test_pulling_all_tags_says_how_many(here: Environment) -> None:
    _put(here, "team/told")
    name = f"{here.source.host}/team/told"
    done = run("pull", name, "--all-tags", environ=here.environ)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{name}: 3 tags, done; moved ")


def test_a_repository_that_has_no_tag_here_is_not_pushed(here: Environment) -> None:
    job = _transship(here, "push", f"{here.target.host}/nothing", "--all-tags", code=1)
    assert job["error"]["code"] == "not-found"


@pytest.mark.parametrize("words", [("pull", "a.test/b:1", "-a"), ("push", "a.test/b:1", "-a")])
def test_all_tags_of_a_tag_is_a_wrong_question(here: Environment, words: tuple[str, ...]) -> None:
    done = run(*words, environ=here.environ)
    assert done.returncode == 2
    assert "without a tag or digest" in done.stderr
