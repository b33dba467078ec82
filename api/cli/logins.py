"""What the user is signed in with, as Docker's and containers' tools and `login` have left it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from transship.api.cli.output.errors import warn_of_helper

if TYPE_CHECKING:
    from transship.workers.registry.auth.credentials import DockerConfig


def own_config() -> DockerConfig:
    """The user's files; a helper that fails is warned of, and its registries get no credentials.

    Raises:
        RequestError: a file cannot be read.
    """
    from transship.workers.registry.auth.credentials import load_docker_config  # noqa: PLC0415

    return load_docker_config(os.environ, warn=warn_of_helper)


def logins(config: DockerConfig, registries: Iterable[str]) -> dict[str, dict[str, str]]:
    """What *config* has for *registries*, by registry and by namespace in it.

    Raises:
        RequestError: an entry cannot be read.
    """
    return {key: found.parts for key, found in config.for_registries(registries).items()}


def credential_of(reference: str) -> dict[str, str] | None:
    """What the user has signed in with for the repository of *reference*; None for nothing.

    Raises:
        InvalidReferenceError: *reference* is none.
        RequestError: an entry cannot be read.
    """
    from transship.store.oci.reference import Reference  # noqa: PLC0415
    from transship.workers.registry.auth.credentials import most_specific  # noqa: PLC0415

    at = Reference.parse(reference)
    return most_specific(logins(own_config(), (at.domain,)), at.repository)


@dataclass(frozen=True, slots=True)
class KeptLogin:
    """Where a login went, and whether the registry has looked at it.

    Attributes:
        path: The file.
        helper: The program that keeps it instead; '' where the file does.
        checked: False where the registry asks nobody to sign in.
    """

    path: Path
    helper: str
    checked: bool


def registry_of(host: str) -> str:
    """The registry that *host* names, which may be a URL, as references name it.

    Raises:
        InvalidReferenceError: it is none.
    """
    from transship.store.oci.reference import parse_domain  # noqa: PLC0415

    text = host.partition("://")[2] or host
    for path in ("/v1/", "/v2/", "/v1", "/v2", "/"):  # as Docker's file has them
        text = text.removesuffix(path)
    return parse_domain(text)


def remembered_name(registry: str) -> str:
    """The name with which the user last signed in at *registry*; '' for none.

    Raises:
        RequestError: the file cannot be read.
    """
    from transship.workers.registry.auth.stored_logins import remembered_user  # noqa: PLC0415

    return remembered_user(registry, os.environ)


def keep_login(registry: str, username: str, password: str) -> KeptLogin:
    """Check a login at *registry*, and keep it if it is accepted.

    Raises:
        RegistryError: it is not, or the registry does not answer.
        RequestError: it cannot be written.
    """
    from transship.store.settings import Settings  # noqa: PLC0415
    from transship.workers.registry.auth.credentials import Credential  # noqa: PLC0415
    from transship.workers.registry.auth.stored_logins import store_login  # noqa: PLC0415
    from transship.workers.registry.client import RegistryClient  # noqa: PLC0415
    from transship.workers.registry.transport.hosts import HostPolicy  # noqa: PLC0415

    policy = HostPolicy.from_settings(Settings.load(), os.environ)
    with RegistryClient(policy) as client:
        checked = client.check_login(registry, Credential(username, password))
    kept = store_login(registry, username, password, os.environ)
    return KeptLogin(kept.path, kept.helper, checked)


def drop_login(registry: str) -> bool:
    """Forget the login for *registry* in Docker's file and its helper; False where there is none.

    Raises:
        RequestError: the file cannot be written, or the helper fails.
    """
    from transship.workers.registry.auth.stored_logins import forget_login  # noqa: PLC0415

    return forget_login(registry, os.environ)
