"""What the user is signed in with, as Docker's and containers' tools have left it here."""

from __future__ import annotations

import os
from collections.abc import Iterable

from transship.api.cli.output.errors import warn_of_helper


def logins(registries: Iterable[str]) -> dict[str, dict[str, str]]:
    """The user's own credentials for *registries*, by registry and by namespace in it.

    A helper that fails is warned of, and its registries are asked without credentials.

    Raises:
        RequestError: a file or an entry of one cannot be read.
    """
    from transship.workers.registry.auth.credentials import load_docker_config  # noqa: PLC0415

    own = load_docker_config(os.environ, warn=warn_of_helper).for_registries(registries)
    return {key: found.parts for key, found in own.items()}
