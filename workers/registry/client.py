"""The registry client, as the rest of the workers see it.

One `RegistryClient` per process, used from many threads at once; `Repository` is a cheap handle
on one repository with one credential. Every method raises only errors of the one tree. Errors
name the registry and the repository, and leave it to the caller to say which side of a job it was
on (`error.at(Side.…)`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from types import TracebackType
from typing import BinaryIO, Self, TypeVar

import httpx

from transship.store.errors import BlockedError, ContentError, InvalidReferenceError, RegistryError
from transship.store.oci.descriptor import Descriptor
from transship.store.oci.digest import Digest
from transship.store.oci.manifest import Index, Manifest
from transship.store.oci.reference import check_tag, parse_domain, parse_repository
from transship.workers.registry import blobs, manifests, referrers, tags
from transship.workers.registry.auth.credentials import Credential
from transship.workers.registry.body import BlobBody
from transship.workers.registry.flow_control.health import RegistryHealth
from transship.workers.registry.flow_control.pacing import Pacer
from transship.workers.registry.flow_control.ratelimits import RateLimit
from transship.workers.registry.login import check_login
from transship.workers.registry.network import Network
from transship.workers.registry.referrers import Referrers
from transship.workers.registry.search import Result, search
from transship.workers.registry.session import Session
from transship.workers.registry.transport.connections import Connections
from transship.workers.registry.transport.hosts import HostPolicy, RegistryHost
from transship.workers.registry.transport.routes import Endpoint
from transship.workers.registry.upload_sessions import Upload, UploadSessions
from transship.workers.registry.uploads import Uploader

log = logging.getLogger(__name__)
T = TypeVar("T")

USER_AGENT = "transship/0.1"


class RegistryClient:
    """Speaks to registries (OCI distribution specification 1.1) on behalf of all threads.

    Args:
        policy: What the user allows.
        user_agent: Sent with every request.
        on_rate_limit: Told whenever a registry says how much of its limit is left; called in the
            thread of the request, so it must be quick, and must not raise.
        pacer: Says how long requests and bytes have to wait.
        health: Is told which registries answer, and which do not.
        transport: Takes the place of the network in tests.
    """

    def __init__(
        self,
        policy: HostPolicy,
        *,
        user_agent: str = USER_AGENT,
        on_rate_limit: Callable[[RateLimit], None] | None = None,
        pacer: Pacer | None = None,
        health: RegistryHealth | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._connections = Connections(policy, user_agent=user_agent, transport=transport)
        self._network = Network(
            self._connections,
            on_rate_limit=on_rate_limit,
            pacer=pacer,
            health=health,
        )

    @property
    def policy(self) -> HostPolicy:
        """What the user allows."""
        return self._network.connections.policy

    def repository(
        self,
        name: str,
        *,
        credential: Credential | None = None,
        mirrored: bool = False,
        confined: bool = False,
    ) -> Repository:
        """Return a handle on *name*, normalised as `Reference.repository`. Sends nothing.

        With *mirrored*, reads ask the mirrors of `registries.conf` first. The credential goes to
        the registry that was named, and to no mirror elsewhere. With *confined*, which is for what
        tokens without `admin` name, it must not be private unless it is listed.

        Raises:
            InvalidReferenceError: not the name of a repository.
            BlockedError: `registries.conf` blocks it.
        """
        reference = parse_repository(name)
        route = self._network.connections.policy.routes.of(reference.repository)
        if route.blocked:
            raise BlockedError(
                "registries.conf of this server blocks it",
                registry=reference.domain,
                subject=reference.repository,
            )

        def session(at: str) -> Session:
            place = parse_repository(at)
            is_named = place.domain == reference.domain  # else the operator has named it
            host = RegistryHost.of(place.domain, confined=confined and is_named)
            return Session(self._network, host, place.path, credential if is_named else None)

        named = session(reference.repository)
        if not mirrored:
            return Repository(named, reference.repository)
        return Repository(
            named,
            reference.repository,
            origin=session(route.origin),
            mirrors=[(stop, session(stop.name)) for stop in route.mirrors],
        )

    def search(self, term: str, *, limit: int, confined: bool = False) -> list[Result]:
        """Ask an index of images for *term*; a host in front of it names another than Docker's.

        *confined* as for `repository`.

        Raises:
            InvalidSpecError: not a term.
            RegistryError: the index cannot be reached, or does not answer as one.
        """
        return search(self._network, term, limit=limit, confined=confined)

    def check_login(self, registry: str, credential: Credential) -> bool:
        """Sign in at *registry*, as references name it, and say whether it has asked for that.

        One that asks nobody for credentials has accepted these without looking at them.

        Raises:
            InvalidReferenceError: not the name of a registry.
            UnauthorizedError, DeniedError: it does not accept them.
            RegistryError: it cannot be reached, or does not answer as a registry.
        """
        return check_login(self._network, RegistryHost.of(parse_domain(registry)), credential)

    def probe(self, registry: str, token: float) -> None:
        """Tell `health` at once of the next answer of *registry*, or that there is none."""
        self._network.health.probe(registry, token)

    def close(self) -> None:
        """Close every connection. Requests under way fail."""
        self._connections.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class Repository:
    """One repository, with one credential. Made by `RegistryClient.repository`.

    Any method may raise, besides what it names: UnauthorizedError, DeniedError,
    TooManyRequestsError, RegistryUnavailableError, UnreachableError, TlsError, ProtocolError,
    UntrustedAddressError, and RegistryError for any other refusal.
    """

    def __init__(
        self,
        session: Session,
        name: str,
        *,
        origin: Session | None = None,
        mirrors: Sequence[tuple[Endpoint, Session]] = (),
    ) -> None:
        self._session = session
        self._origin = origin or session  # reads go there, after the mirrors
        self._mirrors = mirrors
        self.name = name
        self.registry = session.registry.name

    def __repr__(self) -> str:
        return f"Repository({self.name!r})"

    # --- manifests -----------------------------------------------------------------------------

    def head_manifest(self, identifier: str, *, sure: bool = False) -> Descriptor | None:
        """Resolve a tag or digest; None if it is not there.

        HEAD, which does not count as a pull; the manifest is fetched only where HEAD does not
        tell digest, size and type, or is refused. Who must be *sure* gets None only where a GET
        finds nothing, too.
        """
        named = self._named(identifier)
        return self._read(
            identifier, lambda at: manifests.head_manifest(at, identifier, named, sure=sure)
        )

    def get_manifest(self, identifier: str) -> Manifest | Index:
        """Fetch a manifest or index by tag or digest; at most 4 MiB, and always hashed.

        Raises:
            ManifestNotFoundError: it is not there.
            DigestMismatchError: these are other bytes.
            InvalidManifestError, UnsupportedMediaTypeError: not to be understood safely.
        """
        named = self._named(identifier)
        return self._read(identifier, lambda at: manifests.get_manifest(at, identifier, named))

    def put_manifest(self, identifier: str, manifest: Manifest | Index) -> None:
        """Store the very bytes of *manifest* under a tag or its digest.

        Success means that the registry confirmed it, or that it was read back where the answer
        leaves that open.

        Raises:
            DigestMismatchError: it has stored other bytes than those sent.
        """
        manifests.put_manifest(self._session, identifier, manifest, self._named(identifier))

    def list_tags(
        self, *, page_size: int = 1000, left_out: Callable[[str], None] = lambda _: None
    ) -> Iterator[str]:
        """Yield the tags as they come, each once; the caller sorts.

        What cannot be a tag is *left out*, which is told how it looks.

        Raises:
            RegistryNotFoundError: no such repository.
        """
        return tags.list_tags(self._origin, self.name, page_size=page_size, left_out=left_out)

    @property
    def may_list_referrers(self) -> bool:
        """Whether the registry may have the API for referrers: it has not refused it yet."""
        return referrers.may_list(self._origin)

    def list_referrers(self, digest: Digest, *, tagged: bool = True) -> Referrers:
        """What refers to the manifest *digest*: by the API, else by the fallback tag.

        A registry that refuses the API is not asked for it again for an hour. Without *tagged* the
        repository is known to have no such tag.
        """
        named = self._named(str(digest))
        return referrers.list_referrers(self._origin, digest, named, tagged=tagged)

    def add_referrers(self, digest: Digest, added: Sequence[Descriptor]) -> None:
        """Add to what the fallback tag of *digest* lists; nobody else may do so meanwhile.

        Raises:
            ConflictError: the tag is in use for something else.
        """
        referrers.add_to_fallback(self._session, digest, added)

    def page_of_tags(
        self, after: str | None = None, *, page_size: int = 1000
    ) -> tuple[list[str], str | None]:
        """Return one page of tags, in the registry's order, and where the next begins, if any.

        *after* is what the page before returned. What cannot be a tag is left out.

        Raises:
            RegistryNotFoundError: no such repository.
            RequestError: *after* is nothing that a page returned.
        """
        query = tags.first_page(page_size) if after is None else after
        return tags.page_of_tags(self._origin, self.name, query)

    # --- blobs ---------------------------------------------------------------------------------

    def head_blob(self, digest: Digest, *, sure: bool = False) -> int | None:
        """Return the size of a blob; None if the repository does not hold it.

        *sure* as for `head_manifest`.
        """
        named = self._named(str(digest))
        return self._read(str(digest), lambda at: blobs.head_blob(at, digest, named, sure=sure))

    @contextmanager
    def open_blob(
        self,
        descriptor: Descriptor,
        *,
        offset: int = 0,
        check: Callable[[], None] | None = None,
    ) -> Iterator[BlobBody]:
        """Open a blob from *offset* on; the request is sent on entering, leaving closes it.

        The body's `offset` says where its bytes begin: at 0, although more was asked for, if the
        registry ignores ranges; then the caller starts over. Nothing is sent if nothing is left.
        *check* is called about once a second while the answer is awaited, and may raise.

        Raises:
            RegistryNotFoundError: the repository does not hold it.
            SizeMismatchError: it is announced with another size.
            RangeIgnoredError: another range came than was asked for.
        """
        named = self._named(str(descriptor.digest))
        with ExitStack() as opened:
            yield self._read(
                str(descriptor.digest),
                lambda at: opened.enter_context(
                    blobs.open_blob(at, descriptor, named, offset=offset, check=check)
                ),
            )

    # --- uploads -------------------------------------------------------------------------------

    def mount(self, digest: Digest, *, from_repository: str) -> Upload | None:
        """Take a blob over from another repository of this registry, without its bytes.

        *from_repository* is its normalised name, with the registry.

        Returns:
            None if the blob is now there, else an open upload session to use or cancel.

        Raises:
            InvalidReferenceError: a repository of another registry.
        """
        source = parse_repository(from_repository)
        if source.domain != self._session.registry.name:
            raise InvalidReferenceError(
                f"not at {self.registry}, and cannot be mounted there",
                subject=from_repository,
            )
        return self._sessions(str(digest)).mount(digest, source=source.path)

    def start_upload(self) -> Upload:
        """Open an upload session."""
        return self._sessions("").start()

    def resume_upload(self, upload: Upload) -> Upload | None:
        """Ask how far a session that was kept is; None if a new one is needed."""
        return self._sessions("").resume(upload)

    def upload_blob(
        self,
        digest: Digest,
        size: int,
        source: BinaryIO,
        *,
        upload: Upload | None,
        on_bytes: Callable[[int], None],
        check: Callable[[], None],
        keep: Callable[[Upload | None], None] = lambda _: None,
    ) -> None:
        """Upload a blob, and return when the registry has confirmed it.

        From 64 MiB on it goes in chunks of 16 MiB where the registry takes them, and the session
        can be taken up again after each.

        Args:
            digest: What the bytes hash to.
            size: Their exact number.
            source: The bytes from the current position on; seekable, for what was sent may have
                to be sent again. Not closed.
            upload: An open session, from `mount`, `start_upload` or `resume_upload`; without, one
                is opened. Of a resumed one only the rest is sent.
            on_bytes: Told how many bytes more were handed over, negative when they are sent
                again; the sum, and the offset of *upload*, is how far the blob is.
            check: Called between pieces of at most 1 MiB, and about once a second while waiting;
                what it raises ends the upload and closes the connection. The session stays: see
                `cancel_upload`.
            keep: Given the session whenever it has moved on, before more is sent, and None when
                it is not to be taken up again. What it raises ends the upload.

        Raises:
            SizeMismatchError: *source* is shorter than *size*.
            DigestMismatchError: the registry names another digest.
            RegistryUnavailableError: also when the session is lost.
        """
        Uploader(self._session, self._named(str(digest))).upload(
            digest, size, source, upload=upload, on_bytes=on_bytes, check=check, keep=keep
        )

    def cancel_upload(self, upload: Upload) -> None:
        """Ask the registry to forget a session. Best effort: a refusal is ignored."""
        self._sessions("").cancel(upload)

    # --- inside --------------------------------------------------------------------------------

    def _read(self, identifier: str, ask: Callable[[Session], T]) -> T:
        """Ask the mirrors that may be asked, one after the other, and then the origin."""
        for stop, mirror in self._mirrors:
            if not stop.serves(identifier):
                continue
            try:
                found = ask(mirror)
            except (RegistryError, ContentError) as failed:
                log.info("mirror %s: %s", stop.name, failed)
                continue
            if found is not None:
                return found
        return ask(self._origin)

    def _named(self, identifier: str) -> str:
        """Check a tag or digest, which becomes part of a URL, and return the full reference."""
        if ":" in identifier:
            return f"{self.name}@{Digest.parse(identifier)}"
        return f"{self.name}:{check_tag(identifier)}"

    def _sessions(self, digest: str) -> UploadSessions:
        return UploadSessions(self._session, self._named(digest) if digest else self.name)
