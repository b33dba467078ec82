"""What specs are made of: checked texts, and what holds for every kind."""

from __future__ import annotations

import re
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from transship.store.errors import TransshipError
from transship.store.oci.digest import Digest
from transship.store.oci.mediatypes import check_artifact_type
from transship.store.oci.platform import Platform
from transship.store.oci.reference import Reference, check_tag, parse_repository


def _reference(text: str) -> str:
    checked(lambda: Reference.parse(text))
    return text


def _repository(text: str) -> str:
    checked(lambda: parse_repository(text))
    return text


def _platform(text: str) -> str:
    return str(checked(lambda: Platform.parse(text)).normalized())


def _tag(text: str) -> str:
    checked(lambda: check_tag(text))
    return text


def _tag_or_digest(text: str) -> str:
    checked(lambda: Digest.parse(text) if ":" in text else check_tag(text))
    return text


def _artifact_type(text: str) -> str:
    return str(checked(lambda: check_artifact_type(text)))


def checked(parse: Any, field: str = "value") -> Any:
    """Call *parse*. A check of the whole spec names the *field* as the type of its error."""
    try:
        return parse()
    except TransshipError as wrong:
        raise PydanticCustomError(field, "{reason}", {"reason": str(wrong)}) from None


MAX_DEADLINE_SECONDS = 10 * 365 * 86400.0

ID = re.compile(r"sha256:[0-9a-f]{4,64}")  # by the grammar, a repository `sha256` with a tag

ReferenceText = Annotated[str, Field(min_length=1, max_length=1024), AfterValidator(_reference)]
RepositoryText = Annotated[str, Field(min_length=1, max_length=1024), AfterValidator(_repository)]
PlatformText = Annotated[str, Field(min_length=1, max_length=256), AfterValidator(_platform)]
TagText = Annotated[str, AfterValidator(_tag)]
TagOrDigestText = Annotated[str, AfterValidator(_tag_or_digest)]


ArtifactTypeText = Annotated[str, AfterValidator(_artifact_type)]
# What is about an image and comes along with it: all, nothing, or what has one of these types.
ReferrersChoice = (
    Literal["all", "none"]
    | Annotated[tuple[ArtifactTypeText, ...], Field(min_length=1, max_length=100)]
)
OnRewrite = Literal["warn", "fail"]
REFERRERS = (
    "what is about the image and comes along: signatures, SBOMs, attestations; "
    "`all`, `none`, or artifact types"
)
Overwrite = Literal["always", "never"]
OVERWRITE = "`never`: what the destination's tag stands for stays"
ON_REWRITE = "where only some platforms are copied, and something is about the whole index"


class JobSpec(BaseModel):
    """What holds for every kind of job."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    # What the kind is; queues, tasks, grants and quotas follow from it.
    queue: ClassVar[str] = "control"  # whose threads advance it
    exclusive: ClassVar[bool] = False  # whether there can be one active job of the kind
    admin_only: ClassVar[bool] = False  # whether it acts on everybody's content
    needs_body: ClassVar[bool] = False  # whether it cannot be asked for without one
    writes_store: ClassVar[bool] = False  # whether its tenant has more in the store afterwards
    leaves_drafts: ClassVar[bool] = False  # whether a crash leaves drafts behind
    batched: ClassVar[bool] = False  # whether its jobs are advanced together where several are due

    priority: int = Field(default=0, ge=-100, le=100)
    deadline: float | None = Field(
        default=None, gt=0, le=MAX_DEADLINE_SECONDS, description="seconds from now"
    )

    @property
    def registries(self) -> tuple[str, ...]:
        """The registries it talks to, its children's too."""
        return tuple(dict.fromkeys(one.domain for one in self.asks))

    @property
    def asks(self) -> tuple[Reference, ...]:
        """The repositories in registries that it asks itself; it runs while the first two may be.

        At most one of each registry, unless a registry is both where it comes from and goes to.
        """
        return ()

    @property
    def written(self) -> tuple[str, ...]:
        """Of the registries those to which it sends something."""
        return ()

    @property
    def body(self) -> str | None:
        """Where the body is sent that it needs; None where it needs none."""
        return None

    @property
    def secret_url(self) -> str | None:
        """A URL that may open what it leads to, as a signed one does; None: it has none."""
        return None

    def without_secret(self) -> Self:
        """The same as it may be shown, and is kept."""
        return self


class PlatformsSpec(JobSpec):
    """What holds for kinds that take some platforms of an image."""

    platforms: tuple[PlatformText, ...] = Field(
        default=(), description="os/arch[/variant]; empty: see the kind", max_length=100
    )
    all_platforms: bool = False

    @model_validator(mode="after")
    def _one_way_to_say_platforms(self) -> PlatformsSpec:
        if self.platforms and self.all_platforms:
            raise PydanticCustomError("platforms", "give platforms or all_platforms, not both")
        return self

    def wanted_platforms(self) -> tuple[Platform, ...]:
        """The platforms to take; empty means all."""
        return tuple(Platform.parse(text) for text in self.platforms)
