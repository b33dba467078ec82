"""An entry of a policy: what is copied from where, whatever the format that it was read from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from transship.store.oci.digest import Digest
from transship.store.oci.mediatypes import check_artifact_type
from transship.store.oci.platform import Platform
from transship.store.oci.reference import Reference, check_tag, parse_repository
from transship.store.wording import told
from transship.workers.mirrors.fields import Field
from transship.workers.mirrors.selection import Selection

MAX_ENTRIES = 10_000
ALL, NONE = "all", "none"  # of what is about an image


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyEntry:
    """A repository, or an image where *source* names a tag or digest.

    Args:
        source: Where it comes from, in full.
        destination: Where it goes; None leaves it to the policy or the command.
        tags: These tags and digests of the repository; none means all, or what *select* says.
        select: Rules for tags.
        platforms: Only these; none means all.
        referrers: What comes along of what is about the images: `all`, `none`, artifact types.
        on_rewrite: `warn` or `fail`, where that does not fit some platforms.
        overwrite: `always` or `never`. None of these three: by default.
        require: Fewer tags than these are a failure.
        place: The key of the file at which it stands.
    """

    source: Reference
    destination: str | None = None
    tags: tuple[str, ...] = ()
    select: Selection | None = None
    platforms: tuple[str, ...] = ()
    referrers: str | tuple[str, ...] | None = None
    on_rewrite: str | None = None
    overwrite: str | None = None
    require: int = 0
    place: str = field(default="", compare=False)

    def as_json(self) -> dict[str, Any]:
        """The entry as a job's spec has it; without what it leaves open."""
        found: dict[str, Any] = {"source": str(self.source)}
        if self.destination is not None:
            found["destination"] = self.destination
        if self.tags:
            found["tags"] = list(self.tags)
        if self.select is not None:
            found["select"] = self.select.model_dump(mode="json", exclude_defaults=True)
        if self.platforms:
            found["platforms"] = list(self.platforms)
        if self.referrers is not None:
            types = self.referrers
            found["referrers"] = types if isinstance(types, str) else list(types)
        if self.on_rewrite is not None:
            found["on_rewrite"] = self.on_rewrite
        if self.overwrite is not None:
            found["overwrite"] = self.overwrite
        if self.require:
            found["require"] = self.require
        return found


def source_in(at: Field) -> Reference:
    """Read a repository or an image."""
    found: Reference = at.checked(Reference.parse)
    return found


def destination_in(at: Field, source: Reference) -> str:
    """Read where *source* goes: a repository, or for a single image a tag of it too."""
    single = source.tag is not None or source.digest is not None
    found: Reference = at.checked(Reference.parse if single else parse_repository)
    return str(found)


def tags_in(at: Field) -> tuple[str, ...]:
    """Read tags and digests; each is kept once. What none stands for is the format's matter."""
    fields = [at] if isinstance(at.value, str) else at.items()
    found = [field.checked(check_tag if ":" not in field.text() else _digest) for field in fields]
    return tuple(dict.fromkeys(found))


def platforms_in(at: Field) -> tuple[str, ...]:
    """Read platforms, by the names that manifests use."""
    fields = [at] if isinstance(at.value, str) else at.items()
    return tuple(field.checked(lambda t: str(Platform.parse(t).normalized())) for field in fields)


def referrers_in(at: Field) -> str | tuple[str, ...]:
    """Read `all`, `none`, or artifact types."""
    if at.value in (ALL, NONE):
        return at.text()
    if isinstance(at.value, str):
        raise at.wrong("neither all, none, nor a list of artifact types")
    if not at.items():
        raise at.wrong("names no artifact type", hint="none stands for no referrers")
    return tuple(item.checked(check_artifact_type) for item in at.items())


def one_of(at: Field, first: str, second: str) -> str:
    """Read one of two words."""
    if at.value not in (first, second):
        raise at.wrong(f"neither {first} nor {second}")
    return at.text()


def selection(at: Field, names: dict[str, str] | None = None, **rules: Any) -> Selection | None:
    """Make a selection of what was read at a key; None where the rules select everything.

    *names* has the key in the file of a rule that is called otherwise there.
    """
    try:
        made = Selection(**rules)
    except ValidationError as invalid:
        first = invalid.errors(include_url=False, include_input=False)[0]
        rule, *rest = map(str, first["loc"])
        key = (names or {}).get(rule, rule)
        path = (*at.path, key, *rest) if key else at.path  # '' where the rule is the value itself
        raise Field(at.name, path, None).wrong(told(first)) from None
    return None if made == Selection() else made


def _digest(text: str) -> str:
    return str(Digest.parse(text))
