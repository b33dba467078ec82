"""Transship's own format, read and written.

defaults:
  destination: registry.example.com/mirror
  platforms: [linux/amd64, linux/arm64]
entries:
  - source: docker.io/library/alpine
    select: {semver: ">=3.18", newest: 3}
  - source: quay.io/prometheus/prometheus
    destination: registry.example.com/prom/prometheus
    tags: [v2.53.0, v3.0.0]
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import yaml  # type: ignore[import-untyped]

from transship.workers.mirrors.entries import (
    PolicyEntry,
    destination_in,
    one_of,
    platforms_in,
    referrers_in,
    selection,
    source_in,
    tags_in,
)
from transship.workers.mirrors.fields import Field
from transship.workers.mirrors.selection import Selection

ENTRIES, DEFAULTS = "entries", "defaults"
REFERRERS, ON_REWRITE, OVERWRITE = "referrers", "onRewrite", "overwrite"
_BY_DEFAULT = (
    "platforms",
    REFERRERS,
    ON_REWRITE,
    OVERWRITE,
)  # what entries say, or `defaults` for all
# What narrows an entry, and what it consists of: left empty it would stand for all tags.
_NARROWING = {"tags": "tag", "select": "rule", "semver": "range", "allow": "pattern"}


def read(document: Field) -> tuple[list[PolicyEntry], str | None, bool, str | None]:
    """The entries; for those without a destination below what, and whether scoped; `verify`."""
    keys = document.known(ENTRIES, DEFAULTS)
    names = ("destination", "scoped", "verify", *_BY_DEFAULT)
    defaults = keys[DEFAULTS].known(*names) if DEFAULTS in keys else {}
    usual = {key: defaults[key] for key in _BY_DEFAULT if key in defaults}
    items = keys[ENTRIES].items() if ENTRIES in keys else []
    return (
        [_entry(item, usual) for item in items],
        defaults["destination"].text() if "destination" in defaults else None,
        defaults["scoped"].flag() if "scoped" in defaults else False,
        one_of(defaults["verify"], "head", "read") if "verify" in defaults else None,
    )


def write(
    entries: Sequence[PolicyEntry],
    *,
    destination: str | None,
    scoped: bool,
    verify: str | None = None,
) -> str:
    """A file from which `read` has the same again."""
    document: dict[str, Any] = {}
    if destination is not None or scoped or verify is not None:
        document[DEFAULTS] = {
            **({"destination": destination} if destination is not None else {}),
            **({"scoped": True} if scoped else {}),
            **({"verify": verify} if verify is not None else {}),
        }
    document[ENTRIES] = [_written(entry) for entry in entries]
    text: str = yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=100)
    return text


def _written(entry: PolicyEntry) -> dict[str, Any]:
    found = entry.as_json()
    if "on_rewrite" in found:
        found[ON_REWRITE] = found.pop("on_rewrite")
    return found


def _entry(item: Field, usual: Mapping[str, Field]) -> PolicyEntry:
    keys = {
        **usual,
        **_known(item, "source", "destination", "tags", "select", "require", *_BY_DEFAULT),
    }
    if "source" not in keys:
        raise item.wrong("names no source", hint="as in `source: docker.io/library/alpine`")
    source = source_in(keys["source"])
    for key in ("tags", "select", "require"):
        if key in keys and (source.tag is not None or source.digest is not None):
            raise keys[key].wrong("the source names an image already")
    if "tags" in keys and "select" in keys:
        raise keys["select"].wrong("an entry has tags or select, not both", hint="make it two")
    return PolicyEntry(
        source=source,
        destination=destination_in(keys["destination"], source) if "destination" in keys else None,
        tags=tags_in(keys["tags"]) if "tags" in keys else (),
        select=_select(keys["select"]) if "select" in keys else None,
        platforms=platforms_in(keys["platforms"]) if "platforms" in keys else (),
        referrers=referrers_in(keys[REFERRERS]) if REFERRERS in keys else None,
        on_rewrite=one_of(keys[ON_REWRITE], "warn", "fail") if ON_REWRITE in keys else None,
        overwrite=one_of(keys[OVERWRITE], "always", "never") if OVERWRITE in keys else None,
        require=keys["require"].number() if "require" in keys else 0,
        place=item.place,
    )


def _select(at: Field) -> Selection | None:
    keys = _known(at, *Selection.model_fields)
    rules: dict[str, Any] = {
        name: field.texts() for name, field in keys.items() if name != "newest"
    }
    if "newest" in keys:
        rules["newest"] = keys["newest"].number()
    return selection(at, **rules)


def _known(at: Field, *names: str) -> dict[str, Field]:
    """The keys with a value. One that narrows must have some: its items may be commented out."""
    found = at.known(*names)
    for key, field in at.keys().items():
        if key in _NARROWING and field.value in (None, [], {}):
            what = _NARROWING[key]
            raise field.wrong(f"names no {what}", hint="leave the key out to take all tags")
    return found
