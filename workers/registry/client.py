"""The registry client, as the rest of the workers see it.

One `RegistryClient` per process, used from many threads at once; `Repository` is a cheap handle
on one repository with one credential. Every method raises only errors of the one tree. Errors
name the registry and the repository, and leave it to the caller to say which side of a job it was
on (`error.at(Side.…)`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from types import TracebackType
from typing import BinaryIO, Self

import httpx

from store.errors import InvalidReferenceError
from store.oci.descriptor import Descriptor
from store.oci.digest import Digest
from store.oci.manifest import Index, Manifest
from store.oci.reference import check_tag, parse_repository
from workers.registry import blobs, manifests, tags
from workers.registry.body import BlobBody
from workers.registry.connections import Connections
from workers.registry.credentials import Credential
from workers.registry.hosts import HostPolicy, RegistryHost
from workers.registry.network import Network
from workers.registry.ratelimits import RateLimit, read_rate_limit
from workers.registry.session import Session
from workers.registry.uploads import Upload, Uploader

USER_AGENT = "transship/0.1"


class RegistryClient:
    """Speaks to registries (OCI distribution specification 1.1) on behalf of all threads.

    Args:
        policy: What the user allows.
        user_agent: Sent with every request.
        on_rate_limit: Told whenever a registry says how much of its limit is left; called in the
            thread of the request, so it must be quick, and must not raise.
        transport: Takes the place of the network in tests.
    """

    def __init__(
        self,
        policy: HostPolicy,
        *,
        user_agent: str = USER_AGENT,
        on_rate_limit: Callable[[RateLimit], None] | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        def note(registry: RegistryHost, headers: httpx.Headers) -> None:
            limit = read_rate_limit(registry.name, headers)
            if limit is not None and on_rate_limit is not None:
                on_rate_limit(limit)

        self._connections = Connections(policy, user_agent=user_agent, transport=transport)
        self._network = Network(
            self._connections, on_rate_limit=None if on_rate_limit is None else note
        )

    def repository(self, name: str, *, credential: Credential | None = None) -> Repository:
        """Return a handle on *name*, normalised as `Reference.repository`. Sends nothing.

        Raises:
            InvalidReferenceError: not the name of a repository.
        """
        reference = parse_repository(name)
        session = Session(
            self._network, RegistryHost.of(reference.domain), reference.path, credential
        )
        return Repository(session, reference.repository)

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

    def __init__(self, session: Session, name: str) -> None:
        self._session = session
        self.name = name
        self.registry = session.registry.name

    def __repr__(self) -> str:
        return f"Repository({self.name!r})"

    # --- manifests -----------------------------------------------------------------------------

    def head_manifest(self, identifier: str) -> Descriptor | None:
        """Resolve a tag or digest; None if it is not there.

        HEAD, which does not count as a pull; the manifest is fetched only where HEAD does not
        tell digest, size and type, or is not allowed.
        """
        return manifests.head_manifest(self._session, identifier, self._named(identifier))

    def get_manifest(
        self, identifier: str, *, expected: Descriptor | None = None
    ) -> Manifest | Index:
        """Fetch a manifest or index by tag or digest; at most 4 MiB, and always hashed.

        *expected* says what the bytes must be, beyond what a digest in *identifier* says.

        Raises:
            ManifestNotFoundError: it is not there.
            DigestMismatchError, SizeMismatchError: these are other bytes.
            InvalidManifestError, UnsupportedMediaTypeError: not to be understood safely.
        """
        return manifests.get_manifest(
            self._session, identifier, self._named(identifier), expected=expected
        )

    def put_manifest(self, identifier: str, manifest: Manifest | Index) -> None:
        """Store the very bytes of *manifest* under a tag or its digest.

        Success means that the registry confirmed it, by digest where it names one.

        Raises:
            DigestMismatchError: it names another digest than that of the bytes sent.
        """
        manifests.put_manifest(self._session, identifier, manifest, self._named(identifier))

    def list_tags(self, *, page_size: int = 1000) -> Iterator[str]:
        """Yield the tags as they come, each once; the caller sorts.

        Raises:
            RegistryNotFoundError: no such repository.
        """
        return tags.list_tags(self._session, self.name, page_size=page_size)

    # --- blobs ---------------------------------------------------------------------------------

    def head_blob(self, digest: Digest) -> int | None:
        """Return the size of a blob; None if the repository does not hold it."""
        return blobs.head_blob(self._session, digest, self._named(str(digest)))

    def open_blob(
        self,
        descriptor: Descriptor,
        *,
        offset: int = 0,
        check: Callable[[], None] | None = None,
    ) -> AbstractContextManager[BlobBody]:
        """Open a blob from *offset* on; the request is sent on entering, leaving closes it.

        The body's `offset` says where its bytes begin: at 0, although more was asked for, if the
        registry ignores ranges; then the caller starts over. Nothing is sent if nothing is left.
        *check* is called about once a second while the answer is awaited, and may raise.

        Raises:
            RegistryNotFoundError: the repository does not hold it.
            SizeMismatchError: it is announced with another size.
            RangeIgnoredError: another range came than was asked for.
        """
        return blobs.open_blob(
            self._session,
            descriptor,
            self._named(str(descriptor.digest)),
            offset=offset,
            check=check,
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
        return self._uploader(str(digest)).mount(digest, source=source.path)

    def start_upload(self) -> Upload:
        """Open an upload session."""
        return self._uploader("").start()

    def resume_upload(self, location: str) -> Upload | None:
        """Ask how far the session kept as *location* is; None if a new one is needed."""
        return self._uploader("").resume(location)

    def upload_blob(
        self,
        digest: Digest,
        size: int,
        source: BinaryIO,
        *,
        upload: Upload | None,
        on_bytes: Callable[[int], None],
        check: Callable[[], None],
    ) -> None:
        """Upload a blob, and return when the registry has confirmed it.

        Args:
            digest: What the bytes hash to.
            size: Their exact number.
            source: The bytes from the current position on; seekable, for what was sent may have
                to be sent again. Not closed.
            upload: An open session, from `mount`, `start_upload` or `resume_upload`; without, one
                is opened. Of a resumed one only the rest is sent.
            on_bytes: Told how many bytes more were handed over, negative when they are sent
                again; the sum is how far the blob is.
            check: Called between pieces of at most 1 MiB, and about once a second while waiting;
                what it raises ends the upload and closes the connection. The session stays: see
                `cancel_upload`.

        Raises:
            SizeMismatchError: *source* is shorter than *size*.
            DigestMismatchError: the registry names another digest.
        """
        self._uploader(str(digest)).upload(
            digest, size, source, upload=upload, on_bytes=on_bytes, check=check
        )

    def cancel_upload(self, upload: Upload) -> None:
        """Ask the registry to forget a session. Best effort: a refusal is ignored."""
        self._uploader("").cancel(upload)

    # --- names in errors -----------------------------------------------------------------------

    def _named(self, identifier: str) -> str:
        """Check a tag or digest, which becomes part of a URL, and return the full reference."""
        if ":" in identifier:
            return f"{self.name}@{Digest.parse(identifier)}"
        return f"{self.name}:{check_tag(identifier)}"

    def _uploader(self, digest: str) -> Uploader:
        return Uploader(self._session, self._named(digest) if digest else self.name)
