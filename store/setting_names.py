"""The names of all settings, for those who have no time to import the settings themselves."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

PREFIX: Final = "TRANSSHIP_"  # of variables
SETTINGS: Final = frozenset(
    [
        "home",
        "database_url",
        "broker_url",
        "listen",
        "url",
        "token",
        "token_over_http",
        "max_concurrent_downloads",
        "max_concurrent_uploads",
        "max_download_attempts",
        "max_upload_attempts",
        "insecure_registries",
        "private",
        "allow_private",
        "page_hosts",
        "token_hosts",
        "certs_dir",
        "secret_key",
        "broker_kinds",
        "broker_credentials",
        "broker_priority",
        "trust",
        "log",
        "log_format",
        "lease_seconds",
        "token_jobs",
        "token_spec_bytes",
        "token_store_bytes",
        "keep_jobs",
        "keep_partial",
        "gc_interval",
        "store_max_bytes",
        "store_min_free_bytes",
    ]
)
# Variables that are no settings: where these are, what `up` tells its children, what deploy/ reads.
_OTHERS: Final = ("config", "traceback", "child_of", "task_events", "listener_fd", "image")
# Kubernetes gives every pod such variables for a service that is called transship.
_OF_KUBERNETES: Final = re.compile(rf"{PREFIX}(SERVICE_(HOST|PORT)|PORT)(_.*)?")


def unknown_variables(environ: Iterable[str]) -> Iterator[tuple[str, str | None]]:
    """The variables that look like settings and are none, each with the nearest name of one."""
    known = {f"{PREFIX}{name.upper()}" for name in (*SETTINGS, *_OTHERS)}
    for name in sorted(environ):
        if name.startswith(PREFIX) and name not in known and not _OF_KUBERNETES.fullmatch(name):
            from difflib import get_close_matches  # noqa: PLC0415 -- nearly nobody needs it

            settings = [f"{PREFIX}{one.upper()}" for one in (*SETTINGS, "config")]
            yield name, next(iter(get_close_matches(name, settings, 1, 0.75)), None)
