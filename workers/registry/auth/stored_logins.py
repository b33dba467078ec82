"""Writes a user's logins where Docker keeps them: `config.json`, or the helper that it names."""

from __future__ import annotations

import base64
import json
import os
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transship.store.errors import RequestError
from transship.workers.registry.auth.credentials import (
    Source,
    docker_config_path,
    for_helpers,
    key_of,
    read_document,
    same_host,
)
from transship.workers.registry.auth.programs import (
    HelperError,
    Login,
    ask_helper,
    let_helper_forget,
    tell_helper,
)

_INDENT = "\t"  # Docker's


@dataclass(frozen=True, slots=True)
class Kept:
    """Where a login is: a file, and the helper where that keeps it."""

    path: Path
    helper: str = ""


def remembered_user(host: str, environ: Mapping[str, str]) -> str:
    """The name with which the user last signed in at *host*; '' for none.

    Raises:
        RequestError: the file cannot be read.
    """
    file = _File.load(environ)
    if helper := file.logins.helper_of(host):
        with suppress(HelperError):  # who signs in may say it again
            found = ask_helper(helper, key_of(host), for_helpers(environ))
            return "" if found is None or found.is_identity else found.username
    found_in_file = file.logins.for_host(host, {}, lambda _: None)
    return "" if found_in_file is None else found_in_file.username


def store_login(host: str, username: str, password: str, environ: Mapping[str, str]) -> Kept:
    """Keep a login for *host*, as references name it, in place of the one that is there.

    What else is in the file stays. The file is replaced as a whole, mode 0600.

    Raises:
        RequestError: the file cannot be read or written, or the helper fails; nothing has changed.
    """
    file = _File.load(environ)
    helper, key = file.logins.helper_of(host), key_of(host)
    if helper:
        try:
            tell_helper(helper, key, Login(username, password), for_helpers(environ))
        except HelperError as failed:
            raise RequestError(str(failed), subject=str(file.path)) from None
        entry = {}
    else:
        secret = f"{username}:{password}".encode()
        entry = {"auth": base64.b64encode(secret).decode()}
    file.forget(host)
    file.auths[key] = entry
    file.write()
    return Kept(file.path, helper)


def forget_login(host: str, environ: Mapping[str, str]) -> bool:
    """Forget the login for *host* in Docker's file and in its helper; False where there is none.

    Raises:
        RequestError: the file cannot be read or written, or the helper fails.
    """
    file = _File.load(environ)
    helper, known = file.logins.helper_of(host), False
    if helper:
        own = for_helpers(environ)
        try:
            known = ask_helper(helper, key_of(host), own) is not None
            if known:
                let_helper_forget(helper, key_of(host), own)
        except HelperError as failed:
            raise RequestError(str(failed), subject=str(file.path)) from None
    if file.forget(host):
        file.write()
        known = True
    return known


class _File:
    """Docker's `config.json`, whole."""

    def __init__(self, path: Path, document: dict[str, Any]) -> None:
        self.path = path
        self._document = document
        self.logins = Source.of(document, str(path))

    @classmethod
    def load(cls, environ: Mapping[str, str]) -> _File:
        path = docker_config_path(environ)
        if path is None:
            raise RequestError(
                "there is no place for logins", subject="HOME", hint="set HOME or DOCKER_CONFIG"
            )
        return cls(path, read_document(path) or {})

    @property
    def auths(self) -> dict[str, Any]:
        """The plain entries, to be changed."""
        if self._document.get("auths") is None:
            self._document["auths"] = {}
        auths: dict[str, Any] = self._document["auths"]
        return auths

    def forget(self, host: str) -> bool:
        """Drop every entry that means *host*, and say whether there was one."""
        keys = [key for key in self.auths if same_host(key, host)]
        for key in keys:
            del self.auths[key]
        return bool(keys)

    def write(self) -> None:
        """Replace the file; where it is a link, what that leads to."""
        place = Path(os.path.realpath(self.path))
        text = json.dumps(self._document, indent=_INDENT, ensure_ascii=False)
        try:
            place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            handle, draft = tempfile.mkstemp(prefix=f".{place.name}.", dir=place.parent)
            try:
                with os.fdopen(handle, "w", encoding="utf-8") as file:  # mkstemp gives it 0600
                    file.write(text)
                    file.flush()
                    os.fsync(file.fileno())
                Path(draft).replace(place)
            except BaseException:
                Path(draft).unlink()
                raise
        except OSError as failed:
            raise RequestError(
                f"cannot be written: {failed.strerror}", subject=str(self.path)
            ) from None
