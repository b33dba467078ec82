"""Which image a reference means."""

from __future__ import annotations

from tests.oracle.inputs import Made, image
from tests.oracle.stage import Stage


def _alike(digits: int) -> tuple[Made, Made]:
    """Two images whose IDs begin alike."""
    seen: dict[str, Made] = {}
    for number in range(1000):
        made = image(f"n{number}")
        begin = made.id[7 : 7 + digits]
        if begin in seen:
            return seen[begin], made
        seen[begin] = made
    raise AssertionError(f"no two IDs share {digits} digits")


def names(stage: Stage) -> None:
    """A name in every form."""
    with stage.case("forms"):
        stage.have_image("x", tags=["app:latest", "app:1"])
        stage.have_image("y", tags=["team/app:latest", "localhost:5000/app:latest"])
        for ref in (
            "app",
            "app:1",
            "library/app",
            "docker.io/app",
            "docker.io/library/app:1",
            "index.docker.io/library/app",
            "team/app",
            "docker.io/team/app",
            "localhost:5000/app",
            "localhost/app",
            "app:2",
            "app:",
            "App",
            "team/App",
            "app@sha256:1234",
            f"app@sha256:{64 * '0'}",
            "app app",
            "-app",
            f"app:{129 * 'a'}",
            f"{256 * 'a'}",
        ):
            stage.inspect(ref, "id")


def identifiers(stage: Stage) -> None:
    """An ID, whole or in part, with or without its algorithm."""
    with stage.case("forms"):
        made = stage.have_image("x")
        digits = made.id[7:]
        for ref in (
            made.id,
            digits,
            digits[:12],
            f"sha256:{digits[:12]}",
            digits[:3],
            digits[:1],
            f"sha256:{digits[:1]}",
            f"sha256:{64 * '0'}",
            64 * "0",
            "000",
            digits.upper(),
            digits[:12].upper(),
            f"sha512:{digits[:12]}",
            f"{digits[:12]}:latest",
        ):
            stage.inspect(ref, "id")
    with stage.case("two IDs begin alike"):
        first, second = _alike(2)
        for name, made in (("first", first), ("second", second)):
            stage.know(name, made)
            stage.have_loaded(made)
        stage.inspect(first.id[7:9], "id")
        stage.rm(first.id[7:9])
        stage.tag(first.id[7:9], "app:1")
        alike = next(n for n in range(7, 71) if first.id[n] != second.id[n])
        stage.inspect(first.id[7 : alike + 1], "id")


def precedence(stage: Stage) -> None:
    """What looks like several things at once."""
    with stage.case("a name of one image begins the ID of another"):
        x = stage.have_image("x")
        y = stage.have_image("y")
        stage.subject.tag(y.id, f"{x.id[7:15]}:latest")
        stage.inspect(x.id[7:15], "id")
        stage.inspect(x.id[7:16], "id")
        stage.inspect(f"sha256:{x.id[7:15]}", "id")
        stage.save(x.id[7:15])
        stage.rm(x.id[7:15])
        stage.names()
    with stage.case("a name without the tag latest begins the ID of another"):
        x = stage.have_image("x")
        y = stage.have_image("y")
        stage.subject.tag(y.id, f"{x.id[7:15]}:1")
        stage.inspect(x.id[7:15], "id")
        stage.inspect(f"{x.id[7:15]}:1", "id")
        stage.save(x.id[7:15])
    with stage.case("name, tag and digest"):
        x = stage.have_image("x", load=False)
        y = stage.have_image("y", load=False)
        stage.subject.pull(stage.have_pushed("app", "1", x))
        stage.subject.pull(stage.have_pushed("app", "2", y))
        repository, digest = stage.repository("app"), x.to_push().digest
        for ref in (
            f"{repository}@{digest}",
            f"{repository}:1@{digest}",
            f"{repository}:2@{digest}",
            f"{repository}:nothing@{digest}",
            f"other@{digest}",
            str(digest),
            f"{repository}@{x.id}",
        ):
            stage.inspect(ref, "id")
