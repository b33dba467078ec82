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
    │   ├── TokenError, ScopeError, ThrottledError, QuotaError
    │   ├── OtherPlatformError      a NotFoundError that brings the image
    │   └── ConflictError       CredentialsNeededError, AmbiguousError
    ├── StoreError              this machine: disk, database, home
    │   ├── HomeUnusableError, DiskFullError, BlobMissingError, BlobHiddenError
    │   ├── SchemaVersionError, DatabaseUnavailableError, ForeignProcessError
    │   └── EngineRunningError, AddressInUseError, MissingProgramError, ServerUnreachableError
    ├── ContentError            bytes that are not what was promised
    │   ├── SizeMismatchError, WrongSizeError, DigestMismatchError, InvalidManifestError
    │   ├── UnsupportedMediaTypeError, UnsupportedCompressionError, TooFewTagsError
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

from transship.store.errors.content import (
    ContentError,
    DecompressionError,
    DigestMismatchError,
    ExpansionError,
    InvalidArchiveError,
    InvalidLayerError,
    InvalidManifestError,
    SizeMismatchError,
    TooFewTagsError,
    UnsupportedCompressionError,
    UnsupportedMediaTypeError,
    WrongSizeError,
)
from transship.store.errors.error import (
    InternalError,
    Side,
    TransshipError,
    named_apart,
    sentence,
)
from transship.store.errors.interruption import (
    CancelledError,
    HandedBackError,
    Interruption,
    LeaseLostError,
)
from transship.store.errors.machine import (
    AddressInUseError,
    BlobHiddenError,
    BlobMissingError,
    DatabaseUnavailableError,
    DiskFullError,
    EngineRunningError,
    ForeignProcessError,
    HomeUnusableError,
    MissingProgramError,
    SchemaVersionError,
    ServerUnreachableError,
    StoreError,
)
from transship.store.errors.outcome import (
    DamagedStoreError,
    DeadlineExceededError,
    PartialError,
    RecordedError,
    RepeatedCrashError,
    ReportedError,
)
from transship.store.errors.registry import (
    BlockedError,
    DeniedError,
    ManifestNotFoundError,
    PlatformNotFoundError,
    ProtocolError,
    RangeIgnoredError,
    RegistryError,
    RegistryNotFoundError,
    RegistryUnavailableError,
    TlsError,
    TooManyRequestsError,
    UnauthorizedError,
    UnknownHostError,
    UnreachableError,
    UntrustedAddressError,
)
from transship.store.errors.request import (
    AmbiguousError,
    ConflictError,
    CredentialsNeededError,
    GoneError,
    IncompleteBodyError,
    InvalidDigestError,
    InvalidPlatformError,
    InvalidPolicyError,
    InvalidReferenceError,
    InvalidSelectionError,
    InvalidSpecError,
    InvalidTimeError,
    NotFoundError,
    OtherPlatformError,
    QuotaError,
    RequestError,
    ScopeError,
    ThrottledError,
    TokenError,
    TooLargeError,
)

__all__ = [
    "AddressInUseError",
    "AmbiguousError",
    "BlobHiddenError",
    "BlobMissingError",
    "BlockedError",
    "CancelledError",
    "ConflictError",
    "ContentError",
    "CredentialsNeededError",
    "DamagedStoreError",
    "DatabaseUnavailableError",
    "DeadlineExceededError",
    "DecompressionError",
    "DeniedError",
    "DigestMismatchError",
    "DiskFullError",
    "EngineRunningError",
    "ExpansionError",
    "ForeignProcessError",
    "GoneError",
    "HandedBackError",
    "HomeUnusableError",
    "IncompleteBodyError",
    "InternalError",
    "Interruption",
    "InvalidArchiveError",
    "InvalidDigestError",
    "InvalidLayerError",
    "InvalidManifestError",
    "InvalidPlatformError",
    "InvalidPolicyError",
    "InvalidReferenceError",
    "InvalidSelectionError",
    "InvalidSpecError",
    "InvalidTimeError",
    "LeaseLostError",
    "ManifestNotFoundError",
    "MissingProgramError",
    "NotFoundError",
    "OtherPlatformError",
    "PartialError",
    "PlatformNotFoundError",
    "ProtocolError",
    "QuotaError",
    "RangeIgnoredError",
    "RecordedError",
    "RegistryError",
    "RegistryNotFoundError",
    "RegistryUnavailableError",
    "RepeatedCrashError",
    "ReportedError",
    "RequestError",
    "SchemaVersionError",
    "ScopeError",
    "ServerUnreachableError",
    "Side",
    "SizeMismatchError",
    "StoreError",
    "ThrottledError",
    "TlsError",
    "TokenError",
    "TooFewTagsError",
    "TooLargeError",
    "TooManyRequestsError",
    "TransshipError",
    "UnauthorizedError",
    "UnknownHostError",
    "UnreachableError",
    "UnsupportedCompressionError",
    "UnsupportedMediaTypeError",
    "UntrustedAddressError",
    "WrongSizeError",
    "named_apart",
    "sentence",
]
