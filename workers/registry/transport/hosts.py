"""How registries are reached: API host, TLS, plain HTTP, proxies, and whom we may be sent to."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import httpx

from transship.store.errors import RequestError
from transship.store.oci.reference import HUB
from transship.store.settings import Settings
from transship.workers.registry.transport.addresses import (
    HostList,
    is_loopback,
    parse_address,
    resolve,
)
from transship.workers.registry.transport.origins import split_host
from transship.workers.registry.transport.proxies import ProxyRules
from transship.workers.registry.transport.routes import Routes

_HUB_API = "registry-1.docker.io"


def api_host(host: str) -> str:
    """Return the host that serves the API for the registry called *host* in references."""
    return _HUB_API if host in {HUB, f"index.{HUB}"} else host


def default_certs_dirs(environ: Mapping[str, str]) -> tuple[Path, ...]:
    """Return where Docker and the containers family keep certificates; the first wins."""
    home = environ.get("HOME")
    own = (Path(home) / ".config/containers/certs.d",) if home else ()
    return (*own, Path("/etc/containers/certs.d"), Path("/etc/docker/certs.d"))


@dataclass(frozen=True)
class HostPolicy:
    """What the user allows; frozen, and shared by all threads of a process.

    Args:
        insecure: Hosts or CIDRs that may be spoken to in plain HTTP, and whose certificates are
            not checked unless a CA is given for them. Loopback always may.
        allow_private: Hosts or CIDRs that are private and that servers may still send us to.
        token_hosts: Hosts or CIDRs that are private and that tokens without `admin` may name.
        deny_private: Whether registries that users name may be private only if they are allowed,
            here or as insecure ones.
        certs_dirs: Directories that hold `<host[:port]>/*.crt`, `*.cert` and `*.key`, as Docker's
            `certs.d`; the first that has the host's directory is used.
        proxies: The proxies, and for whom they are not used.
        routes: Mirrors, and other places where reads go.
    """

    insecure: tuple[str, ...] = ()
    allow_private: tuple[str, ...] = ()
    token_hosts: tuple[str, ...] = ()
    deny_private: bool = False
    certs_dirs: tuple[Path, ...] = ()
    proxies: ProxyRules = field(default_factory=ProxyRules)
    routes: Routes = field(default_factory=Routes)

    @classmethod
    def from_settings(cls, settings: Settings, environ: Mapping[str, str]) -> HostPolicy:
        """Put the settings together with what Docker's own files and variables say."""
        own = (settings.certs_dir,) if settings.certs_dir is not None else ()
        routes = Routes.load(environ)
        return cls(
            insecure=(*settings.insecure_registries, *routes.insecure),
            allow_private=settings.allow_private,
            token_hosts=settings.token_hosts,
            deny_private=settings.private == "deny",
            certs_dirs=(*own, *default_certs_dirs(environ)),
            proxies=ProxyRules.from_environ(environ),
            routes=routes,
        )

    @cached_property
    def insecure_hosts(self) -> HostList:
        """The parsed form of *insecure*."""
        return HostList(self.insecure)

    @cached_property
    def private_hosts(self) -> HostList:
        """The parsed form of *allow_private*."""
        return HostList(self.allow_private)

    @cached_property
    def named_private_hosts(self) -> HostList | None:
        """The private hosts that users may name as registries; None: all of them."""
        return HostList((*self.allow_private, *self.insecure)) if self.deny_private else None

    @cached_property
    def tokens_private_hosts(self) -> HostList:
        """The private hosts that tokens without `admin` may name."""
        return HostList((*self.allow_private, *self.token_hosts))

    def allows_plain_http(self, host: str, port: int | None) -> bool:
        """Say whether *host* may be spoken to without TLS.

        A name counts as being in an insecure network if all its addresses are. Whoever connects
        checks the peer again.
        """
        if is_loopback(host) or self.insecure_hosts.names_host(host, port):
            return True
        if parse_address(host) is not None or not self.insecure_hosts.networks:
            return False
        try:
            addresses = resolve(host, port or 443)
        except OSError:
            return False  # the attempt to connect will say so
        return all(self.insecure_hosts.holds(found) for found in addresses)

    def certs_of(self, authority: str) -> Path | None:
        """Return the directory with the certificates for *authority*, `host` or `host:port`."""
        # The name becomes part of a path; a host cannot hold a slash, but check before use.
        if "/" in authority or authority in {"", ".", ".."}:
            return None
        for directory in self.certs_dirs:
            found = directory / authority
            try:
                if found.is_dir():
                    return found
            except OSError:
                continue  # not readable for us, so not meant for us
        return None

    def skips_verification(self, host: str, port: int, certs: Path | None) -> bool:
        """Say whether TLS with *host* goes unverified; *certs* as returned by `certs_of`.

        Where plain HTTP would do, TLS without a known certificate is not worse, as in Docker.
        Whoever connects checks the peer, by what this has said once.
        """
        return not _authorities(certs) and self.allows_plain_http(host, port)

    def tls_context(self, certs: Path | None, *, verified: bool) -> ssl.SSLContext:
        """Make a TLS context with the authorities and client certificates of *certs*.

        Raises:
            RequestError: a certificate or key cannot be read; names the directory.
        """
        authorities = _authorities(certs)
        if not verified:
            # To load the system's authorities for it would take longer than the connection.
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        else:
            context = _system_context()
        if certs is None:
            return context
        try:
            for authority in authorities:
                context.load_verify_locations(cafile=str(authority))
            for certificate in sorted(certs.glob("*.cert")):
                key = certificate.with_suffix(".key")
                if not key.is_file():
                    raise RequestError(
                        f"the key {key.name} of {certificate.name} is missing",
                        subject=str(certs),
                    )
                context.load_cert_chain(str(certificate), str(key))
        except (OSError, ssl.SSLError) as wrong:
            raise RequestError("a certificate or key cannot be read", subject=str(certs)) from wrong
        return context


def _authorities(certs: Path | None) -> list[Path]:
    return sorted(certs.glob("*.crt")) if certs is not None else []


def _system_context() -> ssl.SSLContext:
    paths = ssl.get_default_verify_paths()
    if not paths.cafile and not paths.capath:
        return httpx.create_ssl_context(trust_env=False)  # a bare container: the bundled list
    return ssl.create_default_context()


@dataclass(frozen=True, slots=True)
class RegistryHost:
    """A registry as references name it, and as it is reached."""

    name: str  # "docker.io", "localhost:5001"
    api: str  # "registry-1.docker.io", "localhost:5001"
    host: str  # without port and brackets
    port: int | None
    confined: bool = False  # a token without `admin` has named it

    @classmethod
    def of(cls, name: str, *, confined: bool = False) -> RegistryHost:
        """Read the domain of a reference."""
        api = api_host(name)
        host, port = split_host(api)
        return cls(name, api, host, port, confined)
