"""Instructions of a Dockerfile that change the config of an image, as import and commit take them.

They mean what they mean to `docker import --change`, quoting and variables included.
"""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from typing import Any, Final

from transship.store.errors import InvalidSpecError
from transship.store.images.build.shell_words import WordError, expand, split_words
from transship.store.oci.timestamps import duration

_CONTINUED: Final = re.compile(r"\\[ \t]*$")
_SHELL: Final = ["/bin/sh", "-c"]
_PORT: Final = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?(?:/(tcp|udp|sctp))?", re.IGNORECASE)
_HIGHEST_PORT: Final = 65535
_SHORTEST_NS: Final = 1_000_000  # of a health check's times, but for 0
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
    changed = _Changed(config)
    if not changes:
        return changed.config
    lines = list(_lines("\n".join(changes)))
    if not lines:
        raise _wrong("there is no instruction in it")
    for name, _ in lines:
        if name not in _INSTRUCTIONS:
            raise _wrong(f"{name} is none of {', '.join(_INSTRUCTIONS)}")
    for name, rest in lines:
        try:
            _INSTRUCTIONS[name](changed, rest)
        except (WordError, _ChangeError) as error:
            raise _wrong(f"{name}: {error}") from None
    return changed.config


class _ChangeError(ValueError):
    """An instruction that cannot be understood."""


def _wrong(message: str) -> InvalidSpecError:
    return InvalidSpecError(message, errors=[{"field": "changes", "message": message}])


def _lines(text: str) -> Iterator[tuple[str, str]]:
    """The instructions in *text*: name, in capitals, and what follows it."""
    pending = ""
    for line in text.splitlines():
        if line.lstrip().startswith("#"):
            continue
        joined = pending + (line if pending else line.lstrip())
        if (continued := _CONTINUED.search(joined)) is not None:
            pending = joined[: continued.start()]
            continue
        pending = ""
        if joined.strip():
            yield _instruction(joined)
    if pending.strip():
        yield _instruction(pending)


def _instruction(line: str) -> tuple[str, str]:
    name, *rest = line.strip().split(maxsplit=1)
    return name.upper(), rest[0] if rest else ""


class _Changed:
    """A config that is being changed."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.config: dict[str, Any] = deepcopy(dict(config))
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
        before = self._variables
        entries: list[str] = list(self.config.get("Env") or ())
        for name, value in _pairs(rest, before):
            places = [at for at, entry in enumerate(entries) if entry.partition("=")[0] == name]
            if places:
                entries[places[0]] = f"{name}={value}"
            else:
                entries.append(f"{name}={value}")
        self.config["Env"] = entries

    def label(self, rest: str) -> None:
        """Labels."""
        labels = dict(_pairs(rest, self._variables))
        self.config["Labels"] = {**(self.config.get("Labels") or {}), **labels}

    def expose(self, rest: str) -> None:
        """Ports, and ranges of them."""
        words = [one for word in _plain(rest).split() for one in self._expand(word).split()]
        if not words:
            raise _ChangeError("needs a port")
        ports: _Set = {port: {} for word in words for port in _ports(word)}
        self.config["ExposedPorts"] = {**(self.config.get("ExposedPorts") or {}), **ports}

    def healthcheck(self, rest: str) -> None:
        """How to see whether it works."""
        flags, rest = _flags(rest)
        kind, *more = rest.split(maxsplit=1) or [""]
        match kind.upper():
            case "NONE" if not more and not flags:
                self.config["Healthcheck"] = {"Test": ["NONE"]}
            case "CMD" if more:
                given, is_json = _command(more[0])
                if not given:
                    raise _ChangeError("needs a command")
                test = ["CMD" if is_json else "CMD-SHELL", *given]
                self.config["Healthcheck"] = {"Test": test, **_health_options(flags)}
            case _:
                raise _ChangeError("NONE, or [--OPTION=VALUE]… CMD and a command")

    def onbuild(self, rest: str) -> None:
        """What a build that begins with this image does first."""
        trigger = _plain(rest).partition(" ")[0].upper()
        if not trigger:
            raise _ChangeError("needs an instruction")
        if trigger in _NEVER_TRIGGERED:
            raise _ChangeError(f"{trigger} is not allowed as a trigger")
        self.config["OnBuild"] = [*(self.config.get("OnBuild") or ()), rest.strip()]

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
        return expand(word, self._variables)


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
        raise _ChangeError(f"the option --{next(iter(flags))} is not known")
    return rest


def _flags(rest: str) -> tuple[dict[str, str], str]:
    """The options at the beginning of *rest*, and what follows them."""
    flags: dict[str, str] = {}
    rest = rest.strip()
    while rest.startswith("--"):
        word, *more = rest.split(maxsplit=1)
        rest = more[0] if more else ""
        if word == "--":
            break
        name, _, value = word.removeprefix("--").partition("=")
        flags[name] = value
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


def _pairs(rest: str, variables: Mapping[str, str]) -> list[tuple[str, str]]:
    """`NAME=VALUE …`, or in the old form one name, and all that follows as its value."""
    rest = _plain(rest)
    words = split_words(rest)
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
    expanded = [(expand(name, variables), expand(value, variables)) for name, value in pairs]
    if not all(name for name, _ in expanded):
        raise _ChangeError("a name is empty")
    return expanded


def _ports(word: str) -> Iterator[str]:
    match = _PORT.fullmatch(word)
    first = int(match[1]) if match else -1
    last = int(match[2] or first) if match else -1
    if match is None or not 0 <= first <= last <= _HIGHEST_PORT:
        raise _ChangeError(f"{word!r:.80} is not a port, as in 80, 80/udp or 90-92")
    for port in range(first, last + 1):
        yield f"{port}/{(match[3] or 'tcp').lower()}"


def _health_options(flags: Mapping[str, str]) -> dict[str, int]:
    options: dict[str, int] = {}
    for name, value in flags.items():
        if name in _HEALTH_TIMES:
            time = duration(value)
            if time is None or 0 < time < _SHORTEST_NS:
                raise _ChangeError(f"--{name} is a duration of 1ms or more, as in 30s")
            options[_HEALTH_TIMES[name]] = time
        elif name == "retries":
            if not (value.isascii() and value.isdecimal() and 1 <= int(value) < 2**31):
                raise _ChangeError("--retries is a number of 1 or more")
            options["Retries"] = int(value)
        else:
            raise _ChangeError(f"the option --{name} is not known")
    return {name: value for name, value in options.items() if value}
