"""How much of an archive is read."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveLimits:
    """Bounds on an archive; those on single documents stand where these are read."""

    max_bytes: int | None = None  # decompressed; None: as much as the store takes
    max_members: int = 100_000
    max_documents_bytes: int = 32 * 1024 * 1024  # configs, manifests and indexes are held at once
