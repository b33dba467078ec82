"""The documents of an image that is made of one file system: Docker's ImportImage."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from transship.store.images.build.changes import apply_changes
from transship.store.oci.digest import Digest
from transship.store.oci.platform import Platform
from transship.store.oci.timestamps import rfc3339


def imported_config(
    layer: Digest,
    *,
    platform: Platform,
    message: str,
    changes: Sequence[str],
    created: float,
) -> bytes:
    """The config of an image of one layer, of which *layer* is the diffID.

    *created* is in seconds since the epoch.

    Raises:
        InvalidSpecError: a change cannot be understood.
    """
    time = rfc3339(created)
    document: dict[str, Any] = {
        **platform.to_json(),
        "config": apply_changes({}, changes),
        "created": time,
        "comment": message,
        "history": [{"created": time, "comment": message}],
        "rootfs": {"type": "layers", "diff_ids": [str(layer)]},
    }
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()
