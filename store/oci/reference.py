"""References to images, normalised as Docker does (distribution-spec §Pulling manifests)."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, replace

from transship.store.errors import InvalidDigestError, InvalidReferenceError
from transship.store.oci.digest import Digest

HUB = "docker.io"
_HUB_ALIASES = {"index.docker.io", "registry-1.docker.io"}
_OFFICIAL = "library"
_MAX_NAME = 255
DEFAULT_TAG = "latest"

_COMPONENT = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_PATH = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_LABEL = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_DOMAIN = re.compile(
    rf"(?:{_LABEL}(?:\.{_LABEL})*|\[(?P<address>[a-fA-F0-9:]+)\])(?::(?P<port>[0-9]{{1,5}}))?"
)
_TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}")
_LOOKS_LIKE_ID = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Reference:
    """An image somewhere: host, path, and a tag, a digest, both or neither.

    With both, the digest says which image, and the tag is what it was called.
    """

    domain: str
    path: str
    tag: str | None = None
    digest: Digest | None = None

    @classmethod
    def parse(cls, text: str) -> Reference:
        """Read a reference as users write it; no default tag is added.

        Raises:
            InvalidReferenceError: it does not follow Docker's grammar.
        """
        rest, digest = _split_digest(text)
        rest, tag = _split_tag(rest, text)
        domain, path = _split_domain(rest)
        if _LOOKS_LIKE_ID.fullmatch(rest):
            raise _invalid(text, "64 hexadecimal digits are an ID, not a name")
        if not _is_domain(domain):
            raise _invalid(text, "the registry's host is not well formed")
        if _PATH.fullmatch(path) is None:
            lower = path != path.lower() and _PATH.fullmatch(path.lower()) is not None
            reason = "the repository must be lower case" if lower else "not an image reference"
            raise _invalid(text, reason)
        if len(domain) + 1 + len(path) > _MAX_NAME:
            raise _invalid(text, f"the name is longer than {_MAX_NAME} characters")
        return cls(domain, path, tag, digest)

    @property
    def repository(self) -> str:
        """Host and path: `docker.io/library/alpine`."""
        return f"{self.domain}/{self.path}"

    @property
    def familiar(self) -> str:
        """The short form that Docker shows: `alpine:3.20`."""
        name = self.repository
        if self.domain == HUB:
            name = self.path.removeprefix(f"{_OFFICIAL}/")
            if "/" in name and self.path.startswith(f"{_OFFICIAL}/"):
                name = self.path
        return name + self._suffix()

    @property
    def identifier(self) -> str:
        """What to ask a registry for: the digest if there is one, else the tag, else `latest`."""
        if self.digest is not None:
            return str(self.digest)
        return self.tag or DEFAULT_TAG

    def with_default_tag(self) -> Reference:
        """The same, with the tag `latest` where it has neither tag nor digest."""
        if self.tag is None and self.digest is None:
            return replace(self, tag=DEFAULT_TAG)
        return self

    def with_tag(self, tag: str) -> Reference:
        """The same repository under *tag*."""
        return replace(self, tag=check_tag(tag), digest=None)

    def with_digest(self, digest: Digest) -> Reference:
        """The same repository under *digest*."""
        return replace(self, tag=None, digest=digest)

    def without_identifier(self) -> Reference:
        """The repository alone."""
        return replace(self, tag=None, digest=None)

    def __str__(self) -> str:
        return self.repository + self._suffix()

    def _suffix(self) -> str:
        tag = f":{self.tag}" if self.tag is not None else ""
        return tag + (f"@{self.digest}" if self.digest is not None else "")


def parse_repository(text: str) -> Reference:
    """Read a repository, without tag or digest.

    Raises:
        InvalidReferenceError: it has one, or is no repository.
    """
    reference = Reference.parse(text)
    if reference.tag is not None or reference.digest is not None:
        raise _invalid(text, "expected a repository, without a tag or digest")
    return reference


def parse_target(text: str) -> Reference:
    """Read the name that an image is to get, with its default tag.

    Raises:
        InvalidReferenceError: it has a digest, or its repository is called like an algorithm.
    """
    reference = Reference.parse(text)
    if reference.digest is not None:
        raise InvalidReferenceError(
            "a name cannot be given together with a digest", subject=text, hint="REPOSITORY:TAG"
        )
    if reference.domain == HUB and reference.path == "library/sha256":
        raise InvalidReferenceError(
            "a repository called like a digest's algorithm could not be told from a digest",
            subject=text,
        )
    return reference.with_default_tag()


def parse_domain(text: str) -> str:
    """Read a registry's host, with its port if it has one; Docker Hub's other names are its own.

    Raises:
        InvalidReferenceError: it is none.
    """
    if not _is_domain(text):
        raise InvalidReferenceError(
            "the registry's host is not well formed",
            subject=text[:160].encode("unicode_escape").decode() or "''",
            hint="HOST or HOST:PORT",
        )
    return HUB if text in _HUB_ALIASES else text


def check_tag(text: str) -> str:
    """Return *text* if it is a tag.

    Raises:
        InvalidReferenceError: it is not.
    """
    if _TAG.fullmatch(text) is None:
        raise _invalid(text, "not a tag")
    return text


def _split_digest(text: str) -> tuple[str, Digest | None]:
    name, at, digest = text.partition("@")
    if not at:
        return name, None
    try:
        return name, Digest.parse(digest)
    except InvalidDigestError:
        raise _invalid(text, "what follows the @ is not a digest") from None


def _split_tag(rest: str, text: str) -> tuple[str, str | None]:
    name, colon, tag = rest.rpartition(":")
    if not colon or "/" in tag:  # the colon belongs to a port
        return rest, None
    if _TAG.fullmatch(tag) is None:
        raise _invalid(text, "what follows the colon is not a tag")
    return name, tag


def _split_domain(name: str) -> tuple[str, str]:
    first, slash, rest = name.partition("/")
    is_domain = bool(slash) and (
        first == "localhost" or any(c in first for c in ".:") or first != first.lower()
    )
    domain, path = (first, rest) if is_domain else (HUB, name)
    if domain in _HUB_ALIASES:
        domain = HUB
    if domain == HUB and "/" not in path:
        path = f"{_OFFICIAL}/{path}"
    return domain, path


def _is_domain(text: str) -> bool:
    match = _DOMAIN.fullmatch(text)
    if match is None or int(match["port"] or 0) > 65535:
        return False
    if match["address"] is None:
        return True
    try:
        ipaddress.IPv6Address(match["address"])
    except ValueError:
        return False
    return True


def _invalid(text: str, reason: str) -> InvalidReferenceError:
    shown = text if len(text) <= 160 else f"{text[:160]}…"
    return InvalidReferenceError(
        reason, subject=shown.encode("unicode_escape").decode() or "''", hint="HOST/REPOSITORY:TAG"
    )
