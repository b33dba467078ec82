"""Where reads of a repository go: mirrors first, by containers' `registries.conf` (version 2).

Only reads, and only those of a job's source: what is written, and what is asked of a target, goes
to the registry that was named. A mirror's failure is no failure. What it gives is checked by
digest; which digest a tag stands for it may say only where the file lets it.
"""

from __future__ import annotations

import logging
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from transship.store.errors import RequestError
from transship.workers.registry.transport.origins import split_host

log = logging.getLogger(__name__)

SYSTEM_DIRECTORY: Final = Path("/etc/containers")
_FROM_MIRROR: Final = {  # pull-from-mirror: may it resolve tags, may it give digests?
    "all": (True, True),
    "digest-only": (False, True),
    "tag-only": (True, False),
}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A repository at one registry, and for what it may be asked."""

    name: str  # "mirror.test:5000/hub/library/alpine"
    tags: bool = True
    digests: bool = True

    def serves(self, identifier: str) -> bool:
        """Say whether it may be asked for *identifier*, a tag or a digest."""
        return self.digests if ":" in identifier else self.tags


@dataclass(frozen=True, slots=True)
class Route:
    """The stops for reads of one repository, in order; the last is where it really lies."""

    mirrors: tuple[Endpoint, ...]
    origin: str
    blocked: bool = False


@dataclass(frozen=True, slots=True)
class _Mirror:
    location: str
    tags: bool
    digests: bool


@dataclass(frozen=True, slots=True)
class _Rule:
    """One `[[registry]]` table."""

    prefix: str
    location: str  # "" keeps the name as it is; only for wildcards
    blocked: bool
    mirrors: tuple[_Mirror, ...]

    def rest(self, name: str) -> str | None:
        """Return what follows the prefix in *name*; None if it does not fit."""
        if self.prefix.startswith("*."):
            host, slash, path = name.partition("/")
            return slash + path if host.endswith(self.prefix[1:]) else None
        rest = name.removeprefix(self.prefix)
        return rest if name.startswith(self.prefix) and rest[:1] in ("", "/") else None


@dataclass(frozen=True)
class Routes:
    """The rules of all files. Frozen, and asked from many threads.

    Args:
        rules: By prefix.
        insecure: The hosts that some rule calls insecure.
    """

    rules: Mapping[str, _Rule] = field(default_factory=dict)
    insecure: tuple[str, ...] = ()

    @classmethod
    def load(cls, environ: Mapping[str, str], system: Path = SYSTEM_DIRECTORY) -> Routes:
        """Read the files; one that is not there is no error.

        `CONTAINERS_REGISTRIES_CONF` alone; else the user's `registries.conf`, or the system's, and
        over it the drop-ins of `registries.conf.d`, the system's and then the user's.

        Raises:
            RequestError: a file cannot be read or understood; names it.
        """
        rules: dict[str, _Rule] = {}
        insecure: dict[str, None] = {}
        for path in _files(environ, system):
            for entry in _entries(path):
                rule = _rule(entry, path)
                rules[rule.prefix] = rule
                for place in (entry, *entry.get("mirror", ())):
                    host = _host(place.get("location") or rule.prefix)
                    if place.get("insecure") and "*" not in host:
                        insecure[host] = None
        return cls(rules, tuple(insecure))

    def of(self, name: str) -> Route:
        """Return the route to *name*, a repository with its registry; the longest prefix wins."""
        best: tuple[_Rule, str] | None = None
        for rule in self.rules.values():
            rest = rule.rest(name)
            if rest is not None and (best is None or len(rule.prefix) > len(best[0].prefix)):
                best = rule, rest
        if best is None:
            return Route((), name)
        rule, rest = best
        return Route(
            tuple(Endpoint(m.location + rest, m.tags, m.digests) for m in rule.mirrors),
            rule.location + rest if rule.location else name,
            rule.blocked,
        )


def _files(environ: Mapping[str, str], system: Path) -> Iterator[Path]:
    if environ.get("CONTAINERS_REGISTRIES_CONF"):
        yield Path(environ["CONTAINERS_REGISTRIES_CONF"])
        return
    directories = [system]
    if environ.get("HOME"):
        directories.append(Path(environ["HOME"]) / ".config/containers")
    mains = [path for each in directories if (path := each / "registries.conf").is_file()]
    yield from mains[-1:]
    for directory in directories:
        yield from sorted((directory / "registries.conf.d").glob("*.conf"))


def _entries(path: Path) -> list[dict[str, Any]]:
    try:
        document = tomllib.loads(path.read_text())
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as wrong:
        raise RequestError(f"cannot be read: {wrong}", subject=str(path)) from wrong
    if "registries" in document:
        log.warning("%s: tables of version 1 (`registries`) are not read", path)
    entries = document.get("registry", [])
    if not isinstance(entries, list) or not all(isinstance(each, dict) for each in entries):
        raise RequestError("`registry` is no list of tables", subject=str(path))
    return entries


def _rule(entry: Mapping[str, Any], path: Path) -> _Rule:
    def wrong(what: str) -> RequestError:
        return RequestError(f"in a [[registry]]: {what}", subject=str(path))

    location, prefix = (_text(entry, key, path) for key in ("location", "prefix"))
    prefix = prefix or location
    if not prefix:
        raise wrong("neither a prefix nor a location")
    wildcard = prefix.startswith("*.")
    if not location and not wildcard:
        location = prefix
    mirrors = []
    tables = entry.get("mirror", [])
    if not isinstance(tables, list) or not all(isinstance(each, dict) for each in tables):
        raise wrong("`mirror` is no list of tables")
    for table in tables:
        allowed = table.get("pull-from-mirror", "all")
        if entry.get("mirror-by-digest-only"):
            if "pull-from-mirror" in table:
                raise wrong("both mirror-by-digest-only and pull-from-mirror")
            allowed = "digest-only"
        if allowed not in _FROM_MIRROR:
            raise wrong(f"pull-from-mirror must be one of {', '.join(_FROM_MIRROR)}")
        at = _text(table, "location", path)
        if not at:
            raise wrong("a mirror without a location")
        mirrors.append(_Mirror(at, *_FROM_MIRROR[allowed]))
    return _Rule(prefix, location, bool(entry.get("blocked")), tuple(mirrors))


def _text(table: Mapping[str, Any], key: str, path: Path) -> str:
    value = table.get(key, "")
    if not isinstance(value, str) or "://" in value:
        raise RequestError(f"`{key}` is no HOST[:PORT][/PATH]", subject=str(path))
    return value.rstrip("/")


def _host(location: str) -> str:
    """The host of a location as lists of hosts have it: its port too, if it names one."""
    name, port = split_host(location.partition("/")[0])
    shown = f"[{name}]" if ":" in name else name
    return name if port is None else f"{shown}:{port}"
