"""Instructions of a Dockerfile that change the config of an image, as import and commit take them.

They mean what they mean to `docker import --change`, quoting and variables included.
"""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from ipaddress import IPv4Address, ip_address
from typing import Any, Final

from transship.store.errors import InvalidSpecError
from transship.store.images.build.shell_words import BACKSLASH, WordError, expand, split_words
from transship.store.oci.timestamps import duration

_DIRECTIVE: Final = re.compile(r"#\s*([a-zA-Z][a-zA-Z0-9]*)\s*=\s*(.+?)\s*")
_DIRECTIVES: Final = ("escape", "syntax")
# What escapes; where it is the last of a line and alone, the next one belongs to it.
_ESCAPES: Final = {
    BACKSLASH: re.compile(r"(?<!\\)\\[ \t]*$"),
    "`": re.compile(r"(?<!`)`[ \t]*$"),
}
_SHELL: Final = ["/bin/sh", "-c"]
_PROTOCOLS: Final = ("tcp", "udp", "sctp")
_HIGHEST_PORT: Final = 65535
_SHORTEST_NS: Final = 1_000_000  # of a health check's times
_MAX_RETRIES: Final = 2**31 - 1
_NUMBER: Final = re.compile(r"[+-]?[0-9]+")
_ONBUILD: Final = re.compile(r"\s*ONBUILD\s*", re.IGNORECASE)
_Set = dict[str, dict[str, Any]]  # as configs write a set

_NEVER_TRIGGERED: Final = {"ONBUILD", "MAINTAINER", "FROM"}
_HEALTH_TIMES: Final = {
    "interval": "Interval",
    "timeout": "Timeout",
    "start-period": "StartPeriod",
}


def apply_changes(config: Mapping[str, Any], changes: Sequence[str]) -> dict[str, Any]:
    """Return *config*, the `config` object of an image, after *changes*.

    Each is one instruction, or several in lines; the case of its name is of no matter.

    Raises:
        InvalidSpecError: one is not allowed here, or cannot be understood; the field is `changes`.
    """
    return _changed(config, changes, knows_all=True)


def check_changes(changes: Sequence[str]) -> None:
    """Refuse changes that no config can be changed by.

    What an instruction with a variable means is only known with the config.

    Raises:
        InvalidSpecError: as `apply_changes`.
    """
    _changed({}, changes, knows_all=False)


def _changed(
    config: Mapping[str, Any], changes: Sequence[str], *, knows_all: bool
) -> dict[str, Any]:
    if not changes:
        return deepcopy(dict(config))
    text = "\n".join(changes)
    try:
        escape = _escape(text)
    except _ChangeError as error:
        raise _wrong(str(error)) from None
    changed = _Changed(config, escape)
    lines = list(_lines(text, escape))
    if not lines:
        raise _wrong("there is no instruction in it")
    for name, _, _ in lines:
        if name not in _INSTRUCTIONS:
            raise _wrong(f"{name} is none of {', '.join(_INSTRUCTIONS)}")
    for name, rest, line in lines:
        try:
            _INSTRUCTIONS[name](changed, line if name == "ONBUILD" else rest)
        except (WordError, _ChangeError) as error:
            if knows_all or "$" not in rest:
                raise _wrong(f"{name}: {error}") from None
    return changed.config


class _ChangeError(ValueError):
    """An instruction that cannot be understood."""


def _wrong(message: str) -> InvalidSpecError:
    return InvalidSpecError(message, errors=[{"field": "changes", "message": message}])


def _escape(text: str) -> str:
    """What escapes, and continues a line: a backslash, unless `# escape=` at the top says so."""
    seen: dict[str, str] = {}
    for line in text.splitlines():
        match = _DIRECTIVE.fullmatch(line)
        if match is None or (name := match[1].lower()) not in _DIRECTIVES:
            break
        if name in seen:
            raise _ChangeError(f"only one {name} directive can be used")
        seen[name] = match[2]
    escape = seen.get("escape", BACKSLASH)
    if escape not in _ESCAPES:
        raise _ChangeError(f"the escape {escape!r:.20} is none of {' and '.join(_ESCAPES)}")
    return escape


def _lines(text: str, escape: str) -> Iterator[tuple[str, str, str]]:
    """The instructions in *text*: name, in capitals, what follows it, and all as it was written."""
    pending = ""
    for line in text.splitlines():
        if line.lstrip().startswith("#"):
            continue
        joined = pending + (line if pending else line.lstrip())
        if (continued := _ESCAPES[escape].search(joined)) is not None:
            pending = joined[: continued.start()]
            continue
        pending = ""
        if joined.strip():
            yield _instruction(joined)
    if pending.strip():
        yield _instruction(pending)


def _instruction(line: str) -> tuple[str, str, str]:
    name, *rest = line.strip().split(maxsplit=1)
    return name.upper(), rest[0] if rest else "", line


class _Changed:
    """A config that is being changed."""

    def __init__(self, config: Mapping[str, Any], escape: str) -> None:
        self.config: dict[str, Any] = deepcopy(dict(config))
        self._escape = escape
        self._command_set = False

    def cmd(self, rest: str) -> None:
        """What runs; it stays if an entry point follows."""
        given, is_json = _command(_plain(rest))
        self.config["Cmd"] = given if is_json else [*self._shell, *given]
        self._command_set = bool(given)

    def entrypoint(self, rest: str) -> None:
        """What runs the command; a command that was inherited does not fit it any more."""
        given, is_json = _command(_plain(rest))
        if given:
            self.config["Entrypoint"] = given if is_json else [*self._shell, *given]
        else:
            self.config.pop("Entrypoint", None)
        if not self._command_set:
            self.config.pop("Cmd", None)

    def env(self, rest: str) -> None:
        """Variables; all of one instruction see those from before it."""
        entries: list[str] = list(self.config.get("Env") or ())
        for name, value in self._pairs(rest):
            places = [at for at, entry in enumerate(entries) if entry.partition("=")[0] == name]
            if places:
                entries[places[0]] = f"{name}={value}"
            else:
                entries.append(f"{name}={value}")
        self.config["Env"] = entries

    def label(self, rest: str) -> None:
        """Labels."""
        labels = dict(self._pairs(rest))
        self.config["Labels"] = {**(self.config.get("Labels") or {}), **labels}

    def expose(self, rest: str) -> None:
        """Ports, and ranges of them."""
        if not (given := _plain(rest).split()):
            raise _ChangeError("needs a port")
        words = [one for word in given for one in self._expand(word).split()]
        ports: _Set = {port: {} for word in words for port in _ports(word)}
        self.config["ExposedPorts"] = {**(self.config.get("ExposedPorts") or {}), **ports}

    def healthcheck(self, rest: str) -> None:
        """How to see whether it works."""
        flags, rest = _flags(rest)
        kind, *more = rest.split(maxsplit=1) or [""]
        match kind.upper():
            case "NONE" if not more:
                self.config["Healthcheck"] = {"Test": ["NONE"]}
            case "CMD" if more:
                given, is_json = _command(more[0])
                if not given:
                    raise _ChangeError("needs a command")
                test = ["CMD" if is_json else "CMD-SHELL", *given]
                self.config["Healthcheck"] = {"Test": test, **_health_options(flags)}
            case _:
                raise _ChangeError("NONE, or [--OPTION=VALUE]… CMD and a command")

    def onbuild(self, line: str) -> None:
        """What a build that begins with this image does first, as it was written."""
        rest = _ONBUILD.sub("", line, count=1)
        trigger = _plain(rest).partition(" ")[0].upper()
        if not trigger:
            raise _ChangeError("needs an instruction")
        if trigger in _NEVER_TRIGGERED:
            raise _ChangeError(f"{trigger} is not allowed as a trigger")
        self.config["OnBuild"] = [*(self.config.get("OnBuild") or ()), rest]

    def user(self, rest: str) -> None:
        """Who runs it."""
        self.config["User"] = self._expand(_one(rest))

    def volume(self, rest: str) -> None:
        """Directories whose content is no part of the image."""
        rest = _plain(rest)
        given, is_json = _command(rest)
        paths = [self._expand(path).strip() for path in (given if is_json else rest.split())]
        if not paths or not all(paths):
            raise _ChangeError("needs paths that are not empty")
        volumes: _Set = {path: {} for path in paths}
        self.config["Volumes"] = {**(self.config.get("Volumes") or {}), **volumes}

    def workdir(self, rest: str) -> None:
        """Where it runs; a relative path goes on from where it ran before."""
        path = self._expand(_one(rest))
        if not path:
            raise _ChangeError("the path is empty")
        if not path.startswith("/"):
            path = posixpath.normpath(
                posixpath.join("/", self.config.get("WorkingDir") or "", path)
            )
        self.config["WorkingDir"] = path

    @property
    def _shell(self) -> list[str]:
        return list(self.config.get("Shell") or _SHELL)

    @property
    def _variables(self) -> dict[str, str]:
        return dict(entry.partition("=")[::2] for entry in self.config.get("Env") or ())

    def _expand(self, word: str) -> str:
        return expand(word, self._variables, self._escape)

    def _pairs(self, rest: str) -> list[tuple[str, str]]:
        """`NAME=VALUE …`, or in the old form one name, and all that follows as its value."""
        rest = _plain(rest)
        words = split_words(rest, self._escape)
        if not words:
            raise _ChangeError("needs NAME=VALUE")
        if "=" not in words[0]:
            pair = rest.split(maxsplit=1)
            if len(pair) != len(("name", "value")):
                raise _ChangeError("needs a name and a value")
            pairs = [(pair[0], pair[1])]
        else:
            if lonely := next((word for word in words if "=" not in word), None):
                raise _ChangeError(f"{lonely!r:.80} is not NAME=VALUE")
            pairs = [word.partition("=")[::2] for word in words]
        expanded = [(self._expand(name), self._expand(value)) for name, value in pairs]
        if not all(name for name, _ in expanded):
            raise _ChangeError("a name is empty")
        return expanded


_INSTRUCTIONS: Final[Mapping[str, Callable[[_Changed, str], None]]] = {
    "CMD": _Changed.cmd,
    "ENTRYPOINT": _Changed.entrypoint,
    "ENV": _Changed.env,
    "EXPOSE": _Changed.expose,
    "HEALTHCHECK": _Changed.healthcheck,
    "LABEL": _Changed.label,
    "ONBUILD": _Changed.onbuild,
    "USER": _Changed.user,
    "VOLUME": _Changed.volume,
    "WORKDIR": _Changed.workdir,
}


def _plain(rest: str) -> str:
    """*rest* of an instruction that has no options."""
    flags, rest = _flags(rest)
    if flags:
        raise _ChangeError(f"the option --{flags[0][0]} is not known")
    return rest


def _flags(rest: str) -> tuple[list[tuple[str, str | None]], str]:
    """The options at the beginning of *rest*, and what follows them."""
    flags: list[tuple[str, str | None]] = []
    rest = rest.strip()
    while rest.startswith("--"):
        word, *more = rest.split(maxsplit=1)
        rest = more[0] if more else ""
        if word == "--":
            break
        name, given, value = word.removeprefix("--").partition("=")
        flags.append((name, value if given else None))
    return flags, rest


def _one(rest: str) -> str:
    word = _plain(rest)
    if not word:
        raise _ChangeError("needs one argument")
    return word


def _command(rest: str) -> tuple[list[str], bool]:
    """A command, and whether it is given as a JSON array; else it is a line for a shell.

    What follows the array is ignored, and what begins like one and is none is a line.
    """
    rest = rest.strip()
    if rest.startswith("["):
        try:
            given, _ = json.JSONDecoder().raw_decode(rest)
        except (ValueError, RecursionError):
            return [rest], False
        if not all(isinstance(one, str) for one in given):
            raise _ChangeError("a JSON array has to be of texts")
        return given, True
    return ([rest] if rest else []), False


def _ports(word: str) -> Iterator[str]:
    """The ports of a container in a specification: `[[ADDRESS:]HOST:]PORT[-PORT][/PROTOCOL]`."""
    before, _, container = word.rpartition(":")
    address, _, host = before.rpartition(":")
    port, *protocols = container.split("/")
    protocol = (protocols[0] if protocols else "").lower() or _PROTOCOLS[0]
    ports = _range(port)
    published = _range(host) if host else None
    if ports is None or (host and published is None) or protocol not in _PROTOCOLS:
        raise _ChangeError(f"{word!r:.80} is not a port, as in 80, 80/udp or 90-92")
    if published is not None and len(ports) > 1 and len(published) != len(ports):
        raise _ChangeError(f"{word!r:.80} publishes {len(ports)} ports as {len(published)}")
    if address and not _is_address(address):
        raise _ChangeError(f"{address!r:.80} is no address")
    for number in ports:
        yield f"{number}/{protocol}"


def _range(text: str) -> range | None:
    """`FIRST-LAST`, or one; what follows a second dash is ignored."""
    first, *more = text.split("-")
    last = more[0] if more else first
    if not all(one.isascii() and one.isdecimal() and len(one) <= 20 for one in (first, last)):
        return None
    found = range(int(first), int(last) + 1)
    return found if found and int(last) <= _HIGHEST_PORT else None


def _is_address(text: str) -> bool:
    """Whether it is an IPv4 address, or an IPv6 address in brackets."""
    inside = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    try:
        found = ip_address(inside)
    except ValueError:
        return False
    return "%" not in inside and (isinstance(found, IPv4Address) or inside != text)


def _health_options(flags: Sequence[tuple[str, str | None]]) -> dict[str, int]:
    options: dict[str, int] = {}
    for at, (name, value) in enumerate(flags):
        if any(name == other for other, _ in flags[:at]):
            raise _ChangeError(f"the option --{name} is given twice")
        if value is None:
            raise _ChangeError(f"the option --{name} needs a value")
        if name in _HEALTH_TIMES:
            time = duration(value)
            if value and (time is None or time < _SHORTEST_NS):
                raise _ChangeError(f"--{name} is a duration of 1ms or more, as in 30s")
            options[_HEALTH_TIMES[name]] = time or 0
        elif name == "retries":
            number = int(value) if _NUMBER.fullmatch(value) and len(value) <= 20 else 0
            if value and not 1 <= number <= _MAX_RETRIES:
                raise _ChangeError("--retries is a number of 1 or more")
            options["Retries"] = number
        else:
            raise _ChangeError(f"the option --{name} is not known")
    return {name: value for name, value in options.items() if value}
