"""The YAML of regsync: entries of type image or repository.

What says which images go where is honoured. What says how, when, or with what besides is passed
over with a warning, as `x-` extensions are without; any other key is refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from transship.store.oci.mediatypes import check_artifact_type
from transship.workers.mirrors.entries import (
    ALL,
    NONE,
    PolicyEntry,
    destination_in,
    platforms_in,
    selection,
    source_in,
)
from transship.workers.mirrors.fields import Field
from transship.workers.mirrors.selection import Selection

SYNC = "sync"
_REASONS = {
    "creds": "log in with `docker login`, or let the server have them with "
    "`transship credentials add`",
    "parallel": "see `transship limits`",
    "ratelimit": "what registries say of their limits is kept to anyway",
    "interval": "this is one run",
    "schedule": "this is one run",
    "backup": "the image that was there before gets no other tag",
    "hooks": "nothing is called",
    "mediaTypes": "images of all types are copied",
    "includeExternal": "layers with addresses of their own stay where they are",
    "forceRecursive": "", "fastCheck": "", "cacheCount": "", "cacheTime": "", "blobLimit": "",
    "skipDockerConfig": "", "userAgent": "", "referrerSource": "",
    "referrerTarget": "", "referrerSlow": "", "abortOnError": "", "digestTagsAge": "",
}  # fmt: skip
# What is about an image comes along where one of these says so.
_ATTACHED = ("referrers", "digestTags", "referrerFilters")
_ENTRY = (
    "source",
    "target",
    "type",
    "tags",
    "tagSets",
    "repos",
    "platform",
    "platforms",
    *_ATTACHED,
)
_TAGS = {"allow": "allow", "deny": "deny", "semver": "semverRange"}
_RULES = {key: rule for rule, key in _TAGS.items()}


def read(document: Field, warnings: list[str]) -> list[PolicyEntry]:
    """The entries, each with its destination."""
    keys = _known(document, ("version", "defaults", SYNC, "creds"), warnings)
    if "version" in keys and keys["version"].number() != 1:
        raise keys["version"].wrong("only version 1 is known here")
    usual = _known(keys["defaults"], _ATTACHED, warnings) if "defaults" in keys else {}
    items = keys[SYNC].items() if SYNC in keys else []
    return [entry for item in items for entry in _entries(item, usual, warnings)]


def _entries(item: Field, usual: Mapping[str, Field], warnings: list[str]) -> Iterator[PolicyEntry]:
    keys = {**usual, **_known(item, _ENTRY, warnings)}
    for key in ("source", "target", "type"):
        if key not in keys:
            raise item.wrong(f"has no {key}")
    kind = keys["type"].text()
    if kind == "registry":
        raise keys["type"].wrong(
            "whole registries are not mirrored",
            hint="make an entry of type repository for each repository",
        )
    if kind not in {"image", "repository"}:
        raise keys["type"].wrong("neither image nor repository")
    if "repos" in keys:
        raise keys["repos"].wrong("is for type registry only")
    for key in ("source", "target"):
        if "{{" in keys[key].text():
            raise keys[key].wrong("templates are not known here", hint="write it out")
    source = source_in(keys["source"])
    if kind == "image":
        source = source.with_default_tag()
        if wrong := keys.get("tags") or keys.get("tagSets"):
            raise wrong.wrong("is for type repository only")
    elif source.tag is not None or source.digest is not None:
        raise keys["source"].wrong("a repository has no tag or digest", hint="use type image")
    destination, platforms = destination_in(keys["target"], source), _platforms(keys)
    sets = [keys["tags"]] if "tags" in keys else []
    sets += keys["tagSets"].items() if "tagSets" in keys else []
    for chosen in [_selection(at) for at in sets] or [None]:
        yield PolicyEntry(
            source=source,
            destination=destination,
            platforms=platforms,
            referrers=_referrers(keys, warnings),
            select=chosen,
            place=item.place,
        )


def _referrers(keys: Mapping[str, Field], warnings: list[str]) -> str | tuple[str, ...]:
    """What comes along: as in regsync nothing, unless it is said."""
    if not any(keys[key].flag() for key in _ATTACHED[:2] if key in keys):
        return NONE
    types = []
    for item in keys["referrerFilters"].items() if "referrerFilters" in keys else []:
        rule = item.known("artifactType", "annotations")
        if "artifactType" not in rule:
            return ALL
        if "annotations" in rule:
            warnings.append(f"{rule['annotations'].place}: not used: types alone are told apart")
        types.append(rule["artifactType"].checked(check_artifact_type))
    return tuple(dict.fromkeys(types)) or ALL


def _platforms(keys: dict[str, Field]) -> tuple[str, ...]:
    if "platform" in keys and "platforms" in keys:
        raise keys["platform"].wrong("an entry has platform or platforms, not both")
    at = keys.get("platform") or keys.get("platforms")
    return platforms_in(at) if at is not None else ()


def _selection(at: Field) -> Selection | None:
    rules: dict[str, Any] = {}
    for key, field in at.known(*_TAGS.values()).items():
        texts = field.texts()
        # regsync's expressions are for the whole tag.
        whole = texts if key == "semverRange" else [f"/^(?:{text})$/" for text in texts]
        rules[_RULES[key]] = tuple(whole)
    return selection(at, _TAGS, **rules)


def _known(at: Field, names: tuple[str, ...], warnings: list[str]) -> dict[str, Field]:
    """The keys of a mapping that are honoured; a warning for each other one that regsync has."""
    found: dict[str, Field] = {}
    for key, field in at.keys().items():
        if key.startswith("x-") or field.value is None:
            continue
        if key in _REASONS:
            if field.value is not False:
                reason = f": {_REASONS[key]}" if _REASONS[key] else ""
                warnings.append(f"{field.place}: not used{reason}")
        elif key in names:
            found[key] = field
        else:
            raise field.wrong("this key is not known here", hint=f"one of {', '.join(names)}")
    return found
