"""The stores that keep to the contract, and what the contract's tests need to know of each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.memory_store import MemoryStore
from transship.store.content.local import LocalStore
from transship.store.content.ports import ContentStore
from transship.store.oci.digest import Digest


@dataclass(frozen=True, slots=True)
class Spoiler:
    """Changes what a store holds behind its back, as a failing disk does."""

    blob: Callable[[Digest, bytes], None]
    trash: Callable[[Digest, bytes], None]


def _local(root: Path) -> tuple[ContentStore, Spoiler]:
    def overwrite(path: Path, raw: bytes) -> None:
        path.chmod(0o600)
        path.write_bytes(raw)

    return LocalStore(root), Spoiler(
        blob=lambda digest, raw: overwrite(root / "blobs" / digest.algorithm / digest.hex, raw),
        trash=lambda digest, raw: overwrite(
            root / "trash" / f"{digest.algorithm}-{digest.hex}", raw
        ),
    )


def _memory(_: Path) -> tuple[ContentStore, Spoiler]:
    store = MemoryStore()
    return store, Spoiler(blob=store._blobs.__setitem__, trash=store._trash.__setitem__)


@pytest.fixture(params=[_local, _memory], ids=["local", "memory"])
def made(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[ContentStore, Spoiler]:
    store: tuple[ContentStore, Spoiler] = request.param(tmp_path / "store")
    return store


@pytest.fixture
def content(made: tuple[ContentStore, Spoiler]) -> ContentStore:
    return made[0]


@pytest.fixture
def spoil(made: tuple[ContentStore, Spoiler]) -> Spoiler:
    return made[1]
