"""Jobs that make workspaces of images, and images of workspaces."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from transship.store.errors import InvalidReferenceError, InvalidSpecError
from transship.store.images.build.container_config import check
from transship.store.oci.reference import Reference, parse_target
from transship.workers.specs.archives import ChangeTexts, Epoch, TargetText
from transship.workers.specs.fields import ID, JobSpec, PlatformText
from transship.workers.specs.moves import PullSpec

WORKSPACE_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$"


def _container_config(field: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    def checked(config: dict[str, Any]) -> dict[str, Any]:
        try:
            check(config, field)
        except InvalidSpecError as wrong:
            raise PydanticCustomError("config", "{reason}", {"reason": wrong.detail}) from None
        return config

    return checked


WorkspaceName = Annotated[str, Field(pattern=WORKSPACE_PATTERN)]


class WorkspaceSpec(JobSpec):
    """Make a workspace over an image, which is pulled as *pull* says."""

    writes_store: ClassVar[bool] = True

    kind: Literal["workspace"] = "workspace"
    workspace: WorkspaceName
    reference: Annotated[str, Field(min_length=1, max_length=1024, description="the image below")]
    pull: Literal["missing", "always", "never"] = Field(
        default="missing", description="when the image is pulled; missing: if it is not held"
    )
    platform: PlatformText | None = Field(
        default=None, description="of an index this image; by default the host's"
    )
    busy: bool = Field(default=False, description="whether somebody works in it")

    @model_validator(mode="after")
    def _can_be_pulled(self) -> WorkspaceSpec:
        if self.pull == "always" and self.to_pull is None:
            raise PydanticCustomError("reference", "an ID cannot be pulled; give a name")
        return self

    @property
    def to_pull(self) -> PullSpec | None:
        """The pull that brings the image; None for what no registry can be asked for."""
        if self.pull == "never" or ID.fullmatch(self.reference):
            return None
        try:
            Reference.parse(self.reference)
        except InvalidReferenceError:  # an ID without its algorithm
            return None
        platforms = () if self.platform is None else (self.platform,)
        return PullSpec(reference=self.reference, platforms=platforms, priority=self.priority)

    @property
    def asks(self) -> tuple[Reference, ...]:
        """Where the image may come from."""
        return () if self.to_pull is None else self.to_pull.asks

    @property
    def label(self) -> str:
        """How it reads in a list."""
        return f"{self.reference} -> {self.workspace}"


class CommitSpec(JobSpec):
    """Make an image of a workspace: its base, and one more layer of all that was put into it.

    *changes* are made to what a container has of the `config` of the base, which is all but OnBuild
    and Shell, or to *config* where that is given, which then takes over from it what it leaves out.
    A step of a build brings the *container_config* of its container, by which the build cache finds
    it, and its *config* is taken as it is.
    """

    queue: ClassVar[str] = "local"
    writes_store: ClassVar[bool] = True
    leaves_drafts: ClassVar[bool] = True

    kind: Literal["commit"] = "commit"
    workspace: WorkspaceName
    reference: TargetText | None = Field(default=None, description="the name that it is to get")
    author: str = Field(default="", max_length=1024)
    message: str = Field(default="", max_length=65_536)
    changes: ChangeTexts = Field(default=(), description="instructions as of a Dockerfile")
    config: Annotated[dict[str, Any], AfterValidator(_container_config("config"))] = Field(
        default_factory=dict, description="the `config` object of the image, in Docker's words"
    )
    container_config: (
        Annotated[dict[str, Any], AfterValidator(_container_config("container_config"))] | None
    ) = None
    created_by: Annotated[str, Field(max_length=65_536)] | None = Field(
        default=None, description="what made it; by default the container's command"
    )
    source_date_epoch: Epoch | None = Field(
        default=None,
        description="when it was created, by default now, and the latest time of its files",
    )

    @property
    def target(self) -> Reference | None:
        """The name that it is to get, with its default tag."""
        return parse_target(self.reference) if self.reference is not None else None

    @property
    def label(self) -> str:
        """How it reads in a list."""
        return self.workspace if self.target is None else f"{self.workspace} -> {self.target}"
