"""Jobs that copy repositories: one and all its tags, or the entries of a policy."""

from __future__ import annotations

from functools import cached_property
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from transship.store.oci.reference import Reference, parse_repository
from transship.workers.mirrors.entries import MAX_ENTRIES
from transship.workers.mirrors.plan import How
from transship.workers.mirrors.selection import Selection
from transship.workers.specs.fields import (
    ON_REWRITE,
    OVERWRITE,
    REFERRERS,
    OnRewrite,
    Overwrite,
    PlatformsSpec,
    PlatformText,
    ReferenceText,
    ReferrersChoice,
    RepositoryText,
    TagOrDigestText,
    TagText,
    checked,
)

MAX_TAGS = 100_000
INSTEAD = "instead of what the job says"


class MirrorEntry(BaseModel):
    """A repository, or one image where the source names its tag or digest.

    Of a repository all tags are copied, or those that are named, or that the rules select. An
    image may get another tag where it goes.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: ReferenceText
    destination: ReferenceText
    tags: tuple[TagOrDigestText, ...] = Field(default=(), max_length=MAX_TAGS)
    select: Selection | None = None
    platforms: tuple[PlatformText, ...] = Field(
        default=(), max_length=100, description="instead of those of the job"
    )
    referrers: ReferrersChoice | None = Field(default=None, description=INSTEAD)
    on_rewrite: OnRewrite | None = Field(default=None, description=INSTEAD)
    overwrite: Overwrite | None = Field(default=None, description=INSTEAD)
    require: int = Field(
        default=0, ge=0, le=MAX_TAGS, description="fewer tags than these are a failure"
    )

    @model_validator(mode="after")
    def _says_one_thing(self) -> MirrorEntry:
        if self.tags and self.select is not None:
            raise PydanticCustomError("select", "an entry has tags or select, not both")
        if self.one_image:
            for field in ("tags", "select", "require"):
                if getattr(self, field):
                    raise PydanticCustomError(field, "the source names an image already")
        else:
            checked(lambda: parse_repository(self.destination), "destination")
        return self

    @property
    def origin(self) -> Reference:
        """What is taken: a repository, or an image."""
        return Reference.parse(self.source)

    @property
    def target(self) -> Reference:
        """Where it goes."""
        return Reference.parse(self.destination)

    @property
    def one_image(self) -> bool:
        """Whether it is a single image."""
        return self.origin.tag is not None or self.origin.digest is not None

    @property
    def listed(self) -> bool:
        """Whether the registry has to be asked which tags there are."""
        return not self.one_image and not self.tags


class MirrorSpec(PlatformsSpec):
    """Copy repositories: *source* to *destination*, or what the *entries* of a policy say.

    With *dry_run* nothing is copied; the job compares, and its result is the plan.
    """

    kind: Literal["mirror"] = "mirror"
    source: ReferenceText | None = None
    destination: RepositoryText | None = None
    tags: tuple[TagText, ...] = Field(default=(), max_length=MAX_TAGS)
    entries: tuple[MirrorEntry, ...] = Field(default=(), max_length=MAX_ENTRIES)
    dry_run: bool = False
    verify: Literal["head", "read"] | None = Field(
        default=None,
        description="afterwards ask the destination for all of every image, or read it",
    )
    verify_only: bool = Field(default=False, description="copy nothing, and verify what is there")
    repair: bool = Field(default=False, description="copy again what is found to be damaged")
    referrers: ReferrersChoice = Field(default="all", description=REFERRERS)
    on_rewrite: OnRewrite = Field(default="warn", description=ON_REWRITE)
    overwrite: Overwrite = Field(default="always", description=OVERWRITE)
    priority: int = Field(default=-10, ge=-100, le=100)

    @model_validator(mode="after")
    def _one_thing_to_do(self) -> MirrorSpec:
        if self.verify_only and (self.verify is None or self.dry_run):
            raise PydanticCustomError("verify_only", "goes with verify, and not with dry_run")
        if self.repair and not self.verify_only:
            raise PydanticCustomError("repair", "goes with verify_only")
        return self

    @model_validator(mode="after")
    def _one_way_to_say_what(self) -> MirrorSpec:
        if self.entries:
            for name in ("source", "destination", "tags"):
                if getattr(self, name):
                    raise PydanticCustomError("entries", f"give entries or {name}, not both")
            return self
        for name in ("source", "destination"):
            if getattr(self, name) is None:
                raise PydanticCustomError(name, "this is missing")
        source = self.origin
        if source.digest is not None:
            raise PydanticCustomError("source", "a mirror takes tags, not a digest")
        if source.tag is not None and self.tags:
            raise PydanticCustomError("tags", "the source names a tag already")
        return self

    @property
    def origin(self) -> Reference:
        """What was named as the source."""
        return Reference.parse(self.source or "")

    @cached_property
    def wanted(self) -> tuple[MirrorEntry, ...]:
        """The entries, of which the short form is one."""
        if self.entries:
            return self.entries
        tag = self.origin.tag
        return (
            MirrorEntry(
                source=str(self.origin.without_identifier()),
                destination=self.destination or "",
                tags=(tag,) if tag is not None else tuple(dict.fromkeys(self.tags)),
            ),
        )

    def how(self, entry: MirrorEntry) -> How:
        """How the images of an entry are copied."""
        return How(
            platforms=entry.platforms or self.platforms,
            referrers=self.referrers if entry.referrers is None else entry.referrers,
            on_rewrite=entry.on_rewrite or self.on_rewrite,
            overwrite=entry.overwrite or self.overwrite,
        )

    @property
    def usual(self) -> How:
        """How those are copied of whose entries nothing else is said; but for platforms."""
        return How(referrers=self.referrers, on_rewrite=self.on_rewrite, overwrite=self.overwrite)

    @property
    def asks(self) -> tuple[Reference, ...]:
        """The source, where there is one; what is copied is for the children to ask.

        One of several sources that is closed must not keep the others: they are asked apart.
        """
        if len({one.origin.domain for one in self.wanted}) > 1:
            return ()
        first = self.wanted[0]
        return (first.origin, first.target) if self.dry_run else (first.origin,)

    @property
    def written(self) -> tuple[str, ...]:
        """Of the registries those to which it sends something."""
        return tuple(dict.fromkeys(one.target.domain for one in self.wanted))

    @property
    def registries(self) -> tuple[str, ...]:
        """The registries it talks to, its children's too."""
        wanted = self.wanted
        names = [one.origin.domain for one in wanted] + [one.target.domain for one in wanted]
        return tuple(dict.fromkeys(names))

    @property
    def label(self) -> str:
        """How it reads in a list."""
        first, *more = self.wanted
        what = f"{first.origin} -> {first.target}"
        what = f"{what} and {len(more)} more" if more else what
        return f"{what} (dry run)" if self.dry_run else what
