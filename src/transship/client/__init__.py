"""The client of a Transship server, for other programs.

    with Client() as client:
        job = client.submit(PullSpec(reference="docker.io/library/alpine:3.20"))
        job = client.wait(job.id, check=True)

Specs and answers are the server's own models. To import this loads neither the store nor Celery.
"""

from __future__ import annotations

from transship.api.models.credentials import CredentialBody as Credential
from transship.api.models.images import ImageDetails, ImageSummary, RemoteImage
from transship.api.models.jobs import JobEvent, JobSummary, MovingTransfer, ProgressEvent
from transship.api.models.jobs import JobView as Job
from transship.api.models.jobs import TransferView as Transfer
from transship.api.models.mirrors import MirrorSummary
from transship.api.models.mirrors import MirrorView as Mirror
from transship.api.models.problems import Problem
from transship.client.awaiting import AsyncClient
from transship.client.blocking import Client
from transship.client.calls.jobs import Event
from transship.client.errors import (
    ClientError,
    ConflictError,
    ForbiddenError,
    InvalidRequestError,
    JobFailedError,
    NotFoundError,
    NotTransshipError,
    RefusedError,
    ServerFailedError,
    ThrottledError,
    UnauthorizedError,
    UnreachableError,
    VersionMismatchError,
    WaitTimeoutError,
)
from transship.workers.specs import (
    CommitSpec,
    CopySpec,
    ExportSpec,
    FsckSpec,
    GcSpec,
    ImportSpec,
    MirrorEntry,
    MirrorSpec,
    PruneSpec,
    PullSpec,
    PushSpec,
    SquashSpec,
    WorkspaceSpec,
)

__all__ = [
    "AsyncClient",
    "Client",
    "ClientError",
    "CommitSpec",
    "ConflictError",
    "CopySpec",
    "Credential",
    "Event",
    "ExportSpec",
    "ForbiddenError",
    "FsckSpec",
    "GcSpec",
    "ImageDetails",
    "ImageSummary",
    "ImportSpec",
    "InvalidRequestError",
    "Job",
    "JobEvent",
    "JobFailedError",
    "JobSummary",
    "Mirror",
    "MirrorEntry",
    "MirrorSpec",
    "MirrorSummary",
    "MovingTransfer",
    "NotFoundError",
    "NotTransshipError",
    "Problem",
    "ProgressEvent",
    "PruneSpec",
    "PullSpec",
    "PushSpec",
    "RefusedError",
    "RemoteImage",
    "ServerFailedError",
    "SquashSpec",
    "ThrottledError",
    "Transfer",
    "UnauthorizedError",
    "UnreachableError",
    "VersionMismatchError",
    "WaitTimeoutError",
    "WorkspaceSpec",
]
