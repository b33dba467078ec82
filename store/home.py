"""The home: the directory that holds the store, the catalog, and what runs on them."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from uuid import uuid4

from transship.store.errors import HomeUnusableError

_ID = "home.id"
KEY_FILE = "secret.key"
OWNER_FILE = "token"  # the file with the admin token that a server makes at its first start
_SECRETS = (KEY_FILE, OWNER_FILE)


def home_id(home: Path) -> str | None:
    """The id of a data directory, which it has once it has belonged to a cluster; None before."""
    try:
        return (home / _ID).read_text().strip() or None
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _unusable(home, error) from error


def read_token(home: Path) -> str | None:
    """The admin token of a home; None where there is no file of it that this user can read."""
    try:
        return (home / OWNER_FILE).read_text().strip() or None
    except OSError:
        return None


def write_home_id(home: Path, id_: str) -> str:
    """Give a data directory an id, if it has none, and return the one that it has.

    Of several hosts that do so at once one is first, and all get its.
    """
    try:
        draft = home / f".{_ID}.{uuid4().hex}"
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(f"{id_}\n")
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, home / _ID)
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    except OSError as error:
        raise _unusable(home, error) from error
    return home_id(home) or id_


def default_home() -> Path:
    """The data directory where none is named, as the XDG base directory specification has it."""
    base = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(base).expanduser() / "transship"


def run_dir(home: Path) -> Path:
    """Where locks and sockets of the engine are that runs on *home*."""
    return home / "run"


def prepare_home(home: Path) -> None:
    """Make the home, readable by its owner only, and the directory of the running engine.

    Raises:
        HomeUnusableError: it cannot be made or written, or others can read it or have made it.
    """
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        run_dir(home).mkdir(mode=0o700, exist_ok=True)
        probe = run_dir(home) / f".writable.{uuid4().hex}"  # other hosts have the same pids
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise _unusable(home, error) from error
    for private in (home, run_dir(home), *map(home.joinpath, _SECRETS)):
        check_private(private)


def check_private(path: Path) -> None:
    """Refuse a file or directory that others could have made, or can read or change.

    As ssh does with keys, and PostgreSQL with its directory. What is not there is in order.

    Raises:
        HomeUnusableError: others could, or can.
    """
    try:
        found = path.stat()
    except FileNotFoundError:
        return
    except OSError as error:
        raise _unusable(path, error) from error
    if found.st_uid != os.geteuid():
        raise HomeUnusableError(
            f"it belongs to another user ({found.st_uid}, not {os.geteuid()})",
            subject=str(path),
            hint="run Transship as its owner, or give it to the user that runs Transship",
        )
    if found.st_mode & 0o077:
        raise HomeUnusableError(
            f"others can use it: its mode is {stat.S_IMODE(found.st_mode):04o}",
            subject=str(path),
            hint=f"chmod go= {path}, and replace what others may have read or written",
        )


def _unusable(home: Path, error: OSError) -> HomeUnusableError:
    return HomeUnusableError(
        f"the home cannot be used: {error.strerror}",
        subject=str(home),
        hint="set TRANSSHIP_HOME to a directory that can be written",
    )
