"""What can be asked for, and what is said of the rest."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from transship.store.errors import InvalidSpecError
from transship.store.oci.platform import Platform
from transship.store.settings import Settings
from transship.workers.broker.app import app
from transship.workers.broker.incoming import Rights
from transship.workers.handlers import HANDLERS
from transship.workers.specs import (
    BROKER_KINDS,
    KINDS,
    CopySpec,
    MirrorEntry,
    MirrorSpec,
    PullSpec,
    PushSpec,
    as_json,
    fingerprint,
    fix_platforms,
    parse_spec,
)
from transship.workers.specs.archives import in_registry

DIGEST = "sha256:" + "ab" * 32
LEAST: dict[str, dict[str, Any]] = {
    "pull": {"kind": "pull", "reference": "alpine"},
    "push": {"kind": "push", "reference": "here.test/app:1"},
    "copy": {"kind": "copy", "source": "alpine:3", "destination": "there.test/alpine"},
    "mirror": {"kind": "mirror", "source": "alpine", "destination": "there.test/alpine"},
    "load": {"kind": "load"},
    "import": {"kind": "import"},
    "export": {"kind": "export", "references": ["app:1"]},
    "squash": {"kind": "squash", "reference": "app:1", "target": "sq:1"},
    "workspace": {"kind": "workspace", "workspace": "work", "reference": "alpine"},
    "commit": {"kind": "commit", "workspace": "work"},
    "prune": {"kind": "prune"},
    "gc": {"kind": "gc"},
    "fsck": {"kind": "fsck"},
}
OF_PLATFORMS = ("pull", "push", "copy", "mirror", "squash")
ENTRY = {"source": "here.test/app", "destination": "there.test/app"}
ARM = Platform("linux", "arm64")


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_needs_no_more_than_names(kind: str) -> None:
    assert parse_spec(LEAST[kind]).kind == kind


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_survives_being_stored(kind: str) -> None:
    more = {"platforms": ["linux/arm64"]} if kind in OF_PLATFORMS else {}
    spec = parse_spec({**LEAST[kind], **more, "deadline": 60, "priority": 3})
    assert parse_spec(json.loads(json.dumps(as_json(spec)))) == spec


def test_a_mirror_of_entries_survives_being_stored() -> None:
    rules = {"allow": ["3.*", "/^v/"], "semver": [">=1 <2"], "newest": 3}
    entry = {"source": "alpine", "destination": "there.test/alpine", "select": rules}
    spec = parse_spec({"kind": "mirror", "entries": [entry], "dry_run": True})
    assert parse_spec(json.loads(json.dumps(as_json(spec)))) == spec


@pytest.mark.parametrize("kind", KINDS)
def test_no_kind_has_a_deadline_or_platforms_unless_given(kind: str) -> None:
    spec = as_json(parse_spec(LEAST[kind]))
    assert spec["deadline"] is None
    assert ("platforms" in spec) is (kind in OF_PLATFORMS)
    assert not spec.get("platforms")
    assert not spec.get("all_platforms")


@pytest.mark.parametrize(
    ("kind", "priority"), [("pull", 0), ("push", 0), ("copy", 0), ("mirror", -10)]
)
def test_a_mirror_gives_way_to_everything_else(kind: str, priority: int) -> None:
    assert parse_spec(LEAST[kind]).priority == priority


def test_a_spec_does_not_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        parse_spec(LEAST["pull"]).priority = 5


# --- what they mean ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "label"),
    [
        (LEAST["pull"], "docker.io/library/alpine:latest"),
        (LEAST["push"], "here.test/app:1"),
        (
            {**LEAST["push"], "destination": "there.test/app:2"},
            "here.test/app:1 -> there.test/app:2",
        ),
        ({**LEAST["pull"], "all_tags": True}, "docker.io/library/alpine (all tags)"),
        (
            {"kind": "push", "reference": "app", "destination": "there.test/app", "all_tags": True},
            "app -> there.test/app (all tags)",
        ),
        (LEAST["copy"], "docker.io/library/alpine:3 -> there.test/alpine:3"),
        (LEAST["mirror"], "docker.io/library/alpine -> there.test/alpine"),
        (LEAST["prune"], "untagged images"),
        ({**LEAST["prune"], "all": True}, "unused images"),
        (
            {**LEAST["prune"], "filters": ["dangling=0", "until=24h"]},
            "unused images dangling=0 until=24h",
        ),
    ],
)
def test_a_label_says_in_full_what_goes_where(given: dict[str, Any], label: str) -> None:
    assert parse_spec(given).label == label


@pytest.mark.parametrize(
    ("given", "registries"),
    [
        (LEAST["pull"], ("docker.io",)),
        (LEAST["push"], ("here.test",)),
        ({**LEAST["push"], "destination": "there.test/app:2"}, ("there.test",)),
        (LEAST["copy"], ("docker.io", "there.test")),
        ({**LEAST["copy"], "destination": "docker.io/me/alpine"}, ("docker.io",)),
        (LEAST["mirror"], ("docker.io", "there.test")),
    ],
)
def test_the_registries_that_a_job_talks_to_are_known(
    given: dict[str, Any], registries: tuple[str, ...]
) -> None:
    assert parse_spec(given).registries == registries


@pytest.mark.parametrize(
    ("reference", "destination", "target"),
    [
        ("here.test/app:1", None, "here.test/app:1"),
        ("here.test/app", None, "here.test/app:latest"),
        ("here.test/app:1", "there.test/app:2", "there.test/app:2"),
        ("here.test/app:1", "there.test/app", "there.test/app:1"),
        ("here.test/app", "there.test/app", "there.test/app:latest"),
        ("ab" * 32, "there.test/app", "there.test/app:latest"),
        (DIGEST, "there.test/app", "there.test/app:latest"),
    ],
)
def test_a_push_goes_where_it_is_told_or_under_its_own_name(
    reference: str, destination: str | None, target: str
) -> None:
    assert str(PushSpec(reference=reference, destination=destination).target) == target


@pytest.mark.parametrize(
    ("source", "destination", "target"),
    [
        ("here.test/app:1", "there.test/app", "there.test/app:1"),
        ("here.test/app", "there.test/app", "there.test/app:latest"),
        ("here.test/app:1", "there.test/app:2", "there.test/app:2"),
        (f"here.test/app@{DIGEST}", "there.test/app", f"there.test/app@{DIGEST}"),
        (f"here.test/app:1@{DIGEST}", "there.test/app", "there.test/app:1"),
    ],
)
def test_a_copy_keeps_its_tag_or_digest_unless_told(
    source: str, destination: str, target: str
) -> None:
    assert str(CopySpec(source=source, destination=destination).target) == target


@pytest.mark.parametrize(
    ("source", "tags", "named"),
    [
        ("here.test/app", (), ()),
        ("here.test/app", ("1", "2", "1"), ("1", "2")),
        ("here.test/app:1", (), ("1",)),
    ],
)
def test_a_mirror_takes_the_tags_that_are_named_or_all(
    source: str, tags: tuple[str, ...], named: tuple[str, ...]
) -> None:
    spec = MirrorSpec(source=source, destination="there.test/app", tags=tags)
    assert [entry.tags for entry in spec.wanted] == [named]


def test_the_entries_of_a_mirror_are_what_it_wants() -> None:
    spec = MirrorSpec(
        entries=(
            MirrorEntry(source="here.test/app", destination="there.test/app"),
            MirrorEntry(source="alpine:3", destination="else.test/alpine:old"),
        )
    )
    assert [(entry.listed, entry.one_image) for entry in spec.wanted] == [
        (True, False), (False, True),
    ]  # fmt: skip
    assert spec.registries == ("here.test", "docker.io", "there.test", "else.test")
    assert spec.label == "here.test/app -> there.test/app and 1 more"


def test_a_dry_run_is_seen_in_a_list() -> None:
    assert parse_spec({**LEAST["mirror"], "dry_run": True}).label.endswith(" (dry run)")


def test_platforms_are_kept_by_the_names_that_manifests_use() -> None:
    assert PullSpec(reference="a", platforms=("linux/x86_64", "linux/aarch64/v8")).platforms == (
        "linux/amd64",
        "linux/arm64",
    )


def test_platforms_become_values() -> None:
    assert PullSpec(reference="a", platforms=("linux/arm64",)).wanted_platforms() == (ARM,)


# --- platforms that were not given ---------------------------------------------------------------


def test_a_pull_takes_the_platform_of_the_host() -> None:
    fixed = fix_platforms(parse_spec(LEAST["pull"]), ARM)
    assert as_json(fixed)["platforms"] == ["linux/arm64"]


@pytest.mark.parametrize("given", [{"platforms": ["linux/amd64"]}, {"all_platforms": True}])
def test_a_pull_that_says_platforms_stays_as_it_is(given: dict[str, Any]) -> None:
    spec = parse_spec({**LEAST["pull"], **given})
    assert fix_platforms(spec, ARM) == spec


@pytest.mark.parametrize("kind", ["push", "copy", "mirror"])
def test_all_other_kinds_take_all_platforms(kind: str) -> None:
    assert as_json(fix_platforms(parse_spec(LEAST[kind]), ARM))["platforms"] == []


# --- one request or two --------------------------------------------------------------------------


def test_the_same_request_has_the_same_fingerprint_in_any_order() -> None:
    given = LEAST["copy"]
    turned = dict(reversed(given.items()))
    assert fingerprint(parse_spec(given)) == fingerprint(parse_spec(turned))


@pytest.mark.parametrize(
    "change", [{"priority": 1}, {"deadline": 5}, {"all_platforms": True}, {"source": "alpine:4"}]
)
def test_another_request_has_another_fingerprint(change: dict[str, Any]) -> None:
    one, other = parse_spec(LEAST["copy"]), parse_spec({**LEAST["copy"], **change})
    assert fingerprint(one) != fingerprint(other)


# --- what cannot be asked for --------------------------------------------------------------------


def _mirror(*entries: dict[str, Any]) -> dict[str, Any]:
    return {"kind": "mirror", "entries": list(entries)}


def _wrong(given: dict[str, Any]) -> list[str]:
    with pytest.raises(InvalidSpecError) as caught:
        parse_spec(given)
    assert all(error["message"] for error in caught.value.errors)
    return [error["field"] for error in caught.value.errors]


@pytest.mark.parametrize(
    ("given", "fields"),
    [
        ({}, ["kind"]),
        ({"kind": "steal"}, ["kind"]),
        ({"kind": "pull"}, ["reference"]),
        ({"kind": "copy"}, ["source", "destination"]),
        ({**LEAST["pull"], "reference": ""}, ["reference"]),
        ({**LEAST["pull"], "reference": "Upper//case"}, ["reference"]),
        ({**LEAST["pull"], "reference": 5}, ["reference"]),
        ({**LEAST["pull"], "reference": "a" * 2000}, ["reference"]),
        ({**LEAST["pull"], "reference": "a", "colour": "red"}, ["colour"]),
        ({**LEAST["pull"], "reference": "a", "copy": True}, ["copy"]),
        ({**LEAST["pull"], "platforms": ["linux/arm64", "not a platform"]}, ["platforms.1"]),
        ({**LEAST["pull"], "platforms": ["linux/arm64"] * 101}, ["platforms"]),
        (
            {**LEAST["pull"], "platforms": ["linux/arm64"], "all_platforms": True},
            ["platforms"],
        ),
        ({**LEAST["pull"], "priority": 101}, ["priority"]),
        ({**LEAST["pull"], "priority": -101}, ["priority"]),
        ({**LEAST["pull"], "priority": "high"}, ["priority"]),
        ({**LEAST["pull"], "deadline": 0}, ["deadline"]),
        ({**LEAST["pull"], "deadline": float("inf")}, ["deadline"]),
        ({**LEAST["pull"], "deadline": float("nan")}, ["deadline"]),
        ({**LEAST["pull"], "reference": "scratch"}, ["reference"]),
        ({**LEAST["pull"], "reference": "docker.io/library/scratch:1"}, ["reference"]),
        ({**LEAST["pull"], "reference": "alpine:3", "all_tags": True}, ["reference"]),
        ({**LEAST["pull"], "reference": f"alpine@{DIGEST}", "all_tags": True}, ["reference"]),
        ({**LEAST["push"], "all_tags": True}, ["reference"]),
        (
            {"kind": "push", "reference": "a", "destination": "b:1", "all_tags": True},
            ["destination"],
        ),
        ({**LEAST["push"], "reference": f"here.test/app@{DIGEST}"}, ["reference"]),
        ({**LEAST["push"], "reference": "a//b"}, ["reference"]),
        ({**LEAST["push"], "destination": "a//b"}, ["destination"]),
        ({**LEAST["mirror"], "source": f"alpine@{DIGEST}"}, ["source"]),
        ({**LEAST["mirror"], "source": "alpine:3", "tags": ["4"]}, ["tags"]),
        ({**LEAST["mirror"], "tags": ["fine", "not fine"]}, ["tags.1"]),
        ({**LEAST["mirror"], "destination": "there.test/alpine:3"}, ["destination"]),
        ({"kind": "mirror"}, ["source"]),
        ({"kind": "mirror", "source": "alpine"}, ["destination"]),
        ({**LEAST["mirror"], "entries": [ENTRY]}, ["entries"]),
        ({"kind": "mirror", "entries": [ENTRY], "tags": ["1"]}, ["entries"]),
        (_mirror(), ["source"]),
        (_mirror({}), ["entries.0.source", "entries.0.destination"]),
        (_mirror(ENTRY, {**ENTRY, "source": "a//b"}), ["entries.1.source"]),
        (_mirror({**ENTRY, "destination": "there.test/a:1"}), ["entries.0.destination"]),
        (_mirror({**ENTRY, "tags": ["fine", "not fine"]}), ["entries.0.tags.1"]),
        (_mirror({**ENTRY, "tags": ["sha256:1"]}), ["entries.0.tags.0"]),
        (_mirror({**ENTRY, "tags": ["1"], "select": {}}), ["entries.0.select"]),
        (_mirror({**ENTRY, "source": "alpine:3", "tags": ["1"]}), ["entries.0.tags"]),
        (_mirror({**ENTRY, "source": "alpine:3", "select": {}}), ["entries.0.select"]),
        (_mirror({**ENTRY, "select": {"allow": ["*", "^a"]}}), ["entries.0.select.allow.1"]),
        (_mirror({**ENTRY, "select": {"semver": ["x y"]}}), ["entries.0.select.semver.0"]),
        (_mirror({**ENTRY, "select": {"newest": 0}}), ["entries.0.select.newest"]),
        (_mirror({**ENTRY, "select": {"older": 1}}), ["entries.0.select.older"]),
        (_mirror({**ENTRY, "platforms": ["not a platform"]}), ["entries.0.platforms.0"]),
        (_mirror({**ENTRY, "colour": "red"}), ["entries.0.colour"]),
        ({**LEAST["copy"], "source": "a//b", "priority": 1000}, ["priority", "source"]),
        ({**LEAST["prune"], "filters": ["odd=1"]}, ["filters"]),
        ({**LEAST["prune"], "filters": ["until=yesterday"]}, ["filters"]),
        ({**LEAST["prune"], "filters": ["dangling=true"], "all": True}, ["filters"]),
        ({**LEAST["prune"], "platforms": ["linux/amd64"]}, ["platforms"]),
    ],
)
def test_each_wrong_field_is_named(given: dict[str, Any], fields: list[str]) -> None:
    assert sorted(_wrong(given)) == sorted(fields)


@pytest.mark.parametrize("image_id", ["ab" * 32, DIGEST, "sha256:abab"])
def test_an_id_can_be_pushed_only_under_a_name(image_id: str) -> None:
    assert _wrong({"kind": "push", "reference": image_id}) == ["reference"]


@pytest.mark.parametrize(
    ("spec", "fields"),
    [
        ({"kind": "load", "repository": "app:1"}, ["repository"]),
        ({"kind": "import", "reference": "App"}, ["reference"]),
        ({"kind": "import", "reference": f"app@{DIGEST}"}, ["reference"]),
        ({"kind": "import", "url": "ftp://x.test/a"}, ["url"]),
        ({"kind": "import", "changes": ["ENV A=1", "RUN x"]}, ["changes"]),
        ({"kind": "import", "platform": "windows/amd64"}, ["platform"]),
        ({"kind": "import", "source_date_epoch": -1}, ["source_date_epoch"]),
        ({"kind": "export", "references": []}, ["references"]),
        ({"kind": "export", "references": ["a"], "format": "zip"}, ["format"]),
        ({**LEAST["squash"], "last": 1, "parent": "base"}, ["last"]),
        ({**LEAST["squash"], "last": 0}, ["last"]),
        ({**LEAST["squash"], "target": f"app@{DIGEST}"}, ["target"]),
        ({**LEAST["squash"], "target": f"registry:r.test/app@{DIGEST}"}, ["target"]),
        ({**LEAST["squash"], "reference": "registry:r.test/App"}, ["reference"]),
        ({**LEAST["squash"], "compress": "none"}, ["compress"]),
    ],
)
def test_what_archives_and_squashes_cannot_be(spec: dict[str, Any], fields: list[str]) -> None:
    assert _wrong(spec) == fields


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("registry:r.test/app:1", "r.test/app:1"),
        ("registry:localhost:5000/app", "localhost:5000/app:latest"),
        ("registry:alpine:3", "docker.io/library/alpine:3"),
        ("registry:2", None),
        ("registry:alpine", None),
        ("registry:5000/app", None),
        ("registry", None),
        ("app:1", None),
    ],
)
def test_a_place_is_in_a_registry_unless_it_reads_as_a_reference(
    text: str, reference: str | None
) -> None:
    found = in_registry(text)
    assert (None if found is None else str(found)) == reference


def test_a_squash_talks_to_the_registries_of_all_that_it_names() -> None:
    spec = parse_spec(
        {
            "kind": "squash",
            "reference": "registry:here.test/app:1",
            "target": "registry:there.test/app:sq",
            "parent": "registry:here.test/base:1",
        }
    )
    assert spec.registries == ("here.test", "there.test")
    assert parse_spec(LEAST["squash"]).registries == ()


def test_the_label_of_an_import_does_not_show_the_query_of_its_url() -> None:
    spec = parse_spec(
        {"kind": "import", "url": "https://x.test/a.tar?sig=secret", "reference": "a"}
    )
    assert spec.label == "https://x.test/a.tar -> docker.io/library/a:latest"


def test_each_kind_has_a_handler_and_a_task() -> None:
    assert set(HANDLERS) == set(KINDS)
    tasks = {f"transship.{kind}" for kind in KINDS}  # as older versions have sent them
    tasks |= {"transship.dispatch", "transship.download", "transship.upload"}
    app.loader.import_default_modules()
    assert {name for name in app.tasks if name.startswith("transship.")} == tasks


def test_what_strangers_may_ask_for_needs_no_admin_and_no_body() -> None:
    assert set(KINDS) - BROKER_KINDS == {"prune", "gc", "fsck", "load"}
    with pytest.raises(InvalidSpecError) as refused:
        Rights.of(Settings(broker_kinds=("pull", "gc")))
    assert refused.value.subject == "TRANSSHIP_BROKER_KINDS"
    assert Rights.of(Settings(broker_kinds=("pull",))).kinds == {"pull"}
