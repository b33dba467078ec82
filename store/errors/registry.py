"""What registries refuse, or cannot do."""

from __future__ import annotations

from transship.store.errors.error import Side, TransshipError


class RegistryError(TransshipError):
    """A registry answered, and the answer is no.

    Args:
        registry: The host that answered.
        http_status: Its status, or 0.
        retry_after_seconds: How long it asked to be left alone.
    """

    code = "registry-error"
    side = Side.SOURCE

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

    @property
    def asks_for_patience(self) -> bool:
        """Whether the registry wants to be left alone for a while, however it is asked."""
        return self.retry_after_seconds is not None


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
    asks_for_patience = True


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
