"""Credential helpers: the programs in which users keep their logins, `docker-credential-NAME`."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from transship.store.text import escaped
from transship.workers.registry.transport.limits import HELPER_SECONDS

MAX_WORDS = 200  # bytes of what a helper says that are shown
_HELPER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_ANSWER = ("Username", "Secret")
_NOTHING_FOUND = "credentials not found in native keychain"
_IDENTITY: Final = "<token>"  # as a user name: the secret is an identity token


class HelperError(Exception):
    """A helper gave no answer; the text says which one, and why."""


@dataclass(frozen=True, slots=True)
class Login:
    """What a helper keeps for one server."""

    username: str
    secret: str = field(repr=False)

    @property
    def is_identity(self) -> bool:
        """Whether the secret is an identity token."""
        return self.username == _IDENTITY


def ask_helper(name: str, server: str, environ: Mapping[str, str]) -> Login | None:
    """Return what helper *name* keeps for *server*; None for nothing.

    Raises:
        HelperError: it gives no answer.
    """
    answer = _run(name, "get", server, environ)
    return None if answer is None else _login_in(answer, name)


def tell_helper(name: str, server: str, login: Login, environ: Mapping[str, str]) -> None:
    """Let helper *name* keep *login* for *server*, in place of the one that it has.

    Raises:
        HelperError: it does not.
    """
    wanted = {"ServerURL": server, "Username": login.username, "Secret": login.secret}
    _run(name, "store", json.dumps(wanted), environ)


def let_helper_forget(name: str, server: str, environ: Mapping[str, str]) -> bool:
    """Let helper *name* forget what it keeps for *server*; False where it keeps nothing.

    Raises:
        HelperError: it does not.
    """
    return _run(name, "erase", server, environ) is not None


def _run(name: str, action: str, given: str, environ: Mapping[str, str]) -> bytes | None:
    """Run `docker-credential-<name> <action>`; None where it says that it has nothing."""
    if not _HELPER.fullmatch(name):
        raise HelperError(f"{name[:64]!r} cannot be the name of a credential helper")
    program = f"docker-credential-{name}"
    path = shutil.which(program, path=environ.get("PATH", os.defpath))
    if path is None:
        raise HelperError(f"{program} is not installed")
    try:
        done = subprocess.run(  # noqa: S603  (a checked name, found on PATH; no shell)
            [path, action],
            input=given.encode(),
            capture_output=True,
            timeout=HELPER_SECONDS,
            env=dict(environ),
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise HelperError(f"{program} gave no answer within {HELPER_SECONDS:.0f} s") from None
    except OSError as wrong:
        raise HelperError(f"{program} cannot be run: {wrong.strerror}") from wrong
    if done.returncode != 0:
        if _NOTHING_FOUND in done.stdout.decode("utf-8", "replace"):
            return None
        words = _words_of(done.stderr) or _words_of(done.stdout) or "it says nothing"
        raise HelperError(f"{program} failed with status {done.returncode}: {words}")
    return done.stdout


def _words_of(output: bytes) -> str:
    """What a helper says of its failure, unless that may hold a secret."""
    text = " ".join(output[:MAX_WORDS].decode("utf-8", "replace").split())
    return "" if "{" in text else escaped(text)


def _login_in(raw: bytes, name: str) -> Login:
    program = f"docker-credential-{name}"
    try:
        document = json.loads(raw)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise HelperError(f"{program}: the answer is not a JSON object")
    # Absent and null are the same to Go, in which helpers are written.
    username, secret = ("" if (it := document.get(k)) is None else it for k in _ANSWER)
    if not isinstance(username, str) or not isinstance(secret, str):
        raise HelperError(f"{program}: the answer cannot be read")
    return Login(username, secret)
