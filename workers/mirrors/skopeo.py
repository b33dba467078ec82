"""The YAML of `skopeo sync --src yaml`: registries, each with images by tags, regex or semver.

Credentials in the file are passed over, with a warning: secrets come from logins, never from
policies. TLS and certificates are the server's matter.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from transship.store.oci.reference import parse_repository
from transship.workers.mirrors.entries import PolicyEntry, selection, tags_in
from transship.workers.mirrors.fields import Field

IMAGES, BY_REGEX, BY_SEMVER = "images", "images-by-tag-regex", "images-by-semver"
_CREDENTIALS, _TLS, _CERTS = "credentials", "tls-verify", "cert-dir"
KEYS = (IMAGES, BY_REGEX, BY_SEMVER, _CREDENTIALS, _TLS, _CERTS)


def looks_like(value: Any) -> bool:
    """Whether a document is of this format, as far as its keys tell."""
    return isinstance(value, dict) and any(
        isinstance(registry, dict) and registry.keys() & set(KEYS) for registry in value.values()
    )


def read(document: Field, warnings: list[str]) -> list[PolicyEntry]:
    """The entries, all without a destination."""
    return [
        entry
        for registry, at in document.keys().items()
        for entry in _registry(registry, at.known(*KEYS), warnings)
    ]


def _registry(name: str, keys: dict[str, Field], warnings: list[str]) -> Iterator[PolicyEntry]:
    if _CREDENTIALS in keys:
        warnings.append(
            f"{keys[_CREDENTIALS].place}: not used; log in with `docker login {name}`, or let the "
            f"server have them with `transship credentials add {name}`"
        )
    if _TLS in keys and not keys[_TLS].flag():
        warnings.append(
            f"{keys[_TLS].place}: not used; name the registry in TRANSSHIP_INSECURE_REGISTRIES of "
            "the server"
        )
    if _CERTS in keys:
        warnings.append(f"{keys[_CERTS].place}: not used; see TRANSSHIP_CERTS_DIR of the server")
    for repository, at in _repositories(keys, IMAGES):
        every = at.value is None or at.value == []
        yield _entry(name, repository, at, tags=() if every else tags_in(at))
    for repository, at in _repositories(keys, BY_REGEX):
        chosen = selection(at, {"allow": ""}, allow=(f"/{at.text()}/",))
        yield _entry(name, repository, at, select=chosen)
    for repository, at in _repositories(keys, BY_SEMVER):
        chosen = selection(at, {"semver": ""}, semver=(at.text(),))
        yield _entry(name, repository, at, select=chosen)


def _repositories(keys: dict[str, Field], kind: str) -> Iterator[tuple[str, Field]]:
    if kind in keys:
        yield from keys[kind].keys().items()


def _entry(registry: str, repository: str, at: Field, **more: Any) -> PolicyEntry:
    name = Field(at.name, at.path, f"{registry}/{repository}")
    return PolicyEntry(source=name.checked(parse_repository), place=at.place, **more)
