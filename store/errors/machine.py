"""What this machine, its store or its database cannot do."""

from __future__ import annotations

from transship.store.errors.error import Side, TransshipError


class StoreError(TransshipError):
    """The store, the catalog or the machine below them failed."""

    code = "store-error"
    side = Side.STORE


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
    retryable = True
