"""YAML from strangers: bounded, no key twice, and every scalar as the text that was written.

`3.20` is a tag, not a number, and `on` is none of the truth values: only `true`, `false` and
`null`, unquoted, are read as such, as Go's programs do where they want text. Aliases and merge keys
(`<<`) may be used, as far as the document stays small with all of them written out.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import yaml  # type: ignore[import-untyped]

from transship.store.errors import InvalidPolicyError

MAX_BYTES = 1024 * 1024
DEEPEST = 20
MAX_NODES = 200_000  # with every alias written out
MAX_ALIASES = 1000

_PREFIX = "tag:yaml.org,2002:"
_TEXTS = {_PREFIX + name for name in ("str", "int", "float", "timestamp", "value")}
_TRUTH = {"true": True, "false": False}
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")

Value = Any  # dict[str, Value] | list[Value] | str | bool | None


def read(raw: bytes, name: str) -> Value:
    """Parse one document, called *name* in errors. Nothing is constructed but plain values.

    Raises:
        InvalidPolicyError: too long, too deep or too large, not UTF-8, not YAML, a key twice, or
            a tag (`!!python/object`) that asks for more than plain values.
    """
    if len(raw) > MAX_BYTES:
        raise InvalidPolicyError(f"longer than {MAX_BYTES} bytes", subject=name)
    try:
        text = raw.decode("utf-8-sig")
        loader = _Loader(text)
        try:
            root = loader.get_single_node()
        finally:
            loader.dispose()
    except _TooMuchError as too_much:
        raise InvalidPolicyError(str(too_much), subject=name) from None
    except UnicodeDecodeError:
        raise InvalidPolicyError("not UTF-8", subject=name) from None
    except yaml.YAMLError as wrong:
        raise InvalidPolicyError(_told(wrong), subject=name) from None
    if root is None:
        raise InvalidPolicyError("it is empty", subject=name)
    return _Plain(name).of(root, ())


class _TooMuchError(Exception):
    """The document is larger than it may be."""


class _Loader(yaml.SafeLoader):  # type: ignore[misc]
    """Composes nodes under watch; it constructs nothing."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = self._nodes = self._aliases = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.events.AliasEvent):
            self._aliases += 1
            if self._aliases > MAX_ALIASES:
                raise _TooMuchError(f"more than {MAX_ALIASES} aliases")
            if self.peek_event().anchor not in self.anchors:  # PyYAML's text would quote it
                raise yaml.MarkedYAMLError(
                    problem="an alias of nothing", problem_mark=self.peek_event().start_mark
                )
        self._nodes += 1
        self._depth += 1
        if self._depth > DEEPEST:
            raise _TooMuchError(f"nested deeper than {DEEPEST}")
        if self._nodes > MAX_NODES:
            raise _TooMuchError(f"more than {MAX_NODES} values")
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node


@dataclass(slots=True)
class _Plain:
    """Makes plain values of nodes. Aliases are walked again each time, and so are counted."""

    name: str
    nodes: int = 0

    def of(self, node: Any, path: tuple[str, ...]) -> Value:
        self.nodes += 1
        if self.nodes > MAX_NODES or len(path) > DEEPEST:  # an alias of what is around it
            raise InvalidPolicyError("too large with its aliases", subject=self.name)
        if isinstance(node, yaml.MappingNode) and node.tag == f"{_PREFIX}map":
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode) and node.tag == f"{_PREFIX}seq":
            return [self.of(item, (*path, str(n))) for n, item in enumerate(node.value)]
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, path)
        raise self._wrong(path, "only plain values may be used", node)

    def _scalar(self, node: Any, path: tuple[str, ...]) -> str | bool | None:
        if node.tag == f"{_PREFIX}null":
            return None
        if node.tag == f"{_PREFIX}bool":
            text = str(node.value)
            return _TRUTH.get(text.lower(), text)
        if node.tag in _TEXTS:
            return str(node.value)
        raise self._wrong(path, "only plain values may be used", node)

    def _mapping(self, node: Any, path: tuple[str, ...]) -> dict[str, Value]:
        own: dict[str, Value] = {}
        merged: dict[str, Value] = {}
        for key_node, value_node in node.value:
            if key_node.tag == f"{_PREFIX}merge":
                for inherited in self._inherited(value_node, path):
                    merged = {**inherited, **merged}
                continue
            if not isinstance(key_node, yaml.ScalarNode) or not key_node.value:
                raise self._wrong(path, "a key is not text", key_node)
            key = str(key_node.value)
            if key in own:
                raise self._wrong((*path, key), "the key is there twice", key_node)
            own[key] = self.of(value_node, (*path, key))
        return {**merged, **own}

    def _inherited(self, node: Any, path: tuple[str, ...]) -> list[dict[str, Value]]:
        nodes = node.value if isinstance(node, yaml.SequenceNode) else [node]
        values = [self.of(one, (*path, "<<")) for one in nodes]
        if not all(isinstance(value, dict) for value in values):
            raise self._wrong((*path, "<<"), "only mappings can be merged", node)
        return values

    def _wrong(self, path: tuple[str, ...], detail: str, node: Any) -> InvalidPolicyError:
        subject = f"{self.name}: {'.'.join(path)}" if path else self.name
        return InvalidPolicyError(f"{detail} (line {node.start_mark.line + 1})", subject=subject)


def _told(wrong: yaml.YAMLError) -> str:
    """What is wrong and where. The line itself is not shown: there may be a password in it."""
    mark = getattr(wrong, "problem_mark", None)
    where = f", line {mark.line + 1}, column {mark.column + 1}" if mark is not None else ""
    problem = getattr(wrong, "problem", None) or getattr(wrong, "reason", None) or "cannot be read"
    return f"not YAML{where}: {_QUOTED.sub('…', str(problem))}"
