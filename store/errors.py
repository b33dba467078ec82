"""The one error tree.

A failure is described by facts: which side failed, on what subject, and whether trying again may
help. The text is made from the facts, so that a job's record, an HTTP problem and a line on a
terminal say the same thing.

    TransshipError
    ├── InternalError           a fault of this program
    ├── RequestError            the user asked for something that cannot be
    │   ├── InvalidReferenceError, InvalidDigestError, InvalidPlatformError, InvalidSpecError
    │   ├── InvalidPolicyError, InvalidSelectionError
    │   ├── InvalidTimeError, NotFoundError, GoneError, TooLargeError, IncompleteBodyError
    │   ├── TokenError, ScopeError, ThrottledError
    │   ├── OtherPlatformError      a NotFoundError that brings the image
    │   └── ConflictError       CredentialsNeededError
    ├── StoreError              this machine: disk, database, home
    │   ├── HomeUnusableError, DiskFullError, BlobMissingError, BlobHiddenError
    │   ├── SchemaVersionError, DatabaseUnavailableError, ForeignProcessError
    │   └── EngineRunningError, AddressInUseError, MissingProgramError, ServerUnreachableError
    ├── ContentError            bytes that are not what was promised
    │   ├── SizeMismatchError, WrongSizeError, DigestMismatchError, InvalidManifestError
    │   ├── UnsupportedMediaTypeError, UnsupportedCompressionError
    │   └── DecompressionError, ExpansionError, InvalidLayerError, InvalidArchiveError
    ├── RegistryError           a registry answered, and the answer is no
    │   ├── UnauthorizedError, DeniedError, PlatformNotFoundError
    │   ├── RegistryNotFoundError   ManifestNotFoundError
    │   ├── TooManyRequestsError, RegistryUnavailableError, RangeIgnoredError
    │   ├── ProtocolError, UntrustedAddressError, TlsError, BlockedError
    │   └── UnreachableError    no answer at all: UnknownHostError
    ├── DeadlineExceededError   the job took longer than it was given
    ├── RepeatedCrashError      every owner died over it
    ├── RecordedError           a failure met again, as a transfer wrote it down
    ├── ReportedError           the job did what it could, and its report says what is left
    │   └── PartialError, DamagedStoreError
    └── Interruption            not a failure: why work stopped before its end
        └── CancelledError, LeaseLostError, HandedBackError
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, ClassVar


class Side(StrEnum):
    """Where a failure lies, seen by whoever asked for the job."""

    SOURCE = "source"
    DESTINATION = "destination"
    STORE = "store"
    REQUEST = "request"
    INTERNAL = "internal"


class TransshipError(Exception):
    """Root of every error that this project raises on purpose.

    Args:
        detail: One sentence that says what happened, without the side or the subject.
        subject: What it was about: a reference, a digest, a host, a path, a field.
        hint: What the user can do about it, if anything.
        side: Overrides the class's side. The registry client does not know whether it reads or
            writes for a job; who calls it sets the side with `at`.
    """

    code: ClassVar[str] = "internal"
    side: Side = Side.INTERNAL
    retryable: ClassVar[bool] = False
    status: ClassVar[int] = 500

    def __init__(
        self, detail: str, *, subject: str = "", hint: str = "", side: Side | None = None
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.subject = subject
        self.hint = hint
        if side is not None:
            self.side = side

    def at(self, side: Side) -> TransshipError:
        """Say on which side of a job this happened, and return the error itself."""
        self.side = side
        return self

    def __str__(self) -> str:
        where = f"{self.subject}: " if self.subject else ""
        return f"{where}{self.detail}"

    def as_json(self) -> dict[str, Any]:
        """The error as jobs and problems show it (INTERFACE: Error)."""
        return {
            "code": self.code,
            "side": self.side.value,
            "subject": self.subject,
            "detail": self.detail,
            "hint": self.hint,
            "retryable": self.retryable,
        }


class InternalError(TransshipError):
    """A fault of this program. The log holds the traceback."""


# --- the request -------------------------------------------------------------------------------


class RequestError(TransshipError):
    """What was asked for cannot be done as asked; nothing was started."""

    code = "invalid-request"
    side = Side.REQUEST
    status = 400


class InvalidReferenceError(RequestError):
    """Not an image reference in Docker's grammar."""

    code = "invalid-reference"


class InvalidDigestError(RequestError):
    """Not a digest of a known algorithm."""

    code = "invalid-digest"


class InvalidPlatformError(RequestError):
    """Not a platform of the form os/arch[/variant]."""

    code = "invalid-platform"


class InvalidTimeError(RequestError):
    """Not a point in time: RFC 3339, seconds since the epoch, or a duration before now."""

    code = "invalid-time"


class InvalidSelectionError(RequestError):
    """Not a pattern for tags, or not a range of versions."""

    code = "invalid-selection"


class InvalidPolicyError(RequestError):
    """A file that says what to mirror, and cannot be used; the subject is the file and the key."""

    code = "invalid-policy"
    status = 422


class InvalidSpecError(RequestError):
    """A job that cannot be asked for; *errors* names each field that is wrong."""

    code = "invalid-spec"
    status = 422

    def __init__(self, detail: str, *, errors: list[dict[str, str]], hint: str = "") -> None:
        super().__init__(detail, subject=errors[0]["field"] if errors else "", hint=hint)
        self.errors = errors

    def as_json(self) -> dict[str, Any]:
        """The error, with each wrong field and what is wrong with it."""
        return {**super().as_json(), "errors": self.errors}


class NotFoundError(RequestError):
    """No such job, image or blob here."""

    code = "not-found"
    status = 404


class OtherPlatformError(NotFoundError):
    """The image is held, but not for the platform asked for; *image* says what it is for."""

    code = "platform-not-held"
    side = Side.STORE

    def __init__(self, detail: str, *, subject: str, image: dict[str, Any]) -> None:
        super().__init__(detail, subject=subject, hint="pull it with --platform first")
        self.image = image

    def as_json(self) -> dict[str, Any]:
        """The error, with the image."""
        return {**super().as_json(), "image": self.image}


class ConflictError(RequestError):
    """The request contradicts what is there."""

    code = "conflict"
    status = 409


class CredentialsNeededError(ConflictError):
    """The first job came with credentials, which are gone; the new one must bring them again."""

    code = "credentials-needed"


class TooLargeError(RequestError):
    """The request's body is longer than the server reads."""

    code = "too-large"
    status = 413


class IncompleteBodyError(RequestError):
    """The request's body ended before it was whole; nothing of it is used."""

    code = "body-incomplete"


class GoneError(RequestError):
    """It was here, and is kept no longer."""

    code = "gone"
    status = 410


class TokenError(RequestError):
    """The request carries no token that is known here."""

    code = "unauthorized"
    status = 401


class ScopeError(RequestError):
    """The request's token is known, and does not allow this; the subject is the scope it lacks."""

    code = "forbidden"
    status = 403


class ThrottledError(RequestError):
    """Too much at a time, or too often; the same request may succeed later."""

    code = "throttled"
    status = 429


class QuotaError(RequestError):
    """The token has as much as it may have; the subject is the setting that says how much."""

    code = "quota-exceeded"
    status = 429


# --- this machine ------------------------------------------------------------------------------


class StoreError(TransshipError):
    """The store, the catalog or the machine below them failed."""

    code = "store-error"
    side = Side.STORE
    status = 503


class HomeUnusableError(StoreError):
    """TRANSSHIP_HOME cannot be used."""

    code = "home-unusable"


class DiskFullError(StoreError):
    """No space is left where the store lives. Trying again at once would not help."""

    code = "disk-full"


class DatabaseUnavailableError(StoreError):
    """The database cannot be reached, or is too busy. Trying again may help."""

    code = "database-unavailable"
    retryable = True


class BlobMissingError(StoreError):
    """The store does not hold a blob that it should."""

    code = "blob-missing"


class BlobHiddenError(StoreError):
    """A blob that the store holds could not be read for a moment."""

    code = "blob-hidden"
    retryable = True


class SchemaVersionError(StoreError):
    """The database has another schema than this program."""

    code = "schema-version"


class EngineRunningError(StoreError):
    """Another engine holds this home."""

    code = "engine-running"


class ForeignProcessError(StoreError):
    """A process does not belong to the cluster: another data directory, or another key."""

    code = "foreign-process"


class AddressInUseError(StoreError):
    """The address to listen on is taken."""

    code = "address-in-use"


class MissingProgramError(StoreError):
    """A program that was asked for is not installed."""

    code = "missing-program"


class ServerUnreachableError(StoreError):
    """No Transship server answers where one was expected."""

    code = "server-unreachable"


# --- bytes -------------------------------------------------------------------------------------


class ContentError(TransshipError):
    """Bytes that are not what their descriptor, or their format, promises."""

    code = "invalid-content"
    side = Side.SOURCE
    status = 502


class SizeMismatchError(ContentError):
    """More or fewer bytes arrived than the descriptor names."""

    code = "size-mismatch"
    retryable = True  # a cut connection is likelier than a lying registry; the budget ends it

    def __init__(self, *, subject: str, expected: int, actual: int) -> None:
        super().__init__(f"expected {expected} bytes, got {actual}", subject=subject)
        self.expected, self.actual = expected, actual


class WrongSizeError(ContentError):
    """A descriptor claims another size than the blob of its digest has. No retry mends that."""

    code = "wrong-size"

    def __init__(self, *, subject: str, claimed: int, actual: int) -> None:
        super().__init__(
            f"its manifest claims {claimed} bytes, but the blob of this digest has {actual}",
            subject=subject,
            hint="the image was made or changed by something that counts wrongly; build it again",
        )


class DigestMismatchError(ContentError):
    """The bytes received are not the bytes named."""

    code = "digest-mismatch"
    retryable = True

    def __init__(self, *, expected: str, actual: str) -> None:
        super().__init__(f"the bytes received have the digest {actual}", subject=expected)
        self.expected, self.actual = expected, actual


class InvalidManifestError(ContentError):
    """Not a manifest, index or config that can be understood safely."""

    code = "invalid-manifest"


class UnsupportedMediaTypeError(ContentError):
    """A media type that this operation cannot work with, such as schema 1."""

    code = "unsupported-media-type"


class UnsupportedCompressionError(ContentError):
    """A compression that is read, but never written."""

    code = "unsupported-compression"


class DecompressionError(ContentError):
    """Compressed bytes that are damaged, end too early, or go on with something else."""

    code = "decompression-failed"


class ExpansionError(ContentError):
    """A stream grows beyond what it may, or beyond what its compressed size makes likely."""

    code = "expands-too-far"


class InvalidLayerError(ContentError):
    """Not a tar that can be understood safely; the subject is the entry's name."""

    code = "invalid-layer"


class InvalidArchiveError(ContentError):
    """Not an archive of images that holds together; the subject is the file in it that is wrong."""

    code = "invalid-archive"
    status = 400


# --- registries --------------------------------------------------------------------------------


class RegistryError(TransshipError):
    """A registry answered, and the answer is no.

    Args:
        registry: The host that answered.
        http_status: Its status, or 0.
        retry_after_seconds: How long it asked to be left alone.
    """

    code = "registry-error"
    side = Side.SOURCE
    status = 502

    def __init__(
        self,
        detail: str,
        *,
        registry: str = "",
        subject: str = "",
        http_status: int = 0,
        retry_after_seconds: float | None = None,
        hint: str = "",
        side: Side | None = None,
    ) -> None:
        super().__init__(detail, subject=subject or registry, hint=hint, side=side)
        self.registry = registry
        self.http_status = http_status
        self.retry_after_seconds = retry_after_seconds


class UnauthorizedError(RegistryError):
    """401 after a fresh token, or no credentials where some are needed."""

    code = "unauthorized-by-registry"


class DeniedError(RegistryError):
    """403: the credentials are known, and do not suffice."""

    code = "denied-by-registry"


class RegistryNotFoundError(RegistryError):
    """404: the registry does not hold the repository or blob."""

    code = "not-in-registry"


class ManifestNotFoundError(RegistryNotFoundError):
    """The registry does not hold the tag or manifest."""

    code = "manifest-not-found"


class PlatformNotFoundError(RegistryError):
    """The image exists, but not for the platform asked for."""

    code = "platform-not-found"


class TooManyRequestsError(RegistryError):
    """429: the registry wants to be left alone for a while; it is parked for everyone."""

    code = "too-many-requests"
    retryable = True


class RegistryUnavailableError(RegistryError):
    """408, 425 or 5xx: the registry has a problem that may pass."""

    code = "registry-unavailable"
    retryable = True


class ProtocolError(RegistryError):
    """The answer does not follow the distribution specification; HTML, say."""

    code = "protocol-error"


class UntrustedAddressError(RegistryError):
    """The registry sent us to an address where it may not send us."""

    code = "untrusted-address"


class TlsError(RegistryError):
    """No TLS that can be trusted: a certificate that does not verify, or a peer without TLS."""

    code = "tls-error"


class BlockedError(RegistryError):
    """The files of this machine say that this registry is not to be used."""

    code = "registry-blocked"


class UnreachableError(RegistryError):
    """No answer: the name is unknown, the connection refused, cut, or silent for too long."""

    code = "unreachable"
    retryable = True


class UnknownHostError(UnreachableError):
    """The host's name does not resolve. Tried again, for resolvers fail too."""

    code = "unknown-host"


class RangeIgnoredError(RegistryError):
    """A range was asked for and other bytes came. What was received is dropped."""

    code = "range-ignored"
    retryable = True


# --- stops -------------------------------------------------------------------------------------


class Interruption(TransshipError):  # noqa: N818 -- its children end in Error; it is no failure
    """Work stopped before its end, for a reason that is no failure of it."""

    code = "interrupted"


class CancelledError(Interruption):
    """Someone asked for the stop."""

    code = "cancelled"
    side = Side.REQUEST


class LeaseLostError(Interruption):
    """The owner could not renew its lease; someone else may own the work now."""

    code = "lease-lost"


class HandedBackError(Interruption):
    """The worker is stopping, and gives the work to another."""

    code = "handed-back"


# --- how a job can end -------------------------------------------------------------------------


class DeadlineExceededError(TransshipError):
    """The job's deadline passed."""

    code = "deadline-exceeded"
    side = Side.REQUEST


class RepeatedCrashError(TransshipError):
    """Every worker that took this up died over it without getting further."""

    code = "repeated-death"


class RecordedError(TransshipError):
    """A failure that a transfer wrote down, met again by a job that waited for it."""

    code = "recorded"

    def __init__(self, recorded: dict[str, Any]) -> None:
        """Take the facts from *recorded*, the JSON form of the error."""
        super().__init__(
            str(recorded["detail"]),
            subject=str(recorded["subject"]),
            hint=str(recorded["hint"]),
            side=Side(recorded["side"]),
        )
        self.recorded = recorded

    def as_json(self) -> dict[str, Any]:
        """The error as it was recorded, with the attempts that were made."""
        return dict(self.recorded)


class ReportedError(TransshipError):
    """The job did what it could, and failed over the rest; *report* is its result."""

    code = "reported"

    def __init__(
        self,
        detail: str,
        *,
        subject: str = "",
        hint: str = "",
        side: Side | None = None,
        report: dict[str, Any],
    ) -> None:
        super().__init__(detail, subject=subject, hint=hint, side=side)
        self.report = report


class PartialError(ReportedError):
    """Some children of a mirror failed; the report says which."""

    code = "partial"
    side = Side.SOURCE


class DamagedStoreError(ReportedError):
    """Blobs that are in use are wrong or missing; the report says which."""

    code = "store-damaged"
    side = Side.STORE
