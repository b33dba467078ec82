"""Archives of Docker before 1.10: a directory for each layer, with the image that ends there.

Each has a `json` that names its parent, and a `layer.tar`; `repositories` gives the names. There
were no configs, so the ID of an image is that of the config which Docker 20.10 makes on loading
one, byte for byte: Go's encoding, with the fields of its structures where the image is older than
Docker 1.8.3 (image/v1/imagev1.go).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

from transship.store.archives.archive import ArchivedImage, ArchivedLayer, manifest_of
from transship.store.archives.checks import checked_layer, parsed_config
from transship.store.archives.documents import Documents
from transship.store.archives.members import Members, shown
from transship.store.errors import InvalidArchiveError, RequestError
from transship.store.oci.config import MAX_CONFIG_BYTES
from transship.store.oci.reference import Reference
from transship.store.oci.timestamps import NO_TIME

REPOSITORIES: Final = "repositories"
_MAX_REPOSITORIES_BYTES: Final = 1024 * 1024
_JSON: Final = "/json"
_LAYER: Final = "/layer.tar"
_DEEPEST: Final = 1000  # parents in a row
_SYSTEMS: Final = ("", "linux")
_DROPPED: Final = ("id", "parent", "Size", "parent_id", "layer_id", "throwaway")
_KEEPS_ALL: Final = (1, 8, 3)  # from this version of Docker on the document itself is taken
_VERSION: Final = re.compile(r"(\d{1,9})\.(\d{1,9})(?:\.(\d{1,9}))?")
_TOKEN: Final = re.compile(r'"(?:\\.|[^"\\])*"|\s+|[^"\s]+', re.DOTALL)
_TIME: Final = re.compile(
    r"(\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2})(?:\.(\d{1,9})\d*)?(Z|[+-]\d{2}:\d{2})"
)
_ESCAPES: Final = {
    "<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029",
}  # fmt: skip

# The fields of Go's structures in their order: name, what stands for nothing, and whether that is
# left out.
_Fields = tuple[tuple[str, Any, bool], ...]
_IMAGE: _Fields = (
    ("comment", "", True), ("created", NO_TIME, False), ("container", "", True),
    ("container_config", {}, False), ("docker_version", "", True), ("author", "", True),
    ("config", None, True), ("architecture", "", True), ("variant", "", True), ("os", "", True),
)  # fmt: skip
_CONTAINER: _Fields = (
    ("Hostname", "", False), ("Domainname", "", False), ("User", "", False),
    ("AttachStdin", False, False), ("AttachStdout", False, False), ("AttachStderr", False, False),
    ("ExposedPorts", None, True), ("Tty", False, False), ("OpenStdin", False, False),
    ("StdinOnce", False, False), ("Env", None, False), ("Cmd", None, False),
    ("Healthcheck", None, True), ("ArgsEscaped", False, True), ("Image", "", False),
    ("Volumes", None, False), ("WorkingDir", "", False), ("Entrypoint", None, False),
    ("NetworkDisabled", False, True), ("MacAddress", "", True), ("OnBuild", None, False),
    ("Labels", None, False), ("StopSignal", "", True), ("StopTimeout", None, True),
    ("Shell", None, True),
)  # fmt: skip
_SETS: Final = ("ExposedPorts", "Volumes")
_MAPS: Final = (*_SETS, "Labels")
_COMMANDS: Final = ("Cmd", "Entrypoint", "Shell")  # one text stands for a list of it


def is_legacy(members: Members) -> bool:
    """Whether there is what Docker before 1.10 wrote."""
    return members.file(REPOSITORIES) is not None or bool(_directories(members))


def read_legacy(members: Members, documents: Documents) -> list[ArchivedImage]:
    """Every image of the archive, parents before children.

    Raises:
        InvalidArchiveError: a directory lacks its layer or its document, a parent is not there or
            below itself, a name stands for none of them, or a document cannot be understood.
    """
    reading = _Reading(members, documents)
    for old_id in sorted(_directories(members)):
        reading.read(old_id)
    found = reading.found
    for old_id, names in _names(members, documents).items():
        if old_id not in found:
            raise InvalidArchiveError(
                f"names {shown(old_id)!r}, which is not there", subject=REPOSITORIES
            )
        found[old_id] = replace(found[old_id], names=names)
    return list(found.values())


def _directories(members: Members) -> set[str]:
    paths = (*members.files, *members.links)
    return {
        path.removesuffix(end)
        for path in paths
        for end in (_JSON, _LAYER)
        if path.endswith(end) and path.count("/") == 1
    }


class _Reading:
    """The images that were found, by the name of their directory."""

    def __init__(self, members: Members, documents: Documents) -> None:
        self.found: dict[str, ArchivedImage] = {}
        self._members, self._documents = members, documents

    def read(self, old_id: str) -> None:
        """Find an image, after all that it stands on."""
        line: dict[str, tuple[Mapping[str, Any], str]] = {}
        at = old_id
        while at and at not in self.found:
            if at in line or len(line) >= _DEEPEST:
                raise InvalidArchiveError("its parents have no end", subject=shown(old_id))
            line[at] = self._document(at)
            at = line[at][0].get("parent") or ""
            if not isinstance(at, str):
                raise InvalidArchiveError("its parent is no ID", subject=shown(old_id))
        for one in reversed(line):
            self.found[one] = self._image(one, *line[one])

    def _document(self, old_id: str) -> tuple[Mapping[str, Any], str]:
        """What there is in place of a config, and its text."""
        path = f"{old_id}{_JSON}"
        member = self._members.find(path)
        if member is None:
            raise InvalidArchiveError("the archive does not hold this image", subject=shown(path))
        value, raw = self._documents.json_and_raw(path, member, max_bytes=MAX_CONFIG_BYTES)
        if not isinstance(value, dict):
            raise InvalidArchiveError("is not an object", subject=shown(path))
        return value, raw.decode()

    def _image(self, old_id: str, document: Mapping[str, Any], text: str) -> ArchivedImage:
        path, layer_path = f"{old_id}{_JSON}", f"{old_id}{_LAYER}"
        if document.get("os", "") not in _SYSTEMS:
            raise InvalidArchiveError(
                f"is for {document['os']!r:.40}, not linux", subject=shown(path)
            )
        member = self._members.find(layer_path)
        if member is None or member.diff_id is None:
            why = "the archive does not hold this layer" if member is None else member.fault
            raise InvalidArchiveError(why, subject=shown(layer_path))
        parent = self.found.get(document.get("parent") or "")
        below: tuple[ArchivedLayer, ...] = ()
        history: list[Any] = []
        if parent is not None:
            assert parent.config is not None
            below, history = parent.layers, list(parent.config.history)
        blob = checked_layer(layer_path, member, member.diff_id)
        layers = (*below, ArchivedLayer(member.diff_id, blob))
        try:
            config = parsed_config(path, _config(document, text, history, layers))
        except (TypeError, ValueError, AttributeError) as error:
            raise InvalidArchiveError(
                f"cannot be understood: {error}"[:200], subject=shown(path)
            ) from None
        return ArchivedImage(
            config=config,
            layers=layers,
            manifest=manifest_of(config, layers),
            parent=None if parent is None else parent.image_id,
        )


def _names(members: Members, documents: Documents) -> dict[str, tuple[Reference, ...]]:
    """The names of each image."""
    member = members.find(REPOSITORIES)
    if member is None:
        return {}
    listed = documents.json(REPOSITORIES, member, max_bytes=_MAX_REPOSITORIES_BYTES)
    wrong = InvalidArchiveError(
        "does not map names to tags, and these to IDs", subject=REPOSITORIES
    )
    if not isinstance(listed, dict):
        raise wrong
    found: dict[str, tuple[Reference, ...]] = {}
    for name, tags in listed.items():
        if not isinstance(tags, dict):
            raise wrong
        for tag, old_id in tags.items():
            if not isinstance(old_id, str):
                raise wrong
            try:
                reference = Reference.parse(f"{name}:{tag}")
            except RequestError as error:
                raise InvalidArchiveError(
                    f"a name is wrong: {error}", subject=REPOSITORIES
                ) from None
            found[old_id] = (*found.get(old_id, ()), reference)
    return found


# --- as Go writes it -----------------------------------------------------------------------------


def _config(
    document: Mapping[str, Any], text: str, history: list[Any], layers: tuple[ArchivedLayer, ...]
) -> bytes:
    """The config that Docker makes of an image's *document*, whose *text* it is."""
    known = dict(_filled(document, _IMAGE))  # which Docker reads of every document
    if _version(document.get("docker_version")) < _KEEPS_ALL:
        parts = {key: _go(value) for key, value in known.items()}
    else:
        parts = {key: _compact(raw) for key, raw in _top_level(text)}
    kept = {key: part for key, part in parts.items() if key not in _DROPPED}
    diff_ids = [str(layer.diff_id) for layer in layers]
    kept["rootfs"] = _go({"type": "layers", "diff_ids": diff_ids})
    kept["history"] = _go([*history, _step(document)])
    inside = ",".join(f"{_go(key)}:{kept[key]}" for key in sorted(kept, key=str.encode))
    return f"{{{inside}}}".encode()


def _version(text: Any) -> tuple[int, ...]:
    match = _VERSION.match(text) if isinstance(text, str) else None
    return tuple(int(part or 0) for part in match.groups()) if match else (0,)


def _step(document: Mapping[str, Any]) -> dict[str, Any]:
    command = (document.get("container_config") or {}).get("Cmd")
    said = {
        "author": document.get("author"),
        "created_by": " ".join(_texts(command) or ()),
        "comment": document.get("comment"),
    }
    return {"created": _time(document.get("created")), **{k: v for k, v in said.items() if v}}


def _filled(given: Mapping[str, Any], fields: _Fields) -> Iterator[tuple[str, Any]]:
    """The *fields* of a structure, in their order, with what was *given*."""
    for name, nothing, left_out in fields:
        value = given.get(name)
        value = nothing if value is None else value
        if value is not nothing and not _is_like(name, value, nothing):
            raise ValueError(f"{name} is {value!r:.40}")
        if left_out and not value:
            continue
        if name == "created":
            value = _time(value)
        elif name in ("config", "container_config"):
            value = dict(_filled(value, _CONTAINER))
        elif name in _COMMANDS:
            value = _texts(value)
        elif name in _MAPS and value is not None:
            value = {
                key: {} if name in _SETS else value[key] for key in sorted(value, key=str.encode)
            }
        elif name == "Healthcheck":
            order = ("Test", "Interval", "Timeout", "StartPeriod", "Retries")
            value = {key: value[key] for key in order if value.get(key)}
        yield name, value


def _is_like(name: str, value: Any, nothing: Any) -> bool:
    """Whether *value* is of the type of the field *name*, which has *nothing* otherwise."""
    if name in (*_MAPS, "Healthcheck", "config"):
        return isinstance(value, dict)
    if name in _COMMANDS and isinstance(value, str):
        return True
    if name == "StopTimeout":
        return isinstance(value, int)
    if nothing is None:
        return isinstance(value, list) and all(isinstance(one, str) for one in value)
    return isinstance(value, type(nothing))


def _texts(value: Any) -> list[str] | None:
    return [value] if isinstance(value, str) else value


def _time(value: Any) -> str:
    """A time as Go writes it again: without zeros at the end of its fraction."""
    if value is None:
        return NO_TIME
    match = _TIME.fullmatch(value)
    if match is None:
        raise ValueError(f"{value!r:.40} is no time")
    fraction = (match[2] or "").rstrip("0")
    zone = "Z" if match[3] == "+00:00" else match[3]
    return f"{match[1]}{f'.{fraction}' if fraction else ''}{zone}"


def _go(value: Any) -> str:
    return _escaped(json.dumps(value, ensure_ascii=False, separators=(",", ":")))


def _escaped(text: str) -> str:
    return "".join(_ESCAPES.get(char, char) for char in text)


def _compact(raw: str) -> str:
    """JSON without the space between its tokens, these as they were written."""
    return _escaped("".join(token for token in _TOKEN.findall(raw) if not token.isspace()))


def _top_level(text: str) -> Iterator[tuple[str, str]]:
    """The keys of an object, each with the text of its value."""
    decoder = json.JSONDecoder()
    at = text.index("{") + 1
    while (at := _skip(text, at, " \t\r\n,")) < len(text) and text[at] != "}":
        key, at = decoder.raw_decode(text, at)
        at = _skip(text, at, " \t\r\n:")
        _, end = decoder.raw_decode(text, at)
        yield key, text[at:end]
        at = end


def _skip(text: str, at: int, those: str) -> int:
    while at < len(text) and text[at] in those:
        at += 1
    return at
