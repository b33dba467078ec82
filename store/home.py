"""The home: the directory that holds the store, the catalog, and what runs on them."""

from __future__ import annotations

from uuid import uuid4

from store.errors import HomeUnusableError
from store.settings import Settings


def prepare_home(settings: Settings) -> None:
    """Make the home, readable by its owner only, and the directory of the running engine.

    Raises:
        HomeUnusableError: it cannot be made or written.
    """
    try:
        settings.home.mkdir(mode=0o700, parents=True, exist_ok=True)
        settings.run_dir.mkdir(mode=0o700, exist_ok=True)
        probe = settings.run_dir / f".writable.{uuid4().hex}"  # other hosts have the same pids
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise HomeUnusableError(
            f"the home cannot be used: {error.strerror}",
            subject=str(settings.home),
            hint="set TRANSSHIP_HOME to a directory that can be written",
        ) from error
