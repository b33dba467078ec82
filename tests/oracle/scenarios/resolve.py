"""Which image a reference means."""

from __future__ import annotations

from tests.oracle.harness import Harness
from tests.oracle.inputs import Made, image


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


def names(harness: Harness) -> None:
    """A name in every form."""
    with harness.case("forms"):
        harness.have_image("x", tags=["app:latest", "app:1"])
        harness.have_image("y", tags=["team/app:latest", "localhost:5000/app:latest"])
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
            harness.inspect(ref, "id")


def identifiers(harness: Harness) -> None:
    """An ID, whole or in part, with or without its algorithm."""
    with harness.case("forms"):
        made = harness.have_image("x")
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
            harness.inspect(ref, "id")
    with harness.case("two IDs begin alike"):
        first, second = _alike(2)
        for name, made in (("first", first), ("second", second)):
            harness.know(name, made)
            harness.have_loaded(made)
        harness.inspect(first.id[7:9], "id")
        harness.rm(first.id[7:9])
        harness.tag(first.id[7:9], "app:1")
        alike = next(n for n in range(7, 71) if first.id[n] != second.id[n])
        harness.inspect(first.id[7 : alike + 1], "id")


def precedence(harness: Harness) -> None:
    """What looks like several things at once."""
    with harness.case("a name of one image begins the ID of another"):
        x = harness.have_image("x")
        y = harness.have_image("y")
        harness.subject.tag(y.id, f"{x.id[7:15]}:latest")
        harness.inspect(x.id[7:15], "id")
        harness.inspect(x.id[7:16], "id")
        harness.inspect(f"sha256:{x.id[7:15]}", "id")
        harness.save(x.id[7:15])
        harness.rm(x.id[7:15])
        harness.names()
    with harness.case("a name without the tag latest begins the ID of another"):
        x = harness.have_image("x")
        y = harness.have_image("y")
        harness.subject.tag(y.id, f"{x.id[7:15]}:1")
        harness.inspect(x.id[7:15], "id")
        harness.inspect(f"{x.id[7:15]}:1", "id")
        harness.save(x.id[7:15])
    with harness.case("name, tag and digest"):
        x = harness.have_image("x", load=False)
        y = harness.have_image("y", load=False)
        harness.subject.pull(harness.have_pushed("app", "1", x))
        harness.subject.pull(harness.have_pushed("app", "2", y))
        repository, digest = harness.repository("app"), x.to_push().digest
        for ref in (
            f"{repository}@{digest}",
            f"{repository}:1@{digest}",
            f"{repository}:2@{digest}",
            f"{repository}:nothing@{digest}",
            f"other@{digest}",
            str(digest),
            f"{repository}@{x.id}",
        ):
            harness.inspect(ref, "id")


def shortened(harness: Harness) -> None:
    """Beginnings of IDs, for everything that takes an image."""
    with harness.case("of each length"):
        made = harness.have_image("x")
        for length in (1, 2, 3, 6, 12, 13, 32, 63, 64):
            harness.inspect(made.id[7 : 7 + length], "id")
            harness.inspect(made.id[: 7 + length], "id")
        harness.inspect(f"{made.id[7:70]}g", "id")
        harness.inspect(f"sha256:{made.id[7:70]}g", "id")
        harness.inspect("sha256:", "id")
    with harness.case("for every verb"):
        base = harness.have_image("base")
        made = harness.have_image("x", parent=base)
        short = made.id[7:19]
        harness.history(short)
        harness.children(base.id[7:19])
        harness.save(short)
        harness.tag(short, "app:1")
        harness.squash(short, "squashed:1")
        harness.workspace_create("work", short)
        harness.workspace_commit("work", "new:1")
        harness.rm(short)
        harness.names()


def repositories(harness: Harness) -> None:
    """Names without a tag, where the repository has others only."""
    with harness.case("no latest"):
        harness.have_image("x", tags=["app:1", "team/app:2"])
        for ref in ("app", "app:latest", "team/app", "team/app:latest"):
            harness.inspect(ref, "id")
            harness.history(ref)
            harness.rm(ref)
        harness.tag("app", "web:1")
        harness.squash("app", "squashed:1")
        harness.workspace_create("work", "app")
        harness.names()
    with harness.case("a digest of another repository"):
        made = harness.have_image("x", load=False)
        harness.subject.pull(harness.have_pushed("app", "1", made))
        for name in ("other", "app"):
            harness.inspect(f"{harness.repository(name)}@{made.to_push().digest}", "id")
            harness.inspect(f"{harness.repository(name)}@sha256:{64 * '0'}", "id")
        harness.rm(f"{harness.repository('other')}@{made.to_push().digest}")
        harness.names()
