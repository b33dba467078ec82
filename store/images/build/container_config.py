"""What a container runs with, as Docker writes it: the `config` object of an image, and a step's.

Keys are Docker's: Cmd, Entrypoint, Env, Labels and so on; others pass through.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from transship.store.errors import InvalidSpecError

_LISTS: Final = ("Cmd", "Entrypoint", "Env", "OnBuild", "Shell")
_OBJECTS: Final = ("ExposedPorts", "Labels", "Volumes")
_TEXTS: Final = ("User", "WorkingDir", "StopSignal")
_TAKEN_OVER: Final = (
    *("User", "ExposedPorts", "Env", "Cmd", "ArgsEscaped", "Healthcheck", "Volumes"),
    *("WorkingDir", "Entrypoint", "Labels", "StopSignal"),
)
_IN_ORDER: Final = ("Cmd", "Entrypoint", "Env")
_PLAIN: Final = ("User", "Tty", "AttachStdin", "AttachStdout", "AttachStderr")


def check(config: Mapping[str, Any], field: str = "config") -> None:
    """Refuse a config whose values are of the wrong types.

    Raises:
        InvalidSpecError: one is; it is named, within *field*.
    """
    for key in _LISTS:
        value = config.get(key)
        if value is not None and not _is_texts(value):
            raise _wrong(f"{field}.{key}", "a list of texts")
    for key in _OBJECTS:
        value = config.get(key)
        if value is not None and not isinstance(value, dict):
            raise _wrong(f"{field}.{key}", "an object")
    if not _is_texts(list((config.get("Labels") or {}).values())):
        raise _wrong(f"{field}.Labels", "an object of texts")
    for key in _TEXTS:
        if not isinstance(config.get(key) or "", str):
            raise _wrong(f"{field}.{key}", "text")


def command(config: Mapping[str, Any]) -> str:
    """Its command as histories have it, joined by spaces."""
    return " ".join(config.get("Cmd") or ())


def of_container(image: Mapping[str, Any]) -> dict[str, Any]:
    """What a container has of the `config` of its *image*, and so what a commit takes over.

    Triggers, the shell of build steps and what is not Docker's stay with the image.
    """
    return {key: image[key] for key in _TAKEN_OVER if image.get(key)}


def complete(given: Mapping[str, Any], inherited: Mapping[str, Any]) -> dict[str, Any]:
    """*given*, and what it leaves out as *inherited*: Docker's merge of two configs.

    Ports, volumes and labels are those of both, and so are variables; of a health check each field
    is; an entry point that is given does without the command that was inherited, and an empty one
    does without the entry point.
    """
    whole = {**inherited, **{key: value for key, value in given.items() if value}}
    health = {**(inherited.get("Healthcheck") or {}), **_set(given.get("Healthcheck") or {})}
    if health:
        whole["Healthcheck"] = health
    for key in _OBJECTS:
        both = {**(inherited.get(key) or {}), **(given.get(key) or {})}
        if both:
            whole[key] = both
    own = list(given.get("Env") or ())
    names = {entry.partition("=")[0] for entry in own}
    more = [one for one in inherited.get("Env") or () if one.partition("=")[0] not in names]
    if own or more:
        whole["Env"] = [*own, *more]
    if given.get("Entrypoint") and not given.get("Cmd"):
        whole.pop("Cmd", None)
    if given.get("Entrypoint") == []:
        whole.pop("Entrypoint", None)
    return whole


def _set(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if value}


def same_step(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether a build step with the one config gives what a step with the other gave.

    Commands, entry points and variables count in their order; labels, ports and volumes without.
    Nothing is known of a step that reads from its user.
    """
    if one.get("OpenStdin") or other.get("OpenStdin"):
        return False
    return (
        all((one.get(key) or None) == (other.get(key) or None) for key in _PLAIN)
        and all(list(one.get(key) or ()) == list(other.get(key) or ()) for key in _IN_ORDER)
        and (one.get("Labels") or {}) == (other.get("Labels") or {})
        and all(
            set(one.get(key) or ()) == set(other.get(key) or ())
            for key in ("ExposedPorts", "Volumes")
        )
    )


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


def _wrong(field: str, expected: str) -> InvalidSpecError:
    message = f"{field} is not {expected}"
    return InvalidSpecError(message, errors=[{"field": field, "message": message}])
