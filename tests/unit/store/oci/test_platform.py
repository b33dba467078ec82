from __future__ import annotations

import platform as machine

import pytest

from transship.store.errors import InvalidManifestError, InvalidPlatformError
from transship.store.oci.descriptor import Descriptor
from transship.store.oci.digest import Digest
from transship.store.oci.mediatypes import OCI_MANIFEST
from transship.store.oci.platform import Platform, select


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("linux/amd64", "linux/amd64"),
        ("Linux/AMD64", "linux/amd64"),
        ("linux/x86_64", "linux/amd64"),
        ("linux/x86-64", "linux/amd64"),
        ("linux/amd64/v1", "linux/amd64"),
        ("linux/amd64/v3", "linux/amd64/v3"),
        ("linux/i386", "linux/386"),
        ("linux/i686", "linux/386"),
        ("linux/aarch64", "linux/arm64"),
        ("linux/arm64/8", "linux/arm64"),
        ("linux/arm64/v8", "linux/arm64"),
        ("linux/arm64/v8.0", "linux/arm64"),
        ("linux/arm64/8.0", "linux/arm64"),
        ("linux/arm64/9", "linux/arm64/v9"),
        ("linux/arm64/9.0", "linux/arm64/v9"),
        ("linux/arm64/v9.0", "linux/arm64/v9"),
        ("linux/arm64/v8.2", "linux/arm64/v8.2"),
        ("linux/armhf", "linux/arm/v7"),
        ("linux/armhf/v6", "linux/arm/v7"),
        ("linux/armel", "linux/arm/v6"),
        ("linux/armel/v7", "linux/arm/v6"),
        ("linux/arm", "linux/arm/v7"),
        ("linux/arm/5", "linux/arm/v5"),
        ("linux/arm/6", "linux/arm/v6"),
        ("linux/arm/7", "linux/arm/v7"),
        ("linux/arm/8", "linux/arm/v8"),
        ("linux/armv7l", "linux/arm/v7"),
        ("macos/arm64", "darwin/arm64"),
        ("windows/amd64", "windows/amd64"),
        ("linux/riscv64", "linux/riscv64"),
        ("amd64", "linux/amd64"),
        ("aarch64", "linux/arm64"),
        ("armel", "linux/arm/v6"),
    ],
)
def test_platforms_are_normalised_as_docker_does(text: str, normal: str) -> None:
    assert str(Platform.parse(text)) == normal


def test_an_operating_system_alone_is_for_the_architecture_at_hand() -> None:
    assert Platform.parse("windows").architecture == Platform.host().architecture


@pytest.mark.parametrize(
    "text",
    ["", "/", "linux/", "/amd64", "linux/arm64/v8/x", "a b/c", "linux/amd64\n", "bananas", "l/ä"],
)
def test_what_is_not_a_platform_is_refused(text: str) -> None:
    with pytest.raises(InvalidPlatformError):
        Platform.parse(text)


def test_the_host_goes_by_the_names_of_manifests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "system", lambda: "Linux")
    monkeypatch.setattr(machine, "machine", lambda: "aarch64")
    assert Platform.host() == Platform("linux", "arm64")


def test_json_has_the_names_of_the_specification() -> None:
    windows = Platform("windows", "amd64", "v2", "10.0.20348.1", ("win32k",))
    assert windows.to_json() == {
        "architecture": "amd64",
        "os": "windows",
        "os.version": "10.0.20348.1",
        "os.features": ["win32k"],
        "variant": "v2",
    }


def test_json_survives_both_ways() -> None:
    windows = Platform("windows", "amd64", "v2", "10.0.20348.1", ("win32k",))
    assert Platform.from_json(windows.to_json()) == windows


@pytest.mark.parametrize(
    "value",
    [
        [],
        "linux/amd64",
        {"os": 1},
        {"os": 0},
        {"variant": []},
        {"os.features": ""},
        {"os": "linux", "os.features": "x"},
        {"os.features": [1]},
    ],
)
def test_json_of_other_types_is_refused(value: object) -> None:
    with pytest.raises(InvalidManifestError):
        Platform.from_json(value)


# --- select ------------------------------------------------------------------------------------


def offered(text: str, number: int = 0) -> Descriptor:
    os, architecture, variant = (*text.split("/"), "")[:3]
    return Descriptor(
        media_type=OCI_MANIFEST,
        digest=Digest.of(f"{text} {number}".encode()),
        size=1,
        platform=Platform(os, architecture, variant),
    )


# Each row: what is wanted, then all that fits it, the best first.
FITTING = [
    ("linux/amd64", ["linux/amd64", "linux/386"]),
    ("linux/amd64/v1", ["linux/amd64", "linux/386"]),
    (
        "linux/amd64/v4",
        ["linux/amd64/v4", "linux/amd64/v3", "linux/amd64/v2", "linux/amd64", "linux/386"],
    ),
    ("linux/386", ["linux/386"]),
    ("linux/arm", ["linux/arm/v7", "linux/arm/v6", "linux/arm/v5"]),
    ("linux/arm/v8", ["linux/arm/v8", "linux/arm/v7", "linux/arm/v6", "linux/arm/v5"]),
    ("linux/arm/v6", ["linux/arm/v6", "linux/arm/v5"]),
    ("linux/arm/v5", ["linux/arm/v5"]),
    (
        "linux/arm64",
        ["linux/arm64", "linux/arm/v8", "linux/arm/v7", "linux/arm/v6", "linux/arm/v5"],
    ),
    (
        "linux/arm64/v8.2",
        ["linux/arm64/v8.2", "linux/arm64/v8.1", "linux/arm64/v8", "linux/arm/v8"],
    ),
    (
        "linux/arm64/v9.1",
        [
            "linux/arm64/v9.1",
            "linux/arm64/v9",
            "linux/arm64/v8.6",
            "linux/arm64/v8.5",
            "linux/arm64/v8.1",
            "linux/arm64",
            "linux/arm/v8",
            "linux/arm/v5",
        ],
    ),
    ("linux/arm64/v9", ["linux/arm64/v9", "linux/arm64/v8.5", "linux/arm64", "linux/arm/v7"]),
    ("linux/riscv64", ["linux/riscv64"]),
    ("windows/amd64", ["windows/amd64"]),
]


@pytest.mark.parametrize(("want", "fitting"), FITTING)
def test_the_best_that_is_left_is_taken(want: str, fitting: list[str]) -> None:
    candidates = [offered(text) for text in reversed(fitting)]
    taken = []
    while (found := select(candidates, Platform.parse(want))) is not None:
        taken.append(str(found.platform))
        candidates.remove(found)
    assert taken == fitting


@pytest.mark.parametrize(
    ("want", "other"),
    [
        ("linux/amd64", "windows/amd64"),
        ("linux/amd64", "linux/amd64/v2"),
        ("linux/amd64/v2", "linux/amd64/v3"),
        ("linux/386", "linux/amd64"),
        ("linux/arm", "linux/arm/v8"),
        ("linux/arm", "linux/arm64"),
        ("linux/arm64", "linux/arm64/v9"),
        ("linux/arm64/v8.9", "linux/arm64/v9"),
        ("linux/arm64/v9", "linux/arm64/v8.6"),
        ("linux/amd64", "unknown/unknown"),
        ("linux/riscv64", "linux/amd64"),
    ],
)
def test_what_the_machine_cannot_run_does_not_match(want: str, other: str) -> None:
    assert select([offered(other)], Platform.parse(want)) is None


def test_of_equals_the_first_is_taken() -> None:
    first, second = offered("linux/amd64", 1), offered("linux/amd64", 2)
    assert select([offered("linux/386"), first, second], Platform("linux", "amd64")) is first


def test_a_candidate_is_known_by_its_other_names() -> None:
    candidate = offered("linux/aarch64/v8")
    assert select([candidate], Platform("linux", "arm64")) is candidate


def test_what_is_wanted_is_known_by_its_other_names() -> None:
    candidate = offered("linux/amd64")
    assert select([candidate], Platform("Linux", "x86_64")) is candidate


def test_a_candidate_without_a_platform_does_not_match() -> None:
    bare = Descriptor(media_type=OCI_MANIFEST, digest=Digest.of(b""), size=0)
    assert select([bare], Platform("linux", "amd64")) is None


def test_nothing_is_found_among_nothing() -> None:
    assert select([], Platform("linux", "amd64")) is None


def windows(version: str, *features: str) -> Descriptor:
    return Descriptor(
        media_type=OCI_MANIFEST,
        digest=Digest.of(f"{version}{features}".encode()),
        size=1,
        platform=Platform("windows", "amd64", "", version, features),
    )


def test_the_version_wanted_is_compared() -> None:
    older, wanted = windows("10.0.17763.1"), windows("10.0.20348.1")
    want = Platform("windows", "amd64", "", "10.0.20348.1")
    assert select([older, wanted], want) is wanted


def test_features_that_are_lacking_do_not_match() -> None:
    want = Platform("windows", "amd64", "", "", ("other",))
    assert select([windows("10", "win32k")], want) is None


def test_features_that_are_there_match() -> None:
    candidate = windows("10", "win32k")
    want = Platform("windows", "amd64", "", "", ("win32k", "other"))
    assert select([candidate], want) is candidate
