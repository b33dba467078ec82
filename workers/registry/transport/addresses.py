"""Which network addresses may be connected to.

A host that the user names may be private, unless the operator denies it, or the user is a token
without `admin`: that may name those which are listed. A host that a server names may not, unless it
is the registry's own or was allowed. Link-local and metadata addresses are nobody's registry. An
IPv6 address in which an IPv4 address is embedded is judged by both. The decision is made on the
address that is about to be connected to, never on a name alone.
"""

from __future__ import annotations

import ipaddress
import socket
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

from transship.store.errors import UntrustedAddressError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
# RFC 6052, section 2.2: the lengths of prefixes, behind which bits 64 to 71 are left out.
_NAT64_LOCAL = ipaddress.IPv6Network("64:ff9b:1::/48")
_COMPATIBLE = ipaddress.IPv6Network("::/96")
_ISATAP = (0x00005EFE, 0x02005EFE)  # RFC 5214, section 6.1: the upper half of the interface id
_METADATA = frozenset(
    ipaddress.ip_address(text)
    for text in (
        *("169.254.169.254", "fd00:ec2::254", "fd20:ce::254"),  # what most clouds have
        "168.63.129.16",  # Azure's
        "100.100.100.200",  # Alibaba's
        "192.0.0.192",  # Oracle's
    )
)


def parse_address(text: str) -> Address | None:
    """Return the address that *text* is, unwrapped, or None where it is a name."""
    try:
        return unwrapped(ipaddress.ip_address(text.strip("[]").partition("%")[0]))
    except ValueError:
        return None


def unwrapped(address: Address) -> Address:
    """Return the IPv4 address that an IPv6 address stands for, else *address* itself."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address.sixtofour is not None:
            return address.sixtofour
        if address in _NAT64:
            return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def is_loopback(host: str) -> bool:
    """Say whether *host*, `localhost` or an address, is this machine for itself; no name is."""
    address = parse_address(host)
    return host == "localhost" or (address is not None and address.is_loopback)


def is_forbidden(address: Address) -> bool:
    """Say whether nobody may send us to *address*."""
    return any(
        one in _METADATA or one.is_link_local or one.is_multicast or one.is_unspecified
        for one in (address, *_embedded(address))
    )


def is_private(address: Address) -> bool:
    """Say whether *address* is anything else than a public one."""
    return not all(one.is_global for one in (address, *_embedded(address)))


def _embedded(address: Address) -> Iterator[ipaddress.IPv4Address]:
    """The IPv4 addresses that a gateway may read out of an IPv6 address."""
    if isinstance(address, ipaddress.IPv4Address):
        return
    bits = int(address)
    last = bits & 0xFFFFFFFF
    if address.ipv4_mapped is not None or address in _NAT64 or address in _COMPATIBLE:
        yield ipaddress.IPv4Address(last)
    if address.sixtofour is not None:
        yield address.sixtofour
    if address.teredo is not None:
        yield from address.teredo
    if address in _NAT64_LOCAL:
        yield ipaddress.IPv4Address(last)  # behind a prefix of 96 bits
        yield ipaddress.IPv4Address((bits >> 64 & 0xFFFF) << 16 | bits >> 40 & 0xFFFF)  # of 48
    if bits >> 32 & 0xFFFFFFFF in _ISATAP:
        yield ipaddress.IPv4Address(last)


def resolve(host: str, port: int) -> list[Address]:
    """Return the addresses of *host* in the resolver's order, each once.

    Raises:
        OSError: (`socket.gaierror`) the name does not resolve.
    """
    literal = parse_address(host)
    if literal is not None:
        return [literal]
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    texts = dict.fromkeys(str(entry[4][0]).partition("%")[0] for entry in found)
    return [unwrapped(ipaddress.ip_address(text)) for text in texts]


@dataclass(frozen=True, slots=True)
class HostList:
    """Hosts and networks as settings name them: `host`, `host:port`, an address, a CIDR."""

    entries: tuple[str, ...] = ()
    networks: tuple[Network, ...] = field(init=False, default=())
    names: frozenset[str] = field(init=False, default=frozenset())

    def __post_init__(self) -> None:
        networks: list[Network] = []
        names: set[str] = set()
        for entry in self.entries:
            try:
                networks.append(ipaddress.ip_network(entry.strip("[]"), strict=False))
            except ValueError:
                names.add(entry.lower())
        object.__setattr__(self, "networks", tuple(networks))
        object.__setattr__(self, "names", frozenset(names))

    def names_host(self, host: str, port: int | None = None) -> bool:
        """Say whether *host* is listed by name (a listed port counts), or is a listed address."""
        host = host.lower()
        shown = f"[{host}]" if ":" in host else host
        if host in self.names or (port is not None and f"{shown}:{port}" in self.names):
            return True
        address = parse_address(host)
        return address is not None and self.holds(address)

    def holds(self, address: Address) -> bool:
        """Say whether *address* lies in a listed network."""
        return any(address in network for network in self.networks)


class KnownPeers:
    """The addresses at which registries that users named were reached, by host name."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._addresses: dict[str, frozenset[Address]] = {}

    def learn(self, host: str, addresses: Iterable[Address]) -> None:
        """Remember that *host* was reached at *addresses*."""
        with self._lock:
            self._addresses[host] = self._addresses.get(host, frozenset()) | frozenset(addresses)

    def of(self, host: str) -> frozenset[Address]:
        """Return what is known of *host*."""
        return self._addresses.get(host, frozenset())


class PeerRule(Protocol):
    """Decides which peers a pool may connect to."""

    def check(self, host: str, port: int, address: Address) -> None:
        """Raise UntrustedAddressError unless *address*, of *host*, may be connected to."""

    def connected(self, host: str, address: Address, resolved: list[Address]) -> None:
        """Take note that *host*, resolved so, was reached at *address*."""


class NamedByUser:
    """The rule for registries themselves: anything but addresses that are nobody's registry.

    Where *private* is given, of private addresses only those may be connected to that it lists;
    *confined*: since it is a token without `admin` that names them.
    """

    def __init__(
        self, peers: KnownPeers, *, private: HostList | None = None, confined: bool = False
    ) -> None:
        self._peers = peers
        self._private = private
        self._confined = confined

    def check(self, host: str, port: int, address: Address) -> None:
        """Raise UntrustedAddressError unless *address* may be connected to."""
        if is_forbidden(address):
            raise UntrustedAddressError(
                f"{host} resolves to {address}, which is no registry's address",
                registry=host,
            )
        private = self._private
        if (
            private is not None
            and is_private(address)
            and not private.names_host(host, port)
            and not private.holds(address)
        ):
            if self._confined:
                raise UntrustedAddressError(
                    f"{host} has a private address, which a token without 'admin' may not name",
                    registry=host,
                    hint="if that is intended, name the host in TRANSSHIP_TOKEN_HOSTS",
                )
            raise UntrustedAddressError(
                f"{host} is at {address}, a private address, and TRANSSHIP_PRIVATE=deny refuses it",
                registry=host,
                hint="if that is intended, name the host in TRANSSHIP_ALLOW_PRIVATE",
            )

    def connected(self, host: str, address: Address, resolved: list[Address]) -> None:
        """Remember the peer; all of the host's addresses where none is public."""
        everywhere = all(is_private(other) for other in resolved)
        self._peers.learn(host, resolved if everywhere else [address])


class Unproven:
    """Over *rule*: the peer of a connection that no certificate proves is one that needs none.

    That is in plain HTTP, and TLS that is not verified. A resolver that names a listed address
    when it is asked whether TLS may be gone without, and another when it is asked where to
    connect, must not be enough to take TLS away.
    """

    def __init__(self, rule: PeerRule, listed: HostList) -> None:
        self._rule = rule
        self._listed = listed

    def check(self, host: str, port: int, address: Address) -> None:
        """Raise UntrustedAddressError unless *address* may be connected to."""
        self._rule.check(host, port, address)
        listed = self._listed
        if address.is_loopback or listed.names_host(host, port) or listed.holds(address):
            return
        raise UntrustedAddressError(
            f"{host} is at {address}, to which nothing may go without TLS that is verified",
            registry=host,
            hint="name the host or its network in TRANSSHIP_INSECURE_REGISTRIES",
        )

    def connected(self, host: str, address: Address, resolved: list[Address]) -> None:
        """Learn what *rule* learns."""
        self._rule.connected(host, address, resolved)


class GivenByServer:
    """The rule for token realms, upload locations, redirects and foreign layers."""

    def __init__(self, registry_host: str, peers: KnownPeers, allowed: HostList) -> None:
        self._registry_host = registry_host
        self._peers = peers
        self._allowed = allowed

    def check(self, host: str, port: int, address: Address) -> None:
        """Raise UntrustedAddressError unless a server may send us to *address*."""
        if not is_forbidden(address) and (
            not is_private(address)
            or self._allowed.names_host(host, port)
            or self._allowed.holds(address)
            or address in self._peers.of(self._registry_host)
        ):
            return
        raise UntrustedAddressError(
            f"redirected to {host} at {address}, which is not allowed",
            registry=self._registry_host,
            hint="if that is intended, name the host in TRANSSHIP_ALLOW_PRIVATE",
        )

    def connected(self, host: str, address: Address, resolved: list[Address]) -> None:
        """Nothing is learned from where servers send us."""


class NamedInRequest:
    """The rule for URLs of imports and webhooks: public addresses, and those that are allowed.

    A request may come from somebody who cannot reach this network himself.
    """

    def __init__(self, allowed: HostList) -> None:
        self._allowed = allowed

    def check(self, host: str, port: int, address: Address) -> None:
        """Raise UntrustedAddressError unless a request may send us to *address*."""
        if is_forbidden(address):
            raise UntrustedAddressError(
                f"it resolves to {address}, a blocked address", registry=host
            )
        if (
            is_private(address)
            and not self._allowed.names_host(host, port)
            and not self._allowed.holds(address)
        ):
            raise UntrustedAddressError(
                f"it is at {address}, a private address",
                registry=host,
                hint="if that is intended, name the host in TRANSSHIP_ALLOW_PRIVATE",
            )

    def connected(self, host: str, address: Address, resolved: list[Address]) -> None:
        """Nothing is learned from where a request sends us."""


class ProxyItself:
    """The rule for a proxy: the user named it. Where it goes is checked by name beforehand."""

    def check(self, host: str, port: int, address: Address) -> None:
        """Every address will do."""

    def connected(self, host: str, address: Address, resolved: list[Address]) -> None:
        """A proxy's address says nothing about a registry."""
