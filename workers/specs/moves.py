"""Jobs that move images between registries and the store."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from transship.store.errors import TransshipError
from transship.store.oci.reference import Reference, parse_repository
from transship.workers.specs.fields import (
    ID,
    ON_REWRITE,
    OVERWRITE,
    REFERRERS,
    OnRewrite,
    Overwrite,
    PlatformsSpec,
    ReferenceText,
    ReferrersChoice,
    checked,
)

SCRATCH = "scratch"  # what images begin from; no registry has it

ALL_TAGS = "all the tags of the repository, which is then named without one"


class PullSpec(PlatformsSpec):
    """Pull an image from a registry into the store. Without platforms: that of the API's host."""

    writes_store: ClassVar[bool] = True
    batched: ClassVar[bool] = True

    kind: Literal["pull"] = "pull"
    reference: ReferenceText
    all_tags: bool = Field(default=False, description=ALL_TAGS)

    @model_validator(mode="after")
    def _can_be_pulled(self) -> PullSpec:
        if Reference.parse(self.reference).without_identifier().familiar == SCRATCH:
            raise PydanticCustomError("reference", "'scratch' is a reserved name")
        if self.all_tags:
            checked(lambda: parse_repository(self.reference), "reference")
        return self

    @property
    def repository(self) -> Reference:
        """The repository that it comes from."""
        return Reference.parse(self.reference).without_identifier()

    @property
    def source(self) -> Reference:
        """The image, with its default tag."""
        return Reference.parse(self.reference).with_default_tag()

    @property
    def asks(self) -> tuple[Reference, ...]:
        """Where it comes from."""
        return (self.source,)

    @property
    def label(self) -> str:
        """How it reads in a list."""
        return f"{self.repository} (all tags)" if self.all_tags else str(self.source)


class PushSpec(PlatformsSpec):
    """Push an image from the store to a registry, by default under its own name."""

    batched: ClassVar[bool] = True

    kind: Literal["push"] = "push"
    reference: Annotated[str, Field(min_length=1, max_length=1024)]
    destination: ReferenceText | None = None
    all_tags: bool = Field(default=False, description=ALL_TAGS)
    compress: Literal["gzip", "zstd"] = Field(
        default="gzip", description="of layers that were loaded uncompressed"
    )

    @model_validator(mode="after")
    def _destination_known(self) -> PushSpec:
        if self.all_tags:
            checked(lambda: parse_repository(self.reference), "reference")
            checked(lambda: parse_repository(self.destination or self.reference), "destination")
        elif self.destination is None:
            if ID.fullmatch(self.reference):
                raise PydanticCustomError("reference", "an ID needs a destination to go to")
            reference: Reference = checked(lambda: Reference.parse(self.reference), "reference")
            if reference.digest is not None:
                raise PydanticCustomError("reference", "a digest needs a destination to go to")
        return self

    @property
    def target(self) -> Reference:
        """Where it goes; without a tag of its own the source's, if that has one."""
        if self.destination is None:
            return Reference.parse(self.reference).with_default_tag()
        target = Reference.parse(self.destination)
        if target.tag is None and target.digest is None:
            try:
                tag = None if ID.fullmatch(self.reference) else Reference.parse(self.reference).tag
            except TransshipError:  # an ID without its algorithm
                tag = None
            target = target.with_tag(tag) if tag else target.with_default_tag()
        return target

    @property
    def repository(self) -> Reference:
        """The repository that it goes to."""
        return self.target.without_identifier()

    @property
    def written(self) -> tuple[str, ...]:
        """Of the registries those to which it sends something."""
        return (self.target.domain,)

    @property
    def asks(self) -> tuple[Reference, ...]:
        """Where it goes."""
        return (self.target,)

    @property
    def label(self) -> str:
        """How it reads in a list."""
        target = f"{self.repository} (all tags)" if self.all_tags else str(self.target)
        return target if self.destination is None else f"{self.reference} -> {target}"


class CopySpec(PlatformsSpec):
    """Bring an image from one registry to another. Without platforms: all of them."""

    batched: ClassVar[bool] = True

    kind: Literal["copy"] = "copy"
    source: ReferenceText
    destination: ReferenceText
    referrers: ReferrersChoice = Field(default="none", description=REFERRERS)
    on_rewrite: OnRewrite = Field(default="warn", description=ON_REWRITE)
    overwrite: Overwrite = Field(default="always", description=OVERWRITE)
    force: bool = Field(
        default=False, description="look for all of the image, although the tag is equal"
    )

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
    def written(self) -> tuple[str, ...]:
        """Of the registries those to which it sends something."""
        return (self.target.domain,)

    @property
    def asks(self) -> tuple[Reference, ...]:
        """Where it comes from, and where it goes."""
        return (self.origin, self.target)

    @property
    def label(self) -> str:
        """How it reads in a list."""
        return f"{self.origin} -> {self.target}"
