"""What is about an image comes along with it, and is found at the target as at the source."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from tests.support.engine import Engine
from tests.support.registry_simulator import Quirks, RegistrySimulator
from transship.store.catalog.scheduling import events

SIGNATURE, SBOM = "application/vnd.example.signature", "application/spdx+json"
INDEX = "application/vnd.oci.image.index.v1+json"
LISTED = {"by API": 200, "by tag": 404, "API refused": 405, "API denied": 403}


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    with Engine(home) as made:
        yield made


@pytest.fixture
def registries(request: pytest.FixtureRequest) -> Iterator[tuple[RegistrySimulator, ...]]:
    """Source and target; how each lists referrers is given as the parameter."""
    statuses = getattr(request, "param", (200, 200))
    source, target = (RegistrySimulator(Quirks(referrers_status=status)) for status in statuses)
    with source, target:
        yield source, target


def listed(registry: RegistrySimulator, subject: str) -> set[str]:
    """What someone who looks for the referrers of *subject* finds, as the specification says."""
    if registry.quirks.referrers_status == 200:
        return set(registry.referrers("app", subject))
    tag = registry.tags["app"].get(subject.replace(":", "-"))
    if tag is None:
        return set()
    document = json.loads(registry.manifests["app"][tag][1])
    return {one["digest"] for one in document["manifests"]}


def copy(engine: Engine, source: RegistrySimulator, target: RegistrySimulator, **more: Any) -> Any:
    more = {"referrers": "all", **more}
    return engine.run(
        kind="copy", source=f"{source.host}/app:v1", destination=f"{target.host}/app:v1", **more
    )


def index_of(registry: RegistrySimulator, *images: str) -> str:
    """An index of some images, one for each of some platforms."""
    platforms = ["amd64", "arm64", "riscv64"]
    children = [
        {
            "mediaType": registry.manifests["app"][digest][0],
            "digest": digest,
            "size": len(registry.manifests["app"][digest][1]),
            "platform": {"os": "linux", "architecture": architecture},
        }
        for digest, architecture in zip(images, platforms, strict=False)
    ]
    document = {"schemaVersion": 2, "mediaType": INDEX, "manifests": children}
    return registry.add_manifest("app", "v1", INDEX, json.dumps(document).encode())


def log_of(engine: Engine, job: str) -> str:
    with engine.catalog.read() as connection:
        return "\n".join(
            str(event.data.get("message", ""))
            for event in events.of_job(connection, job, children=True)
        )


@pytest.mark.parametrize(
    "registries",
    list(product(LISTED.values(), LISTED.values())),
    ids=[f"{one} to {other}" for one, other in product(LISTED, LISTED)],
    indirect=True,
)
def test_all_that_is_about_an_index_is_found_at_the_target(
    engine: Engine, registries: tuple[RegistrySimulator, ...]
) -> None:
    source, target = registries
    images = [source.add_image("app", f"p{n}", [b"layer %d" % n]) for n in range(3)]
    index = index_of(source, *images)
    about: dict[str, str] = {source.attach("app", index, SIGNATURE): index}
    for image in images:
        sbom = source.attach("app", image, SBOM)
        about[sbom] = image
        about[source.attach("app", sbom, SIGNATURE)] = sbom
    cosign = f"{index.replace(':', '-')}.sig"
    signature = source.attach("app", index, SIGNATURE, tag=cosign)
    target.manifests["app"] = {}
    theirs = target.attach("app", index, "application/vnd.example.theirs")

    row = copy(engine, source, target)
    assert row.state == "succeeded", row.error
    assert row.result["referrers"] == len(about) + 1
    for digest, subject in about.items():
        assert target.manifests["app"][digest] == source.manifests["app"][digest]
        assert digest in listed(target, subject)
    assert target.tags["app"][cosign] == signature
    assert theirs in listed(target, index)

    puts = [r for r in target.requests() if r.method == "PUT" and "/manifests/" in r.target]
    order = [request.target.rpartition("/")[2] for request in puts]
    assert order[-1] == "v1"
    for digest, subject in about.items():
        assert order.index(subject) < order.index(digest)

    # A second time nothing is fetched and nothing sent.
    for registry in registries:
        registry.forget_requests()
    again = copy(engine, source, target)
    assert again.result["up_to_date"] is True
    assert {r.method for r in target.requests()} <= {"GET", "HEAD"}
    assert not [r for r in source.requests() if "/blobs/" in r.target]


def test_without_being_asked_for_nothing_comes_along(
    engine: Engine, registries: tuple[RegistrySimulator, ...]
) -> None:
    source, target = registries
    image = source.add_image("app", "v1", [b"layer"])
    source.attach("app", image, SIGNATURE)
    row = copy(engine, source, target, referrers="none")
    assert row.state == "succeeded", row.error
    assert "referrers" not in row.result
    assert set(target.manifests["app"]) == {image}
    assert not [r for r in source.requests() if "/referrers/" in r.target]


@pytest.mark.parametrize("registries", [(200, 200), (404, 404)], indirect=True)
def test_a_signature_that_comes_later_is_brought_although_the_tag_is_equal(
    engine: Engine, registries: tuple[RegistrySimulator, ...]
) -> None:
    source, target = registries
    image = source.add_image("app", "v1", [b"layer"])
    assert copy(engine, source, target).state == "succeeded"
    signature = source.attach("app", image, SIGNATURE)
    row = copy(engine, source, target)
    assert row.state == "succeeded", row.error
    assert listed(target, image) == {signature}


@pytest.mark.parametrize("registries", [(200, 200), (404, 200)], indirect=True)
@pytest.mark.parametrize("typed", [True, False])
def test_some_types_are_taken(
    engine: Engine, registries: tuple[RegistrySimulator, ...], typed: bool
) -> None:
    source, target = registries
    image = source.add_image("app", "v1", [b"layer"])
    wanted = source.attach("app", image, SBOM)
    other = source.attach("app", image, SIGNATURE)
    if source.quirks.referrers_status != 200 and not typed:  # as clients list that forget the type
        del source.tags["app"][image.replace(":", "-")]
        source.list_under_tag("app", image, wanted, other, type_=False)
    row = copy(engine, source, target, referrers=[SBOM])
    assert row.state == "succeeded", row.error
    assert listed(target, image) == {wanted}
    assert other not in target.manifests["app"]


@pytest.mark.parametrize("registries", [(404, 200)], indirect=True)
def test_what_is_listed_and_is_none_is_left_out_and_told(
    engine: Engine, registries: tuple[RegistrySimulator, ...]
) -> None:
    source, target = registries
    image = source.add_image("app", "v1", [b"layer"])
    good = source.attach("app", image, SIGNATURE)
    lies = source.attach("app", image, SBOM, claims="sha256:" + "a" * 64)
    gone = "sha256:" + "b" * 64
    source.list_under_tag("app", image, gone)
    row = copy(engine, source, target)
    assert row.state == "succeeded", row.error
    assert listed(target, image) == {good}
    log = log_of(engine, row.id)
    assert f"{lies} is listed as a referrer of {image}, and is not one" in log
    assert f"{gone} is listed as a referrer of {image}, and not there" in log
    # Nor are they missing at the target ever after.
    entry = {"source": f"{source.host}/app:v1", "destination": f"{target.host}/app:v1"}
    again = engine.run(kind="mirror", entries=[entry])
    (child,) = engine.ask(f"SELECT fence FROM jobs WHERE parent = '{again.id}'")
    assert (again.result["up_to_date"], child.fence) == (1, 0), "it ended when it was made"
    plan = engine.run(kind="mirror", entries=[entry], dry_run=True).result
    assert (plan["up_to_date"], plan["drift"]) == (1, False)
    verified = engine.run(kind="mirror", entries=[entry], verify="head", verify_only=True)
    assert verified.state == "succeeded", verified.error


@pytest.mark.parametrize("on_rewrite", ["warn", "fail"])
def test_what_is_about_a_whole_index_does_not_fit_a_part_of_it(
    engine: Engine, registries: tuple[RegistrySimulator, ...], on_rewrite: str
) -> None:
    source, target = registries
    images = [source.add_image("app", f"p{n}", [b"layer %d" % n]) for n in range(3)]
    index = index_of(source, *images)
    about_index = source.attach("app", index, SIGNATURE)
    about_image = source.attach("app", images[0], SIGNATURE)
    platforms = ["linux/amd64", "linux/arm64"]
    row = copy(engine, source, target, platforms=platforms, on_rewrite=on_rewrite)
    if on_rewrite == "fail":
        assert row.state == "failed"
        assert row.error["side"] == "source"
        assert about_index in row.error["detail"]
        assert "app" not in target.tags
        return
    assert row.state == "succeeded", row.error
    assert listed(target, images[0]) == {about_image}
    assert about_index not in target.manifests["app"]
    assert about_index in log_of(engine, row.id)


def test_too_many_are_refused_and_some_types_of_them_are_not(
    engine: Engine, registries: tuple[RegistrySimulator, ...]
) -> None:
    source, target = registries
    image = source.add_image("app", "v1", [b"layer"])
    wanted = source.attach("app", image, SBOM)
    for n in range(1001):
        source.attach("app", image, f"application/vnd.example.n{n}")
    row = copy(engine, source, target)
    assert row.state == "failed"
    assert row.error["side"] == "source"
    assert "more than 1000" in row.error["detail"]
    assert "app" not in target.tags
    row = copy(engine, source, target, referrers=[SBOM])
    assert row.state == "succeeded", row.error
    assert listed(target, image) == {wanted}


def test_a_list_in_pages_is_read_to_its_end(engine: Engine) -> None:
    with RegistrySimulator(Quirks(page=2)) as source, RegistrySimulator() as target:
        image = source.add_image("app", "v1", [b"layer"])
        all_ = {source.attach("app", image, f"application/vnd.example.n{n}") for n in range(5)}
        row = copy(engine, source, target)
        assert row.state == "succeeded", row.error
        assert listed(target, image) == all_


@pytest.mark.parametrize("registries", [(200, 404)], indirect=True)
def test_a_tag_that_is_no_list_of_referrers_is_not_replaced(
    engine: Engine, registries: tuple[RegistrySimulator, ...]
) -> None:
    source, target = registries
    image = source.add_image("app", "v1", [b"layer"])
    source.attach("app", image, SIGNATURE)
    tag = image.replace(":", "-")
    theirs = target.add_image("app", tag, [b"other"])
    row = copy(engine, source, target)
    assert row.state == "failed"
    assert row.error["side"] == "destination"
    assert "in use for something else" in row.error["detail"]
    assert target.tags["app"] == {tag: theirs}


# --- mirrors -------------------------------------------------------------------------------------


def mirror(
    engine: Engine, source: RegistrySimulator, target: RegistrySimulator, **more: Any
) -> Any:
    entry = {"source": f"{source.host}/app", "destination": f"{target.host}/app", **more}
    row = engine.run(kind="mirror", entries=[entry])
    assert row.state == "succeeded", row.error
    return row


def questions(registry: RegistrySimulator) -> list[str]:
    return [
        f"{request.method} {request.target.partition('/app/')[2]}"
        for request in registry.requests()
        if "/app/" in request.target
    ]


@pytest.mark.parametrize(
    "registries", list(product((200, 404), (200, 404))), ids=str, indirect=True
)
def test_a_mirror_takes_along_what_is_about_its_images(
    engine: Engine, registries: tuple[RegistrySimulator, ...]
) -> None:
    source, target = registries
    images = {f"v{n}": source.add_image("app", f"v{n}", [b"layer %d" % n]) for n in range(20)}
    about: dict[str, str] = {}
    for tag in ("v1", "v7"):
        signature = source.attach("app", images[tag], SIGNATURE)
        about[signature] = images[tag]
        about[source.attach("app", signature, SIGNATURE)] = signature
    cosign = f"{images['v3'].replace(':', '-')}.sig"
    source.attach("app", images["v3"], SIGNATURE, tag=cosign)
    target.manifests["app"] = {}
    theirs = target.attach("app", images["v1"], "application/vnd.example.theirs")

    first = mirror(engine, source, target)
    assert first.result["images"] == len(images) + 1  # and the signature that has a tag
    for digest, subject in about.items():
        assert digest in listed(target, subject)
    assert theirs in listed(target, images["v1"])
    assert target.tags["app"][cosign] == source.tags["app"][cosign]

    for registry in registries:
        registry.forget_requests()
    again = mirror(engine, source, target)
    assert again.result["up_to_date"] == again.result["images"]
    assert all(question.startswith(("GET", "HEAD")) for question in questions(target))
    for registry in registries:
        asked = [question for question in questions(registry) if "referrers/" in question]
        assert len(asked) == len(set(asked)), "each digest once"

    # What is new about an image that has not changed is brought.
    later = source.attach("app", images["v9"], SBOM)
    third = mirror(engine, source, target)
    assert third.result["up_to_date"] == third.result["images"] - 1
    assert listed(target, images["v9"]) == {later}


@pytest.mark.parametrize("registries", [(404, 404)], indirect=True)
def test_where_nothing_is_about_anything_nothing_more_is_asked(
    engine: Engine, registries: tuple[RegistrySimulator, ...]
) -> None:
    source, target = registries
    for n in range(10):
        source.add_image("app", f"v{n}", [b"layer %d" % n])
    mirror(engine, source, target)
    for registry in registries:
        registry.forget_requests()
    row = mirror(engine, source, target)
    assert row.result["up_to_date"] == 10
    assert len(questions(source)) == 11, questions(source)  # the list, and a HEAD for each tag
    assert len(questions(target)) == 11, questions(target)


def test_two_images_of_one_digest_do_not_lose_each_others_referrers(engine: Engine) -> None:
    with (
        RegistrySimulator() as source,
        RegistrySimulator(Quirks(referrers_status=404)) as target,
    ):
        image = source.add_image("app", "a", [b"layer"])
        for tag in ("b", "c", "d"):
            source.tags["app"][tag] = image
        all_ = {source.attach("app", image, f"application/vnd.example.n{n}") for n in range(5)}
        mirror(engine, source, target)
        assert listed(target, image) == all_
        assert {target.tags["app"][tag] for tag in "abcd"} == {image}


def test_a_mirror_may_leave_them(engine: Engine) -> None:
    with RegistrySimulator() as source, RegistrySimulator() as target:
        image = source.add_image("app", "v1", [b"layer"])
        source.attach("app", image, SIGNATURE)
        mirror(engine, source, target, referrers="none")
        assert set(target.manifests["app"]) == {image}


def test_the_plan_of_a_mirror_sees_a_missing_signature(engine: Engine) -> None:
    with RegistrySimulator() as source, RegistrySimulator() as target:
        image = source.add_image("app", "v1", [b"layer"])
        mirror(engine, source, target)
        entry = {"source": f"{source.host}/app", "destination": f"{target.host}/app"}
        plan = engine.run(kind="mirror", entries=[entry], dry_run=True).result
        assert (plan["up_to_date"], plan["to_copy"]) == (1, 0)
        source.attach("app", image, SIGNATURE)
        plan = engine.run(kind="mirror", entries=[entry], dry_run=True).result
        assert (plan["up_to_date"], plan["to_copy"]) == (0, 1)
