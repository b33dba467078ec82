"""Where a URL points to, and how a URL that a server gives is read.

An origin is scheme, host and port: credentials are tied to it. URLs stay text throughout, for a
signed query must reach the server as it was given.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urljoin, urlsplit

import httpx

from transship.store.errors import ProtocolError

_DEFAULT_PORTS = {"http": 80, "https": 443}
# What everybody reads alike: nearly every URL there is. A last label of digits may be an address,
# which is written in several ways.
_PLAIN = re.compile(
    r"(https?)://(?![^/?#]*xn--)((?:[a-z0-9-]+\.)*[a-z][a-z0-9-]*|127\.0\.0\.1)(?::([1-9][0-9]{1,3}|[1-5][0-9]{4}))?"
    r"(?:/[A-Za-z0-9/._~:+=%-]*(?:\?[A-Za-z0-9/._~:+=%&-]*)?)?\Z"
)
_MAX_PLAIN = 4096
_TARGET = re.compile(r"[/?]")
_UNSAFE = re.compile(r"[\x00-\x20\x7f\\]|[^\x00-\x7f]")


@dataclass(frozen=True, slots=True)
class Origin:
    """Scheme, lower-case host without brackets, and port; the default port is filled in."""

    scheme: str
    host: str
    port: int

    @property
    def authority(self) -> str:
        """Host and port as a user would write them: no default port, brackets around IPv6."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}"


def origin_of(url: str) -> Origin:
    """Return the origin of an absolute http or https URL.

    Raises:
        ProtocolError: another scheme, user information, characters that two parsers could read
            differently, or no host.
    """
    plain = _PLAIN.match(url)
    if plain is not None and len(url) <= _MAX_PLAIN:  # the same, sooner
        scheme, host, port_text = plain.groups()
        default = _DEFAULT_PORTS[scheme]
        return Origin(scheme, host, int(port_text) if port_text else default)
    if _UNSAFE.search(url):
        raise ProtocolError("a URL with characters that no URL may have")
    try:
        parts = urlsplit(url)
        scheme, host, port = (
            parts.scheme.lower(),
            (parts.hostname or "").lower(),
            parts.port,
        )
        seen = httpx.URL(url)
    except (ValueError, httpx.InvalidURL):
        raise ProtocolError("a URL that cannot be read") from None
    if scheme not in _DEFAULT_PORTS:
        raise ProtocolError("a URL that is neither http nor https")
    if "@" in parts.netloc:
        raise ProtocolError("a URL with user information")
    # The checks are made on what urlsplit sees, the connection on what httpx sees.
    if not host or seen.host.lower() != host or (seen.port or None) != _explicit(scheme, port):
        raise ProtocolError("a URL without a clear host")
    return Origin(scheme, host, _DEFAULT_PORTS[scheme] if port is None else port)


def _explicit(scheme: str, port: int | None) -> int | None:
    return None if port == _DEFAULT_PORTS[scheme] else port


def absolute(given: str, *, base: str) -> str:
    """Resolve *given*, a Location or Link target, against *base*; a fragment is dropped.

    Raises:
        ProtocolError: *given* is empty or not a URL that may be followed.
    """
    if not given or _UNSAFE.search(given):
        raise ProtocolError("answered without a usable Location")
    try:
        url = urljoin(base, given).partition("#")[0]
    except ValueError:
        raise ProtocolError("answered without a usable Location") from None
    origin_of(url)
    return url


def with_query(url: str, query: str) -> str:
    """Append *query* as raw text; what is there stays byte for byte (protocol A2)."""
    return f"{url}{'&' if '?' in url else '?'}{query}"


def target_of(url: str) -> str:
    """What is asked for, of an absolute URL that has an origin: path and query, byte for byte."""
    after = url.partition("#")[0].partition("://")[2]
    begin = _TARGET.search(after)
    target = "" if begin is None else after[begin.start() :]
    return target if target.startswith("/") else f"/{target}"


def without_query(url: str) -> str:
    """Return *url* as messages may show it: queries carry signatures."""
    return url.partition("?")[0]


def split_host(host: str) -> tuple[str, int | None]:
    """Split `host[:port]`, as in a reference, into lower-case name without brackets and port."""
    name, colon, port = host.rpartition(":")
    if colon and port.isdigit() and (":" not in name or name.startswith("[")):
        return name.strip("[]").lower(), int(port)
    return host.strip("[]").lower(), None
