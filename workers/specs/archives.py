"""Jobs that make images of archives, file systems and other images, and archives of images."""

from __future__ import annotations

import re
from typing import Annotated, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from transship.store.errors import InvalidReferenceError, InvalidSpecError
from transship.store.images.build.changes import check_changes
from transship.store.oci.platform import Platform
from transship.store.oci.reference import Reference, parse_target
from transship.workers.specs.fields import (
    JobSpec,
    PlatformsSpec,
    PlatformText,
    RepositoryText,
    checked,
)

REGISTRY = "registry:"  # before a reference: the image is in its registry, not in the store
_URL = re.compile(r"https?://[^\s/][^\s]*", re.IGNORECASE)


def in_registry(text: str) -> Reference | None:
    """The image that `registry:REF` names; None for one in the store.

    What can be read as a reference by itself is one: `registry:2` is the tag of a repository.
    """
    if not text.startswith(REGISTRY):
        return None
    try:
        Reference.parse(text)
    except InvalidReferenceError:
        return Reference.parse(text.removeprefix(REGISTRY)).with_default_tag()
    return None


def _target(text: str) -> str:
    checked(lambda: parse_target(text))
    return text


def _url(text: str) -> str:
    url = text if "://" in text else f"http://{text}"  # as Docker takes it
    if _URL.fullmatch(url) is None:
        raise PydanticCustomError("url", "not a URL: http://HOST/PATH or https://HOST/PATH")
    return url


def _changes(texts: tuple[str, ...]) -> tuple[str, ...]:
    try:
        check_changes(texts)
    except InvalidSpecError as wrong:
        raise PydanticCustomError("changes", "{reason}", {"reason": wrong.detail}) from None
    return texts


def _linux(text: str) -> str:
    if Platform.parse(text).os != "linux":
        raise PydanticCustomError("platform", "layers of other systems than linux hold more")
    return text


def _place(text: str) -> str:
    checked(lambda: in_registry(text))
    return text


LocalText = Annotated[str, Field(min_length=1, max_length=1024)]  # a name or an ID of the store
TargetText = Annotated[LocalText, AfterValidator(_target)]
PlaceText = Annotated[LocalText, AfterValidator(_place)]
ChangeTexts = Annotated[
    tuple[Annotated[str, Field(max_length=65_536)], ...],
    Field(max_length=100),
    AfterValidator(_changes),
]
Epoch = Annotated[int, Field(ge=0, lt=2**33)]


class LoadSpec(JobSpec):
    """Load the images of an archive into the store: a docker-archive or an OCI layout.

    The archive is the body of the request.
    """

    queue: ClassVar[str] = "local"
    needs_body: ClassVar[bool] = True
    writes_store: ClassVar[bool] = True
    leaves_drafts: ClassVar[bool] = True

    kind: Literal["load"] = "load"
    repository: RepositoryText | None = Field(
        default=None, description="what a bare tag in an OCI layout is a tag of"
    )

    @property
    def body(self) -> str:
        """Where the archive is sent."""
        return "POST /loads"

    @property
    def label(self) -> str:
        """How it reads in a list."""
        return "an archive"


def shown_url(url: str) -> str:
    """A URL without what may be a secret: password, query and fragment."""
    scheme, _, rest = url.partition("://")
    place, slash, path = re.split(r"[?#]", rest, maxsplit=1)[0].partition("/")
    return f"{scheme}://{place.rpartition('@')[2]}{slash}{path}"


class ImportSpec(JobSpec):
    """Make an image of one layer of the tar of a file system.

    The tar is the body of the request, or is fetched from *url*.
    """

    queue: ClassVar[str] = "local"
    writes_store: ClassVar[bool] = True
    leaves_drafts: ClassVar[bool] = True

    kind: Literal["import"] = "import"
    url: Annotated[str, Field(max_length=8192), AfterValidator(_url)] | None = None
    reference: TargetText | None = None
    changes: ChangeTexts = Field(default=(), description="instructions as of a Dockerfile")
    message: str = Field(default="", max_length=65_536)
    platform: Annotated[PlatformText, AfterValidator(_linux)] | None = Field(
        default=None, description="by default the host's"
    )
    source_date_epoch: Epoch | None = Field(
        default=None, description="when it was created, by default now"
    )

    @property
    def body(self) -> str | None:
        """Where the tar is sent, if it is not fetched."""
        return "POST /imports" if self.url is None else None

    @property
    def target(self) -> Reference | None:
        """The name that the image is to get, with its default tag."""
        return parse_target(self.reference) if self.reference is not None else None

    @property
    def for_platform(self) -> Platform:
        """What the image is for."""
        return Platform.parse(self.platform) if self.platform is not None else Platform.host()

    @property
    def source(self) -> str:
        """Where the tar comes from, as histories say it: the URL without its query, or `-`."""
        return "-" if self.url is None else shown_url(self.url)

    @property
    def secret_url(self) -> str | None:
        """The URL, where it has a query or a password."""
        return self.url if self.url != self.source else None

    def without_secret(self) -> Self:
        """The same with a URL that opens nothing."""
        return self.model_copy(update={"url": self.source}) if self.url is not None else self

    @property
    def label(self) -> str:
        """How it reads in a list."""
        source = "a file system" if self.url is None else self.source
        return source if self.target is None else f"{source} -> {self.target}"


class ExportSpec(JobSpec):
    """Pin images for an archive of them, which is then made as it is downloaded."""

    queue: ClassVar[str] = "local"

    kind: Literal["export"] = "export"
    references: tuple[LocalText, ...] = Field(min_length=1, max_length=1000)
    format: Literal["docker", "oci"] = "docker"
    platform: PlatformText | None = Field(
        default=None, description="which image of an index Docker is to load, by default the host's"
    )

    @property
    def label(self) -> str:
        """How it reads in a list."""
        shown = " ".join(self.references[:3])
        more = len(self.references) - 3
        return f"{shown} and {more} more" if more > 0 else shown


class SquashSpec(PlatformsSpec):
    """Make one layer of several: of those above *parent*, of the *last* so many, or of all.

    Reference, target and parent each may be `registry:REF`. Without platforms every image of an
    index is squashed.
    """

    queue: ClassVar[str] = "local"
    writes_store: ClassVar[bool] = True
    leaves_drafts: ClassVar[bool] = True

    kind: Literal["squash"] = "squash"
    reference: PlaceText
    target: PlaceText
    parent: PlaceText | None = None
    last: int | None = Field(default=None, ge=1, le=10_000)
    compress: Literal["gzip", "zstd"] = "gzip"
    source_date_epoch: Epoch | None = Field(
        default=None,
        description="when it was created, by default now, and the latest time of its files",
    )

    @model_validator(mode="after")
    def _makes_sense(self) -> SquashSpec:
        if self.parent is not None and self.last is not None:
            raise PydanticCustomError("last", "give parent or last, not both")
        if self.remote_target is None:
            checked(lambda: parse_target(self.target), "target")
        elif self.remote_target.digest is not None:
            raise PydanticCustomError("target", "a tag is needed, for the digest is not known yet")
        return self

    @property
    def remote_source(self) -> Reference | None:
        """Where it is pulled from; None: it is in the store."""
        return in_registry(self.reference)

    @property
    def remote_parent(self) -> Reference | None:
        """Where the parent is looked at; None: in the store, or there is none."""
        return in_registry(self.parent) if self.parent is not None else None

    @property
    def remote_target(self) -> Reference | None:
        """Where it is pushed to; None: it stays in the store."""
        return in_registry(self.target)

    @property
    def written(self) -> tuple[str, ...]:
        """Of the registries those to which it sends something."""
        return () if self.remote_target is None else (self.remote_target.domain,)

    @property
    def asks(self) -> tuple[Reference, ...]:
        """Where it comes from, where it goes, and where its parent is, as far as in registries."""
        remote = (self.remote_source, self.remote_target, self.remote_parent)
        return tuple(one for one in remote if one is not None)

    @property
    def label(self) -> str:
        """How it reads in a list."""
        return f"{self.reference} -> {self.target}"
