"""Which proxy a request goes through, by the rules of Go's `http.ProxyFromEnvironment`.

Registries are used next to Docker, whose daemon follows these rules: users set the variables
once. Python's own reading of NO_PROXY knows neither networks nor ports.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from transship.store.errors import RequestError
from transship.workers.registry.transport.addresses import Network, parse_address
from transship.workers.registry.transport.origins import Origin, split_host


@dataclass(frozen=True, slots=True)
class _Exception:
    """One entry of NO_PROXY that names a host."""

    name: str
    port: int | None
    itself: bool  # False for `.example.org`: only what is below it

    def matches(self, origin: Origin) -> bool:
        if self.port is not None and self.port != origin.port:
            return False
        return (self.itself and origin.host == self.name) or origin.host.endswith(f".{self.name}")


@dataclass(frozen=True, slots=True)
class ProxyRules:
    """The proxies of a process; an empty value never uses one."""

    https: str = field(default="", repr=False)  # may hold a password
    http: str = field(default="", repr=False)
    none_for: str = ""
    _everything: bool = field(init=False, default=False, repr=False)
    _networks: tuple[tuple[Network, int | None], ...] = field(init=False, default=(), repr=False)
    _names: tuple[_Exception, ...] = field(init=False, default=(), repr=False)

    def __post_init__(self) -> None:
        networks: list[tuple[Network, int | None]] = []
        names: list[_Exception] = []
        for entry in (part.strip().lower() for part in self.none_for.split(",")):
            if not entry:
                continue
            if entry == "*":
                object.__setattr__(self, "_everything", True)
                continue
            try:
                networks.append((ipaddress.ip_network(entry.strip("[]"), strict=False), None))
                continue
            except ValueError:
                name, port = split_host(entry)
            address = parse_address(name)
            if address is not None:
                networks.append((ipaddress.ip_network(address), port))
                continue
            itself = not name.startswith((".", "*."))
            names.append(_Exception(name.removeprefix("*").removeprefix("."), port, itself))
        object.__setattr__(self, "_networks", tuple(networks))
        object.__setattr__(self, "_names", tuple(names))

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> ProxyRules:
        """Read HTTPS_PROXY, HTTP_PROXY and NO_PROXY; the upper-case name wins.

        Raises:
            RequestError: a proxy is not an http or https URL. The value is not shown.
        """

        def value(name: str) -> str:
            return environ.get(name) or environ.get(name.lower()) or ""

        return cls(
            https=_proxy_url("HTTPS_PROXY", value("HTTPS_PROXY")),
            http=_proxy_url("HTTP_PROXY", value("HTTP_PROXY")),
            none_for=value("NO_PROXY"),
        )

    def proxy_for(self, origin: Origin) -> str | None:
        """Return the URL of the proxy for *origin*, or None to connect directly."""
        proxy = self.https if origin.scheme == "https" else self.http
        if not proxy or self._everything:
            return None
        address = parse_address(origin.host)
        if origin.host == "localhost" or (address is not None and address.is_loopback):
            return None
        if address is not None:
            for network, port in self._networks:
                if address in network and (port is None or port == origin.port):
                    return None
        if any(entry.matches(origin) for entry in self._names):
            return None
        return proxy


def _proxy_url(name: str, value: str) -> str:
    if not value:
        return ""
    url = value if "://" in value else f"http://{value}"
    try:
        parts = urlsplit(url)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise RequestError(
            "not a proxy that can be used",
            subject=name,
            hint="http://HOST:PORT and https://HOST:PORT are known",
        )
    return url
