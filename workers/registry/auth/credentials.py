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
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from transship.store.errors import RequestError
from transship.store.oci.reference import HUB
from transship.workers.registry.auth.programs import HelperError, Login, ask_helper

log = logging.getLogger(__name__)
T = TypeVar("T")

MAX_CONFIG_BYTES = 4 * 1024 * 1024
HUB_KEY = "https://index.docker.io/v1/"
_HUB_HOSTS = frozenset({HUB, f"index.{HUB}", f"registry-1.{HUB}"})
_OF_THIS_PROCESS = secrets.token_bytes(32)


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

    sources: tuple[Source, ...] = ()
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
class Source:
    """One parsed file, or variable."""

    name: str
    auths: Mapping[str, Any] = field(default_factory=dict, repr=False)
    helpers: Mapping[str, str] = field(default_factory=dict)
    store: str = ""

    @classmethod
    def of(cls, document: Mapping[str, Any], name: str) -> Source:
        """Read the logins in *document*, which is called *name*.

        Raises:
            RequestError: it is not shaped as such a file is.
        """
        # Absent and null are the same to Go, in which these files are written.
        auths, helpers, store = (
            document.get(key) for key in ("auths", "credHelpers", "credsStore")
        )
        auths = {} if auths is None else auths
        helpers = {} if helpers is None else helpers
        store = "" if store is None else store
        if not isinstance(auths, dict):
            raise RequestError("`auths` is not an object", subject=name)
        if not isinstance(helpers, dict) or not all(isinstance(h, str) for h in helpers.values()):
            raise RequestError("`credHelpers` does not map hosts to names", subject=name)
        if not isinstance(store, str):
            raise RequestError("`credsStore` is not a name", subject=name)
        return cls(name, auths, helpers, store)

    def helper_of(self, host: str) -> str:
        """The program that keeps the logins of *host*; '' where this file does."""
        return next((h for key, h in self.helpers.items() if same_host(key, host)), self.store)

    def for_host(
        self, host: str, environ: Mapping[str, str], warn: Callable[[str], None]
    ) -> Credential | None:
        """What this file, or its helper, has for *host*; None where that is nothing.

        Raises:
            RequestError: the entry cannot be read.
        """
        helper = self.helper_of(host)
        if helper:
            server = key_of(host)
            try:
                found = _credential(ask_helper(helper, server, environ))
            except HelperError as failed:
                warn(str(failed))
                found = None
            if found is not None and found.fingerprint:
                return found
        exact = self.auths.get(host)
        if exact is not None:
            return self._entry(host, exact)
        for key, entry in self.auths.items():
            if same_host(key, host):
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
    sources: list[Source] = []
    inline = environ.get("DOCKER_AUTH_CONFIG")
    if inline:
        sources.append(Source.of(_parse(inline, "DOCKER_AUTH_CONFIG"), "DOCKER_AUTH_CONFIG"))
    for path in _paths(environ):
        document = read_document(path)
        if document is not None:
            sources.append(Source.of(document, str(path)))
    return DockerConfig(tuple(sources), for_helpers(environ), warn)


def for_helpers(environ: Mapping[str, str]) -> dict[str, str]:
    """What a helper is given of the environment; the server's own secrets are not for it."""
    return {name: it for name, it in environ.items() if not name.startswith("TRANSSHIP_")}


def docker_config_path(environ: Mapping[str, str]) -> Path | None:
    """Where Docker keeps its `config.json`; None where there is no home directory."""
    if environ.get("DOCKER_CONFIG"):
        return Path(environ["DOCKER_CONFIG"]) / "config.json"
    home = environ.get("HOME")
    return Path(home) / ".docker/config.json" if home else None


def key_of(host: str) -> str:
    """The key under which Docker keeps the login of *host*."""
    return HUB_KEY if host in _HUB_HOSTS else host


def _paths(environ: Mapping[str, str]) -> list[Path]:
    home = environ.get("HOME")
    docker = docker_config_path(environ)
    paths = [docker] if docker is not None else []
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


def read_document(path: Path) -> dict[str, Any] | None:
    """The JSON object in *path*, an empty one where the file is empty; None where there is none.

    Raises:
        RequestError: the file is not readable, or not such a file; names the path.
    """
    try:
        raw = _read(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as unreadable:
        raise RequestError(
            f"cannot be read: {unreadable.strerror}", subject=str(path)
        ) from unreadable
    return _parse(raw, str(path))


def _read(path: Path) -> str:
    with path.open("rb") as file:
        raw = file.read(MAX_CONFIG_BYTES + 1)
    if len(raw) > MAX_CONFIG_BYTES:
        raise RequestError("too large for a file of credentials", subject=str(path))
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise RequestError("not valid JSON: not UTF-8", subject=str(path)) from None


def _parse(text: str, name: str) -> dict[str, Any]:
    if not text.strip():
        return {}  # containers' tools leave empty files behind
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
    return document


def same_host(key: str, host: str) -> bool:
    """Say whether *key* of a file means *host*; it may be a URL, but not one repository."""
    named = _host_of(key)
    return named == host or (named in _HUB_HOSTS and host in _HUB_HOSTS)


def _credential(login: Login | None) -> Credential | None:
    if login is None:
        return None
    if login.is_identity:
        return Credential(identity_token=login.secret)
    return Credential(login.username, login.secret)


def _host_of(key: str) -> str:
    rest = key.partition("://")[2] if "://" in key else key
    host, _, path = rest.partition("/")
    # containers' files may have entries for single repositories: they are not the host's.
    return host if path.strip("/") in {"", "v1", "v2"} else rest
