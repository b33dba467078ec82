"""What can be asked for: one frozen value a kind, checked at the edge, safe to store as JSON.

A spec says what was asked, never a secret: credentials travel beside it.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from store.errors import InvalidSpecError, TransshipError
from store.oci.platform import Platform
from store.oci.reference import Reference, check_tag, parse_repository


def _reference(text: str) -> str:
    _checked(lambda: Reference.parse(text))
    return text


def _repository(text: str) -> str:
    _checked(lambda: parse_repository(text))
    return text


def _platform(text: str) -> str:
    return str(_checked(lambda: Platform.parse(text)).normalized())


def _tag(text: str) -> str:
    _checked(lambda: check_tag(text))
    return text


def _checked(parse: Any, field: str = "value") -> Any:
    """Call *parse*. A check of the whole spec names the *field* as the type of its error."""
    try:
        return parse()
    except TransshipError as wrong:
        raise PydanticCustomError(field, "{reason}", {"reason": str(wrong)}) from None


def _validated(function: Any) -> Any:
    from pydantic import AfterValidator  # noqa: PLC0415 -- keeps the aliases below readable

    return AfterValidator(function)


_ID = re.compile(r"sha256:[0-9a-f]{4,64}")  # by the grammar, a repository `sha256` with a tag

ReferenceText = Annotated[str, Field(min_length=1, max_length=1024), _validated(_reference)]
RepositoryText = Annotated[str, Field(min_length=1, max_length=1024), _validated(_repository)]
PlatformText = Annotated[str, Field(min_length=1, max_length=256), _validated(_platform)]
TagText = Annotated[str, _validated(_tag)]


class _Spec(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    lowest_priority_default: ClassVar[int] = 0

    platforms: tuple[PlatformText, ...] = Field(
        default=(), description="os/arch[/variant]; empty: see the kind", max_length=100
    )
    all_platforms: bool = False
    priority: int = Field(default=0, ge=-100, le=100)
    deadline: float | None = Field(
        default=None, gt=0, allow_inf_nan=False, description="seconds from now"
    )

    @model_validator(mode="after")
    def _one_way_to_say_platforms(self) -> _Spec:
        if self.platforms and self.all_platforms:
            raise PydanticCustomError("platforms", "give platforms or all_platforms, not both")
        return self

    def wanted_platforms(self) -> tuple[Platform, ...]:
        """The platforms to take; empty means all."""
        return tuple(Platform.parse(text) for text in self.platforms)


class PullSpec(_Spec):
    """Bring an image from a registry into the store. Without platforms: that of the API's host."""

    kind: Literal["pull"] = "pull"
    reference: ReferenceText

    @property
    def source(self) -> Reference:
        """The image, with its default tag."""
        return Reference.parse(self.reference).with_default_tag()

    @property
    def registries(self) -> tuple[str, ...]:
        """The registries it talks to."""
        return (self.source.domain,)

    @property
    def label(self) -> str:
        """How it reads in a list."""
        return str(self.source)


class PushSpec(_Spec):
    """Send an image from the store to a registry, by default under its own name."""

    kind: Literal["push"] = "push"
    reference: Annotated[str, Field(min_length=1, max_length=1024)]
    destination: ReferenceText | None = None

    @model_validator(mode="after")
    def _destination_known(self) -> PushSpec:
        if self.destination is None:
            if _ID.fullmatch(self.reference):
                raise PydanticCustomError("reference", "an ID needs a destination to go to")
            _checked(lambda: Reference.parse(self.reference), "reference")
        return self

    @property
    def target(self) -> Reference:
        """Where it goes; without a tag of its own the source's, if that has one."""
        if self.destination is None:
            return Reference.parse(self.reference).with_default_tag()
        target = Reference.parse(self.destination)
        if target.tag is None and target.digest is None:
            try:
                tag = None if _ID.fullmatch(self.reference) else Reference.parse(self.reference).tag
            except TransshipError:  # an ID without its algorithm
                tag = None
            target = target.with_tag(tag) if tag else target.with_default_tag()
        return target

    @property
    def registries(self) -> tuple[str, ...]:
        """The registries it talks to."""
        return (self.target.domain,)

    @property
    def label(self) -> str:
        """How it reads in a list."""
        if self.destination is None:
            return str(self.target)
        return f"{self.reference} -> {self.target}"


class CopySpec(_Spec):
    """Bring an image from one registry to another. Without platforms: all of them."""

    kind: Literal["copy"] = "copy"
    source: ReferenceText
    destination: ReferenceText

    @property
    def origin(self) -> Reference:
        """The image at the source, with its default tag."""
        return Reference.parse(self.source).with_default_tag()

    @property
    def target(self) -> Reference:
        """Where it goes; without tag or digest it keeps the source's."""
        target = Reference.parse(self.destination)
        if target.tag is None and target.digest is None:
            origin = self.origin
            if origin.tag is not None:
                return target.with_tag(origin.tag)
            assert origin.digest is not None
            return target.with_digest(origin.digest)
        return target

    @property
    def registries(self) -> tuple[str, ...]:
        """The registries it talks to."""
        return tuple(dict.fromkeys((self.origin.domain, self.target.domain)))

    @property
    def label(self) -> str:
        """How it reads in a list."""
        return f"{self.origin} -> {self.target}"


class MirrorSpec(_Spec):
    """Copy a whole repository, or the tags that are named, to another repository."""

    lowest_priority_default: ClassVar[int] = -10

    kind: Literal["mirror"] = "mirror"
    source: ReferenceText
    destination: RepositoryText
    tags: tuple[TagText, ...] = Field(default=(), max_length=100_000)
    priority: int = Field(default=-10, ge=-100, le=100)

    @model_validator(mode="after")
    def _one_way_to_say_tags(self) -> MirrorSpec:
        source = Reference.parse(self.source)
        if source.digest is not None:
            raise PydanticCustomError("source", "a mirror takes tags, not a digest")
        if source.tag is not None and self.tags:
            raise PydanticCustomError("tags", "the source names a tag already")
        return self

    @property
    def origin(self) -> Reference:
        """The repository at the source."""
        return Reference.parse(self.source).without_identifier()

    @property
    def target(self) -> Reference:
        """The repository at the destination."""
        return parse_repository(self.destination)

    @property
    def named_tags(self) -> tuple[str, ...]:
        """The tags that were named; empty means all that the source has."""
        tag = Reference.parse(self.source).tag
        return (tag,) if tag is not None else tuple(dict.fromkeys(self.tags))

    @property
    def registries(self) -> tuple[str, ...]:
        """The registries it talks to."""
        return tuple(dict.fromkeys((self.origin.domain, self.target.domain)))

    @property
    def label(self) -> str:
        """How it reads in a list."""
        return f"{self.origin} -> {self.target}"


Spec = Annotated[PullSpec | PushSpec | CopySpec | MirrorSpec, Field(discriminator="kind")]
KINDS = ("pull", "push", "copy", "mirror")
_NAMED_BY_CHECKS = {"reference", "platforms", "source", "tags"}
_adapter: TypeAdapter[PullSpec | PushSpec | CopySpec | MirrorSpec] = TypeAdapter(Spec)


def parse_spec(value: Mapping[str, Any]) -> PullSpec | PushSpec | CopySpec | MirrorSpec:
    """Check what was asked for.

    Raises:
        InvalidSpecError: it cannot be; each wrong field is named.
    """
    try:
        return _adapter.validate_python(dict(value))
    except ValidationError as invalid:
        errors = [
            {"field": _field(e["loc"], e["type"]), "message": str(e["msg"])}
            for e in invalid.errors(include_input=False, include_url=False, include_context=False)
        ]
        first = errors[0]
        raise InvalidSpecError(first["message"], errors=errors) from None


def fix_platforms(
    spec: PullSpec | PushSpec | CopySpec | MirrorSpec, host: Platform
) -> PullSpec | PushSpec | CopySpec | MirrorSpec:
    """Settle what "no platforms given" means: for a pull, that of *host*."""
    if isinstance(spec, PullSpec) and not spec.platforms and not spec.all_platforms:
        return spec.model_copy(update={"platforms": (str(host.normalized()),)})
    return spec


def as_json(spec: PullSpec | PushSpec | CopySpec | MirrorSpec) -> dict[str, Any]:
    """The spec as stored and shown."""
    return spec.model_dump(mode="json")


def fingerprint(spec: PullSpec | PushSpec | CopySpec | MirrorSpec) -> str:
    """What tells one request from another under the same idempotency key."""
    canonical = json.dumps(as_json(spec), sort_keys=True).encode()
    return hashlib.sha256(canonical).hexdigest()


def _field(location: tuple[int | str, ...], type_: str) -> str:
    """Where it is wrong. Checks of a whole spec have no place; they name a field as their type."""
    parts = location[1:] if location[:1] and location[0] in KINDS else location
    return ".".join(map(str, parts)) or (type_ if type_ in _NAMED_BY_CHECKS else "kind")
