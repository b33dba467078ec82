"""What a user logged in with: Docker's `config.json` and its helpers, containers' `auth.json`.

Read only; nothing is written, and secrets never appear in a `repr`, a message or an argument of
another program.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
import logging
import os
import re
import secrets
import shutil
import subprocess
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from transship.store.errors import RequestError
from transship.store.oci.reference import HUB
from transship.store.text import escaped
from transship.workers.registry.transport.limits import HELPER_SECONDS

log = logging.getLogger(__name__)
T = TypeVar("T")

MAX_CONFIG_BYTES = 4 * 1024 * 1024
MAX_WORDS = 200  # bytes of what a helper says that are shown
HUB_KEY = "https://index.docker.io/v1/"
_HUB_HOSTS = frozenset({HUB, f"index.{HUB}", f"registry-1.{HUB}"})
_HELPER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_ANSWER = ("Username", "Secret")
_NOTHING_FOUND = "credentials not found in native keychain"
_OF_THIS_PROCESS = secrets.token_bytes(32)
_MEANS_IDENTITY = "<token>"  # as a user name: the secret is an identity token


@dataclass(frozen=True, slots=True)
class Credential:
    """How to authenticate to one registry; any part may be empty.

    Args:
        username, password: For Basic, and for token realms.
        identity_token: A refresh token for the realm.
        registry_token: A ready bearer token.
        mark: The fingerprint under which it was sealed, if it was.
    """

    username: str = ""
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)
    registry_token: str = field(default="", repr=False)
    mark: str = field(default="", repr=False, compare=False)

    @property
    def parts(self) -> dict[str, str]:
        """What it signs in with."""
        return {
            "username": self.username,
            "password": self.password,
            "identity_token": self.identity_token,
            "registry_token": self.registry_token,
        }

    @property
    def fingerprint(self) -> str:
        """A short name for this very credential; empty where there is nothing to sign in with.

        It is the *mark* that it was sealed under. One that was never sealed has a name that only
        this process knows, and which is not to be kept.
        """
        if not any(self.parts.values()):
            return ""
        if self.mark:
            return self.mark
        text = json.dumps(self.parts, sort_keys=True)
        key, content = _OF_THIS_PROCESS, text.encode("utf-8", "surrogatepass")
        return hmac.new(key, content, "sha256").hexdigest()[:32]


def fingerprint(credential: Credential | None) -> str:
    """Return the credential's fingerprint; "" for none, that is, anonymous access."""
    return "" if credential is None else credential.fingerprint


def most_specific(entries: Mapping[str, T], name: str) -> T | None:
    """Return the entry whose key, a registry or a namespace in it, fits *name* best.

    *name* is a repository with its registry. Longer keys come first, as in containers' `auth.json`.
    """
    key = name
    while True:
        if key in entries:
            return entries[key]
        key, slash, _ = key.rpartition("/")
        if not slash:
            return None


@dataclass(frozen=True)
class DockerConfig:
    """The credentials found in the user's files, first file first.

    Made by `load_docker_config`. May be asked from many threads.
    """

    sources: tuple[_Source, ...] = ()
    environ: Mapping[str, str] = field(default_factory=dict, repr=False)
    warn: Callable[[str], None] = log.warning

    def for_host(self, host: str) -> Credential | None:
        """Return what to use for *host*, as in a reference; None for anonymous access.

        Each file is asked in turn: the host's own helper, the general helper, the plain entry. A
        helper that fails is warned of, and no obstacle: the registry may want no credential.

        Raises:
            RequestError: an entry cannot be read; names the file.
        """
        for source in self.sources:
            found = source.for_host(host, self.environ, self.warn)
            if found is not None and found.fingerprint:
                return found
        return None

    def for_registries(self, hosts: Iterable[str]) -> dict[str, Credential]:
        """Return what a job that talks to *hosts* may need, by registry and by namespace in it.

        Raises:
            RequestError: as `for_host`.
        """
        found: dict[str, Credential] = {}
        for host in hosts:
            whole = self.for_host(host)
            if whole is not None:
                found[host] = whole
            for source in self.sources:  # the first file wins
                for key, entry in source.namespaces(host):
                    if key not in found and entry.fingerprint:
                        found[key] = entry
        return found


@dataclass(frozen=True, slots=True)
class _Source:
    """One parsed file, or variable."""

    name: str
    auths: Mapping[str, Any] = field(default_factory=dict, repr=False)
    helpers: Mapping[str, str] = field(default_factory=dict)
    store: str = ""

    def for_host(
        self, host: str, environ: Mapping[str, str], warn: Callable[[str], None]
    ) -> Credential | None:
        helper = next((h for key, h in self.helpers.items() if _same_host(key, host)), self.store)
        if helper:
            server = HUB_KEY if host in _HUB_HOSTS else host
            try:
                found = _ask_helper(helper, server, environ)
            except _HelperError as failed:
                warn(str(failed))
                found = None
            if found is not None and found.fingerprint:
                return found
        exact = self.auths.get(host)
        if exact is not None:
            return self._entry(host, exact)
        for key, entry in self.auths.items():
            if _same_host(key, host):
                return self._entry(key, entry)
        return None

    def namespaces(self, host: str) -> Iterator[tuple[str, Credential]]:
        """The plain entries for parts of *host*, as containers' tools write them."""
        for key, entry in self.auths.items():
            registry, _, path = _host_of(key).partition("/")
            # Docker keeps tokens of its own under URLs with a path; those are no namespaces.
            if path and "://" not in key and (registry == host or {registry, host} <= _HUB_HOSTS):
                yield f"{host}/{path.rstrip('/')}", self._entry(key, entry)

    def _entry(self, key: str, entry: Any) -> Credential:
        wrong = RequestError(f"the entry for {_host_of(key)} cannot be read", subject=self.name)
        if not isinstance(entry, dict):
            raise wrong
        values: dict[str, str] = {}
        for name in ("username", "password", "auth", "identitytoken", "registrytoken"):
            value = entry.get(name, "")
            if not isinstance(value, str):
                raise wrong
            values[name] = value
        username, password = values["username"], values["password"]
        if values["auth"]:
            try:
                decoded = base64.b64decode(values["auth"], validate=True).decode()
            except (binascii.Error, ValueError):
                raise wrong from None
            username, colon, password = decoded.partition(":")
            if not colon:
                raise wrong
            password = password.strip("\x00")  # older Docker clients pad
        return Credential(username, password, values["identitytoken"], values["registrytoken"])


def load_docker_config(
    environ: Mapping[str, str], *, warn: Callable[[str], None] = log.warning
) -> DockerConfig:
    """Find and read the user's files. A file that is not there is no error.

    *warn* is told of helpers that fail.

    Order: `DOCKER_AUTH_CONFIG` (the JSON itself), `$DOCKER_CONFIG/config.json` or
    `~/.docker/config.json`, `REGISTRY_AUTH_FILE`, `$XDG_RUNTIME_DIR/containers/auth.json`
    or `/run/containers/UID/auth.json`, `$XDG_CONFIG_HOME/containers/auth.json`.

    Raises:
        RequestError: a file that is there is not readable or not such a file; names the path.
    """
    sources: list[_Source] = []
    inline = environ.get("DOCKER_AUTH_CONFIG")
    if inline:
        sources.append(_parse(inline, "DOCKER_AUTH_CONFIG"))
    for path in _paths(environ):
        try:
            raw = _read(path)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as unreadable:
            raise RequestError(
                f"cannot be read: {unreadable.strerror}", subject=str(path)
            ) from unreadable
        sources.append(_parse(raw, str(path)))
    # What a helper is told; the server's own secrets are not for it.
    told = {name: it for name, it in environ.items() if not name.startswith("TRANSSHIP_")}
    return DockerConfig(tuple(sources), told, warn)


def _paths(environ: Mapping[str, str]) -> list[Path]:
    home = environ.get("HOME")
    paths: list[Path] = []
    if environ.get("DOCKER_CONFIG"):
        paths.append(Path(environ["DOCKER_CONFIG"]) / "config.json")
    elif home:
        paths.append(Path(home) / ".docker/config.json")
    if environ.get("REGISTRY_AUTH_FILE"):
        paths.append(Path(environ["REGISTRY_AUTH_FILE"]))
    if environ.get("XDG_RUNTIME_DIR"):
        paths.append(Path(environ["XDG_RUNTIME_DIR"]) / "containers/auth.json")
    else:
        paths.append(Path(f"/run/containers/{os.getuid()}/auth.json"))
    if environ.get("XDG_CONFIG_HOME"):
        paths.append(Path(environ["XDG_CONFIG_HOME"]) / "containers/auth.json")
    elif home:
        paths.append(Path(home) / ".config/containers/auth.json")
    return paths


def _read(path: Path) -> str:
    with path.open("rb") as file:
        raw = file.read(MAX_CONFIG_BYTES + 1)
    if len(raw) > MAX_CONFIG_BYTES:
        raise RequestError("too large for a file of credentials", subject=str(path))
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise RequestError("not valid JSON: not UTF-8", subject=str(path)) from None


def _parse(text: str, name: str) -> _Source:
    if not text.strip():
        return _Source(name)  # containers' tools leave empty files behind
    try:
        document = json.loads(text)
    except json.JSONDecodeError as wrong:
        raise RequestError(
            f"not valid JSON: {wrong.msg} in line {wrong.lineno}", subject=name
        ) from None
    except RecursionError:
        raise RequestError("not valid JSON: nested too deep", subject=name) from None
    if not isinstance(document, dict):
        raise RequestError("not a JSON object", subject=name)
    # Absent and null are the same to Go, in which these files are written.
    auths, helpers, store = (document.get(key) for key in ("auths", "credHelpers", "credsStore"))
    auths = {} if auths is None else auths
    helpers = {} if helpers is None else helpers
    store = "" if store is None else store
    if not isinstance(auths, dict):
        raise RequestError("`auths` is not an object", subject=name)
    if not isinstance(helpers, dict) or not all(isinstance(h, str) for h in helpers.values()):
        raise RequestError("`credHelpers` does not map hosts to names", subject=name)
    if not isinstance(store, str):
        raise RequestError("`credsStore` is not a name", subject=name)
    return _Source(name, auths, helpers, store)


def _same_host(key: str, host: str) -> bool:
    """Say whether *key* of a file means *host*; it may be a URL, but not one repository."""
    named = _host_of(key)
    return named == host or (named in _HUB_HOSTS and host in _HUB_HOSTS)


def _host_of(key: str) -> str:
    rest = key.partition("://")[2] if "://" in key else key
    host, _, path = rest.partition("/")
    # containers' files may have entries for single repositories: they are not the host's.
    return host if path.strip("/") in {"", "v1", "v2"} else rest


class _HelperError(Exception):
    """A helper gave no answer; the text says which one, and why."""


def _ask_helper(name: str, server: str, environ: Mapping[str, str]) -> Credential | None:
    """Ask `docker-credential-<name> get`: the server on its input, JSON on its output."""
    if not _HELPER.fullmatch(name):
        raise _HelperError(f"{name[:64]!r} cannot be the name of a credential helper")
    program = f"docker-credential-{name}"
    path = shutil.which(program, path=environ.get("PATH", os.defpath))
    if path is None:
        raise _HelperError(f"{program} is not installed")
    try:
        done = subprocess.run(  # noqa: S603  (a checked name, found on PATH; no shell)
            [path, "get"],
            input=server.encode(),
            capture_output=True,
            timeout=HELPER_SECONDS,
            env=dict(environ),
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise _HelperError(f"{program} gave no answer within {HELPER_SECONDS:.0f} s") from None
    except OSError as wrong:
        raise _HelperError(f"{program} cannot be run: {wrong.strerror}") from wrong
    if done.returncode != 0:
        if _NOTHING_FOUND in done.stdout.decode("utf-8", "replace"):
            return None
        words = _words_of(done.stderr) or _words_of(done.stdout) or "it says nothing"
        raise _HelperError(f"{program} failed with status {done.returncode}: {words}")
    return _helper_answer(done.stdout, program)


def _words_of(output: bytes) -> str:
    """What a helper says of its failure, unless that may hold a secret."""
    text = " ".join(output[:MAX_WORDS].decode("utf-8", "replace").split())
    return "" if "{" in text else escaped(text)


def _helper_answer(raw: bytes, program: str) -> Credential:
    try:
        document = json.loads(raw)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise _HelperError(f"{program}: the answer is not a JSON object")
    # Absent and null are the same to Go, in which helpers are written.
    username, secret = ("" if (it := document.get(k)) is None else it for k in _ANSWER)
    if not isinstance(username, str) or not isinstance(secret, str):
        raise _HelperError(f"{program}: the answer cannot be read")
    if username == _MEANS_IDENTITY:
        return Credential(identity_token=secret)
    return Credential(username, secret)
