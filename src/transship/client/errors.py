"""What can go wrong between a program and a server, in one small tree.

ClientError
├── InvalidRequestError     400, 413, 422: it cannot be asked for; or never left this program
├── RefusedError            the server refused, for another reason
│   ├── UnauthorizedError, ForbiddenError           401, 403
│   ├── NotFoundError, ConflictError                404 and 410, 409
│   ├── ThrottledError                              429
│   └── ServerFailedError                           500, 503
├── UnreachableError        there is no answer
├── NotTransshipError       there is one, and not of a Transship server
├── VersionMismatchError    there is one, of a server of another version
├── JobFailedError          the job that was waited for has failed, or was cancelled
└── WaitTimeoutError        it has not ended in time; a TimeoutError too
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, Self

from transship import __version__
from transship.api.client import server
from transship.api.models.jobs import JobView
from transship.store.errors import RecordedError, Side, TransshipError


class ClientError(RecordedError):
    """Root of all that the client raises.

    Attributes:
        code: Stable, for programs.
        side: `source`, `destination`, `store`, `request` or `internal`.
        subject: What it was about.
        detail: One sentence that says what happened.
        hint: What can be done about it; empty for nothing.
        retryable: Whether the same may succeed later.
        attempts: How many there were.
        status: HTTP's, where a server refused; else None.
        errors: Of a 422 each wrong field, as `field` and `message`.
    """

    def __init__(self, facts: Mapping[str, Any], *, status: int | None = None) -> None:
        """Take the facts as jobs and problems have them.

        Raises:
            KeyError, TypeError, ValueError: they are not such facts.
        """
        super().__init__(dict(facts))
        self.code = str(facts["code"])
        self.retryable = bool(facts["retryable"])
        self.attempts = int(facts.get("attempts") or 1)
        self.status = status
        self.errors: list[dict[str, str]] = list(facts.get("errors") or ())

    @classmethod
    def of(cls, error: TransshipError) -> Self:
        """The same as *error*, which arose in this program."""
        return cls(error.as_json())


class InvalidRequestError(ClientError):
    """It cannot be asked for; nothing was started."""


class RefusedError(ClientError):
    """The server refused; nothing was started."""


class UnauthorizedError(RefusedError):
    """The server does not know the token, or got none."""


class ForbiddenError(RefusedError):
    """The token does not allow it; the subject is the scope that it lacks."""


class NotFoundError(RefusedError):
    """There is no such thing, for whoever asks, or not any more."""


class ConflictError(RefusedError):
    """It contradicts what is there."""


class ThrottledError(RefusedError):
    """Too much at a time, or more than the token may have."""


class ServerFailedError(RefusedError):
    """The server cannot do it now, or failed over it."""


class UnreachableError(ClientError):
    """There is no answer: the address is wrong, the server is down, or the connection was lost.

    Attributes:
        sent: Whether the request may have arrived.
    """

    sent = False


class NotTransshipError(ClientError):
    """Something answers, and it is not a Transship server."""


class VersionMismatchError(ClientError):
    """A Transship server answers otherwise than one of this client's version."""


class JobFailedError(ClientError):
    """A job ended otherwise than well; the facts are those of its error.

    Attributes:
        job: The job.
    """

    def __init__(self, job: JobView) -> None:
        """Say why *job* has ended."""
        super().__init__(
            job.error.model_dump()
            if job.error is not None
            else _facts("job-failed", f"the job has ended {job.state}", job.id, side=Side.INTERNAL)
        )
        self.job = job


class WaitTimeoutError(ClientError, TimeoutError):
    """A job has not ended in the time that was given. It continues.

    Attributes:
        job: The job as it was then.
    """

    def __init__(self, job: JobView, seconds: float) -> None:
        """Say that *job* has not ended in *seconds*."""
        detail = f"the job is {job.state} after {seconds:g} s of waiting"
        super().__init__(_facts("wait-timeout", detail, job.id, retryable=True))
        self.job = job


_BY_STATUS: Final[Mapping[int, type[ClientError]]] = {
    400: InvalidRequestError,
    401: UnauthorizedError,
    403: ForbiddenError,
    404: NotFoundError,
    409: ConflictError,
    410: NotFoundError,
    413: InvalidRequestError,
    422: InvalidRequestError,
    429: ThrottledError,
    500: ServerFailedError,
    503: ServerFailedError,
}


def refusal(problem: Mapping[str, Any], status: int) -> ClientError:
    """The error that a problem of the server tells of.

    Raises:
        KeyError, TypeError, ValueError: it is not a problem of a Transship server.
    """
    return _BY_STATUS.get(status, RefusedError)(problem, status=status)


def lost(where: str, reason: object, *, sent: bool) -> UnreachableError:
    """There is no answer of the server at *where*."""
    error = UnreachableError.of(server.unreachable(where, reason))
    error.sent = sent
    return error


def no_server_of_ours(where: str, status: int) -> NotTransshipError:
    """There is an answer, and it is not Transship's."""
    return NotTransshipError.of(server.no_server_of_ours(where, status))


def of_another_version(where: str, what: str) -> VersionMismatchError:
    """A server differs from those of this client's version in *what*."""
    return VersionMismatchError(
        _facts(
            "version-mismatch",
            f"the server is of another version than this client ({__version__}): {what}",
            where,
            hint="install the version of transship that the server has",
        )
    )


@contextmanager
def as_client_errors() -> Iterator[None]:
    """Let what is found wrong before anything is sent come out as InvalidRequestError."""
    try:
        yield
    except ClientError:
        raise
    except TransshipError as error:
        raise InvalidRequestError.of(error) from None


def _facts(
    code: str,
    detail: str,
    subject: str,
    *,
    hint: str = "",
    side: Side = Side.REQUEST,
    retryable: bool = False,
) -> dict[str, Any]:
    return {
        "code": code,
        "side": side.value,
        "subject": subject,
        "detail": detail,
        "hint": hint,
        "retryable": retryable,
    }
