"""What the user is signed in with, as Docker's and containers' tools have left it here."""

from __future__ import annotations

import os
from collections.abc import Iterable
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
