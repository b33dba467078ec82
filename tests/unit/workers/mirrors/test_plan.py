"""Which images a mirror consists of."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transship.store.oci.reference import Reference
from transship.workers.mirrors import plan
from transship.workers.mirrors.plan import How, Image
from transship.workers.specs import CopySpec, MirrorEntry, MirrorSpec

DIGEST = "sha256:" + "ab" * 32
R = Reference.parse
MIRROR = MirrorSpec(source="here.test/app", destination="there.test/app", referrers="none")
SOURCE, TARGET = R("here.test/app"), R("there.test/app")


@pytest.mark.parametrize(
    ("source", "target", "becomes"),
    [
        ("here.test/app:1", "there.test/app", "there.test/app:1"),
        ("here.test/app:1", "there.test/app:2", "there.test/app:2"),
        (f"here.test/app@{DIGEST}", "there.test/app", f"there.test/app@{DIGEST}"),
        (f"here.test/app@{DIGEST}", "there.test/app:1", "there.test/app:1"),
        (f"here.test/app:1@{DIGEST}", "there.test/app", "there.test/app:1"),
        (f"here.test/app:1@{DIGEST}", "there.test/app:2", "there.test/app:2"),
    ],
)
def test_an_image_keeps_its_tag_or_digest_unless_told(
    source: str, target: str, becomes: str
) -> None:
    assert str(plan.image(R(source), R(target), How()).target) == becomes
    assert str(CopySpec(source=source, destination=target).target) == becomes


def test_tags_and_digests_are_the_same_on_both_sides() -> None:
    assert [(str(one.source), str(one.target)) for one in _images("1", DIGEST)] == [
        ("here.test/app:1", "there.test/app:1"),
        (f"here.test/app@{DIGEST}", f"there.test/app@{DIGEST}"),
    ]


def test_the_same_image_is_copied_once_and_another_for_its_place_not() -> None:
    other = Image(R("else.test/app:1"), R("there.test/app:1"))
    kept, clashing = plan.merged([*_images("1", "2"), *_images("2"), other])
    assert (kept, clashing) == (_images("1", "2"), [other])


def test_what_is_left_over_is_grouped_by_repository() -> None:
    renamed = Image(R("here.test/app:1"), R("there.test/app:one"), How(("linux/arm64",), "none"))
    assert plan.left_over([*_images("1", DIGEST), renamed], How()) == [
        {"source": "here.test/app", "destination": "there.test/app", "tags": ["1", DIGEST]},
        {
            "source": "here.test/app:1",
            "destination": "there.test/app:one",
            "platforms": ["linux/arm64"],
            "referrers": "none",
        },
    ]


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["a", "b"]),
            st.sampled_from([":1", ":2", f"@{DIGEST}", f":1@{DIGEST}"]),
            st.sampled_from(["", ":1", ":other"]),
            st.builds(
                How,
                st.sampled_from([(), ("linux/arm64",)]),
                st.sampled_from(["all", "none", ("application/spdx+json",)]),
                st.sampled_from(["warn", "fail"]),
            ),
        ),
        max_size=8,
    )
)
def test_entries_for_what_is_left_over_are_the_same_images(
    parts: list[tuple[str, str, str, How]],
) -> None:
    wanted = [
        plan.image(
            R(f"here.test/{name}{called}"),
            R(f"there.test/{name}{other}"),
            how,
        )
        for name, called, other, how in parts
    ]
    images, _ = plan.merged(wanted)
    again = [one for entry in plan.left_over(images, MIRROR.usual) for one in _of_entry(entry)]
    assert {*again} == {*images}
    assert len(again) == len(images)


def _images(*tags: str) -> list[Image]:
    return list(plan.images(SOURCE, TARGET, tags, How()))


def _of_entry(given_: dict[str, Any]) -> list[Image]:
    entry = MirrorEntry(**given_)
    if entry.one_image:
        return [plan.image(entry.origin, entry.target, MIRROR.how(entry))]
    return list(plan.images(entry.origin, entry.target, entry.tags, MIRROR.how(entry)))
