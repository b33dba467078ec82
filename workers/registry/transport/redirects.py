"""Where a server may send us next. Pure: the network is asked elsewhere.

Addresses behind names are checked when connecting (`addresses`); here it is schemes and hops.
"""

from __future__ import annotations

from transship.store.errors import ProtocolError, UntrustedAddressError
from transship.workers.registry.transport.hosts import HostPolicy, RegistryHost
from transship.workers.registry.transport.origins import Origin, absolute, origin_of

_FOLLOWED = frozenset({301, 302, 303, 307, 308})
_KEEPS_METHOD = frozenset({307, 308})


def is_redirect(status: int) -> bool:
    """Say whether *status* asks to go elsewhere."""
    return status in _FOLLOWED


def next_url(status: int, method: str, location: str | None, *, url: str) -> str:
    """Return where an answer to *method* on *url* sends us.

    Raises:
        ProtocolError: no usable Location, or a redirect that would turn a write into a read.
    """
    if method not in {"GET", "HEAD"} and status not in _KEEPS_METHOD:
        raise ProtocolError(f"answered {status} to {method}, which cannot be followed")
    return absolute(location or "", base=url)


def check_step(before: Origin, url: str, registry: RegistryHost, policy: HostPolicy) -> Origin:
    """Return the origin of *url*, given by a server at *before*, if it may be gone to.

    Raises:
        UntrustedAddressError: from https to http, or plain HTTP where it may not be spoken.
        ProtocolError: not a URL that may be followed.
    """
    after = origin_of(url)
    if after.scheme == "https":
        return after
    if before.scheme == "https":
        raise UntrustedAddressError(
            f"the registry sent us from https to plain HTTP, to {after.host}",
            registry=registry.name,
            hint="a proxy before the registry may not tell it that it is reached by https",
        )
    if after.host != registry.host and not policy.allows_plain_http(after.host, after.port):
        raise UntrustedAddressError(
            f"the registry sent us to {after.host} in plain HTTP",
            registry=registry.name,
            hint="name it in TRANSSHIP_INSECURE_REGISTRIES if that is intended",
        )
    return after
