"""Jobs that look after the store."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from transship.store.errors import InvalidSpecError
from transship.store.images.view.filters import PRUNE_KEYS, Filters, check_prune
from transship.workers.specs.fields import JobSpec


def _filters(texts: tuple[str, ...]) -> tuple[str, ...]:
    try:
        check_prune(Filters.parse(texts, PRUNE_KEYS))
    except InvalidSpecError as wrong:
        raise PydanticCustomError("filters", "{reason}", {"reason": wrong.detail}) from None
    return texts


FilterTexts = Annotated[tuple[str, ...], Field(max_length=100), AfterValidator(_filters)]


class GcSpec(JobSpec):
    """Delete unreferenced blobs.

    *automatic*: only as much as the size cap and the floor of free space ask for, the least
    recently used first.
    """

    queue: ClassVar[str] = "local"
    admin_only: ClassVar[bool] = True

    kind: Literal["gc"] = "gc"
    automatic: bool = False

    @property
    def label(self) -> str:
        """How it reads in a list."""
        return "to fit the limits of the store" if self.automatic else "everything unused"


class FsckSpec(JobSpec):
    """Hash every blob again, and put aside what is wrong; with *repair* fetch it again."""

    queue: ClassVar[str] = "local"
    admin_only: ClassVar[bool] = True

    kind: Literal["fsck"] = "fsck"
    repair: bool = Field(default=False, description="bring what is wrong or missing in again")

    @property
    def label(self) -> str:
        """How it reads in a list."""
        return "check and repair" if self.repair else "check"


class PruneSpec(JobSpec):
    """Remove the images that have no tag, or with *all* those that nothing uses.

    *filters* have `key=value` each: `dangling`, `until` (a time, or how long before the job was
    made), `label` and `label!`.
    """

    queue: ClassVar[str] = "local"
    admin_only: ClassVar[bool] = True
    exclusive: ClassVar[bool] = True

    kind: Literal["prune"] = "prune"
    all: bool = Field(default=False, description="as dangling=false")
    filters: FilterTexts = ()

    @model_validator(mode="after")
    def _one_way_to_say_all(self) -> PruneSpec:
        if self.all and Filters.parse(self.filters, PRUNE_KEYS).flag("dangling") is True:
            raise PydanticCustomError("filters", "all of them, or only dangling ones, not both")
        return self

    @property
    def wanted(self) -> Filters:
        """What to go by."""
        return Filters.parse((*self.filters, *(["dangling=false"] * self.all)), PRUNE_KEYS)

    @property
    def label(self) -> str:
        """How it reads in a list."""
        what = "unused images" if self.wanted.flag("dangling") is False else "untagged images"
        return " ".join((what, *self.filters))
