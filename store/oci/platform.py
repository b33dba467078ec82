"""Platforms, and which of several images fits one (containerd's rules, as Docker keeps them)."""

from __future__ import annotations

import platform as machine
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar

from transship.store.errors import InvalidManifestError, InvalidPlatformError

_NUMBER = re.compile(r"[0-9]+(?:\.[0-9]+)?")
_PART = re.compile(r"[A-Za-z0-9_.-]+")
# Other names of architectures, and the variant that goes with the name.
_ARCHITECTURES = {
    "x86_64": ("amd64", ""), "x86-64": ("amd64", ""), "i386": ("386", ""), "i686": ("386", ""),
    "aarch64": ("arm64", ""), "armhf": ("arm", "v7"), "armel": ("arm", "v6"),
    "armv6l": ("arm", "v6"), "armv7l": ("arm", "v7"), "armv8l": ("arm", "v8"),
}  # fmt: skip
_SYSTEMS = {
    "aix", "android", "darwin", "dragonfly", "freebsd", "illumos", "ios", "js", "linux", "macos",
    "netbsd", "openbsd", "plan9", "solaris", "wasip1", "windows", "zos",
}  # fmt: skip
_KNOWN_ARCHITECTURES = {
    "386", "amd64", "arm", "arm64", "loong64", "mips", "mips64", "mips64le", "mipsle",
    "ppc64", "ppc64le", "riscv64", "s390x", "wasm", *_ARCHITECTURES,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Platform:
    """An operating system and an architecture, with the finer points where they matter."""

    os: str
    architecture: str
    variant: str = ""
    os_version: str = ""
    os_features: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Platform:
        """Read `os/arch[/variant]`; a single word may be either of the two.

        Raises:
            InvalidPlatformError: it is neither.
        """
        parts = text.split("/")
        if not 1 <= len(parts) <= 3 or not all(_PART.fullmatch(part) for part in parts):
            raise _invalid(text)
        if len(parts) == 1:
            word = parts[0].lower()
            if word in _KNOWN_ARCHITECTURES:
                return cls("linux", word).normalized()
            if word in _SYSTEMS:
                return replace(cls.host(), os=word).normalized()
            raise _invalid(text)
        os, architecture, variant = (*parts, "")[:3]
        return cls(os, architecture, variant).normalized()

    @classmethod
    def host(cls) -> Platform:
        """The platform of this machine."""
        return cls(machine.system().lower() or "linux", machine.machine().lower()).normalized()

    @classmethod
    def from_json(cls, value: Any) -> Platform:
        """Read a descriptor's platform, or the same fields of a config.

        Raises:
            InvalidManifestError: a field is of the wrong type.
        """
        if not isinstance(value, dict):
            raise InvalidManifestError("a platform is not an object")
        given = {key: item for key, item in value.items() if item is not None}
        fields = [given.get(key, "") for key in ("os", "architecture", "variant", "os.version")]
        features = given.get("os.features", [])
        if not all(isinstance(one, str) for one in fields) or not (
            isinstance(features, list) and all(isinstance(one, str) for one in features)
        ):
            raise InvalidManifestError("a platform's fields are not text")
        os, architecture, variant, version = fields
        return cls(os, architecture, variant, version, tuple(features))

    def to_json(self) -> dict[str, Any]:
        """The platform as JSON has it."""
        value: dict[str, Any] = {"architecture": self.architecture, "os": self.os}
        if self.os_version:
            value["os.version"] = self.os_version
        if self.os_features:
            value["os.features"] = list(self.os_features)
        if self.variant:
            value["variant"] = self.variant
        return value

    def normalized(self) -> Platform:
        """The same platform by the names that manifests use."""
        os = self.os.lower()
        given = self.architecture.lower()
        architecture, implied = _ARCHITECTURES.get(given, (given, ""))
        variant = implied or self.variant.lower()
        if _NUMBER.fullmatch(variant):
            variant = f"v{variant}"
        if architecture == "arm64":
            variant = {"v8": "", "v8.0": "", "v9.0": "v9"}.get(variant, variant)
        elif architecture == "arm":
            variant = variant or "v7"
        elif architecture == "amd64" and variant == "v1":
            variant = ""
        return replace(
            self,
            os={"macos": "darwin"}.get(os, os),
            architecture=architecture,
            variant=variant,
        )

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)


class HasPlatform(Protocol):
    """What can be chosen by platform: a descriptor."""

    @property
    def platform(self) -> Platform | None:
        """What it is for, if it says so."""


C = TypeVar("C", bound=HasPlatform)


def select(candidates: Sequence[C], want: Platform) -> C | None:
    """The candidate that fits *want* best, the first of equals; None where none fits.

    An older variant of the same architecture will do, and what the machine can run besides.
    Attestations, which are for `unknown/unknown`, never match.
    """
    wanted = want.normalized()
    offered = [(d, d.platform.normalized()) for d in candidates if d.platform is not None]
    for architecture, variant in _compatible(wanted):
        for descriptor, has in offered:
            if (has.os, has.architecture, has.variant) != (wanted.os, architecture, variant):
                continue
            if wanted.os_version and has.os_version != wanted.os_version:
                continue
            if not set(has.os_features) <= set(wanted.os_features):
                continue
            return descriptor
    return None


def _invalid(text: str) -> InvalidPlatformError:
    return InvalidPlatformError(
        "not a platform",
        subject=text[:160].encode("unicode_escape").decode(),
        hint="os/arch[/variant], as in linux/arm64/v8",
    )


def _compatible(want: Platform) -> Iterator[tuple[str, str]]:
    """Architectures and variants that *want* can run, the best first."""
    number = int(match[1]) if (match := re.fullmatch(r"v(\d+)(?:\.\d+)?", want.variant)) else 0
    yield want.architecture, want.variant
    if want.architecture == "amd64":
        for level in range(number - 1, 1, -1):
            yield "amd64", f"v{level}"
        yield "amd64", ""
        yield "386", ""
    elif want.architecture == "arm":
        for level in range(number - 1, 4, -1):
            yield "arm", f"v{level}"
    elif want.architecture == "arm64":
        yield from (("arm64", variant) for variant in _older_arm64(want.variant))
        for level in range(8, 4, -1):
            yield "arm", f"v{level}"


def _older_arm64(variant: str) -> Iterator[str]:
    """Variants of arm64 below *variant*, newest first; the last is plain arm64, which is v8."""
    match = re.fullmatch(r"v([89])(?:\.([0-9]))?", variant)
    if match is None:
        return
    minor = int(match[2] or 0)
    if match[1] == "9":
        yield from (f"v9.{lower}" for lower in range(minor - 1, 0, -1))
        if minor:
            yield "v9"
        # v9.0 grew out of v8.5, and v8.9 is the last of its line.
        minor = min(minor + 5, 9) + 1
    yield from (f"v8.{lower}" for lower in range(minor - 1, 0, -1))
    yield ""
