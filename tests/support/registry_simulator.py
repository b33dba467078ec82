"""A registry in memory, for what Debian's cannot show.

It follows the distribution specification: chunks in order, 416 and the true offset for any other,
sessions that outlive a cut body, and no byte stored that does not hash to its name. `Quirks` are
the ways in which hosted registries differ (protocol A8). Run by hand it serves until Ctrl-C:

    python -m tests.support.registry_simulator --listen 127.0.0.1:5009 --like ecr
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import re
import secrets
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, BinaryIO, Self, cast
from urllib.parse import parse_qs, urlsplit

PIECE_BYTES = 64 * 1024
MIB = 1024 * 1024
_PATH = re.compile(
    r"/v2/(?P<name>.+?)/(?P<what>blobs/uploads|blobs|manifests|referrers|tags)/(?P<id>[^/]*)"
)
_RANGE = re.compile(r"bytes=(\d+)-(\d+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Quirks:
    """How a registry differs from the specification, or uses the freedom that it leaves.

    Args:
        chunk_min_bytes: Told as OCI-Chunk-Min-Length; shorter chunks but the last are refused.
        labelled_at_most: A PATCH with a longer Content-Range is answered 416.
        takes_chunks: Whether a PATCH with a Content-Range is taken at all.
        takes_put: Whether a PUT may carry the blob.
        patched_status: The answer to a PATCH that was taken.
        tells_status: Whether GET on a session is answered.
        range_stays: Whether the Range of an answer stays at the first chunk.
        keeps_cut_bodies: Whether a session outlives a body that was cut.
        appends_blindly: Whether a chunk at a wrong offset is appended and answered 202.
        honours_ranges: Whether GET on a blob heeds Range.
        mounts_without_from: Whether a mount may leave out where from.
        relative_locations: Whether upload locations lack scheme and host.
        takes_itself_for: The scheme and host in its own URLs, else those it was asked at.
        keeps_of_chunk: So much of each labelled chunk is kept, and 202 answered.
        keeps_first_chunk: Whether nothing is kept of those after the first, and 202 answered.
        head_status: The answer to HEAD of manifests and blobs.
        manifest_status: The answer to a manifest that was taken; without its digest unless 201.
        page: So many tags or referrers are on a page.
        referrers_status: The answer to who asks for referrers; unless 200 there is no API for them.
        link: The header that leads to the next one, around its query.
    """

    chunk_min_bytes: int | None = None
    labelled_at_most: int | None = None
    takes_chunks: bool = True
    takes_put: bool = True
    patched_status: int = 202
    tells_status: bool = True
    range_stays: bool = False
    keeps_cut_bodies: bool = True
    appends_blindly: bool = False
    honours_ranges: bool = True
    mounts_without_from: bool = True
    relative_locations: bool = False
    takes_itself_for: str | None = None
    keeps_of_chunk: int | None = None
    keeps_first_chunk: bool = False
    head_status: int | None = None
    manifest_status: int = 201
    page: int | None = None
    referrers_status: int = 200
    link: str = '</v2/app/tags/list?{query}>; rel="next"'


LIKE: Mapping[str, Quirks] = {
    "specification": Quirks(),
    "distribution-2.8": Quirks(keeps_cut_bodies=False, appends_blindly=True),
    "ecr": Quirks(
        patched_status=201, tells_status=False, range_stays=True, chunk_min_bytes=5 * MIB
    ),
    "gar": Quirks(takes_chunks=False),
    "ghcr": Quirks(labelled_at_most=4 * MIB),
    "acr": Quirks(keeps_cut_bodies=False, relative_locations=True),
    "quay": Quirks(mounts_without_from=False),
    "artifactory": Quirks(takes_put=False),
}


@dataclass(slots=True)
class SimulatedRequest:
    """One request as it was answered; *received* counts bytes of its body."""

    method: str
    target: str
    headers: Mapping[str, str]
    status: int = 0
    received: int = 0
    sent: int = 0


@dataclass(slots=True)
class _Session:
    name: str
    data: bytearray = field(default_factory=bytearray)
    first_chunk: int = 0


class RegistrySimulator:
    """Serves on a free loopback port, or on *port*, until stopped. All of it is in memory.

    Args:
        quirks: How it differs from the specification.
        token: What `Bearer` it wants, from its own token server; without, it asks for nothing.
        port: Where to listen.
    """

    def __init__(self, quirks: Quirks | None = None, *, token: bool = False, port: int = 0) -> None:
        self.quirks = quirks or Quirks()
        self.wants_token = token
        self.blobs: dict[str, dict[str, bytes]] = {}
        self.manifests: dict[str, dict[str, tuple[str, bytes]]] = {}
        self.tags: dict[str, dict[str, str]] = {}
        self.sessions: dict[str, _Session] = {}
        self.claimed: dict[str, int] = {}  # sizes that HEAD tells of blobs which are not there
        self.held_back: set[str] = set()  # blobs whose bodies do not come before `let_go`
        self.silent_to: re.Pattern[str] | None = None  # of "METHOD target": no answer before that
        self.waiting = 0  # requests that were met with silence
        self.let_go = threading.Event()
        self.lock = threading.RLock()
        self._tokens: set[str] = set()
        self._requests: list[SimulatedRequest] = []
        self._server = _Server(self, port)
        self.port: int = self._server.server_address[1]
        self.host = f"localhost:{self.port}"
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        )
        self._thread.start()

    # --- for tests -----------------------------------------------------------------------------

    def add_blob(self, name: str, data: bytes) -> str:
        """Store a blob, and return its digest."""
        digest = digest_of(data)
        with self.lock:
            self.blobs.setdefault(name, {})[digest] = data
        return digest

    def add_image(
        self, name: str, tag: str, layers: list[bytes], *, sizes: Mapping[int, int] | None = None
    ) -> str:
        """Store an image of *layers* (media type: plain tar), and return its digest.

        *sizes* are those that the manifest claims wrongly, by place: the config is 0.
        """
        config = json.dumps(
            {
                "architecture": "amd64",
                "os": "linux",
                "rootfs": {"type": "layers", "diff_ids": [digest_of(layer) for layer in layers]},
            }
        ).encode()
        kinds = ["config.v1+json", *("layer.v1.tar" for _ in layers)]
        described = [
            {
                "mediaType": f"application/vnd.oci.image.{kind}",
                "digest": self.add_blob(name, data),
                "size": (sizes or {}).get(place, len(data)),
            }
            for place, (kind, data) in enumerate(zip(kinds, [config, *layers], strict=True))
        ]
        media_type = "application/vnd.oci.image.manifest.v1+json"
        raw = json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": media_type,
                "config": described[0],
                "layers": described[1:],
            }
        ).encode()
        return self.add_manifest(name, tag, media_type, raw)

    def add_manifest(self, name: str, tag: str, media_type: str, raw: bytes) -> str:
        """Store a manifest under *tag* and its digest, and return that."""
        digest = digest_of(raw)
        with self.lock:
            self.manifests.setdefault(name, {})[digest] = (media_type, raw)
            self.tags.setdefault(name, {})[tag] = digest
        return digest

    def attach(
        self, name: str, subject: str, type_: str, *, tag: str = "", claims: str | None = None
    ) -> str:
        """Store an artifact of some *type_* about *subject*, and return its digest.

        With a *tag* it has that instead of the field `subject`, as cosign wrote signatures. What it
        *claims* to be about may be something else; then only lists of the registry's users have it.
        """
        layer, config = f"{type_} of {subject} {tag}".encode(), b"{}"
        document: dict[str, Any] = {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "artifactType": type_,
            "config": _described("application/vnd.oci.empty.v1+json", config),
            "layers": [_described("application/octet-stream", layer)],
            "annotations": {"about": subject},
        }
        for data in (layer, config):
            self.add_blob(name, data)
        if not tag:
            about = claims or subject
            kind, raw = self.manifests[name].get(about, (document["mediaType"], b"{}"))
            document["subject"] = {"mediaType": kind, "digest": about, "size": len(raw)}
        raw = json.dumps(document).encode()
        digest = digest_of(raw)
        with self.lock:
            self.manifests[name][digest] = (document["mediaType"], raw)
            if tag:
                self.tags.setdefault(name, {})[tag] = digest
        if not tag and self.quirks.referrers_status != 200:
            self.list_under_tag(name, subject, digest)
        return digest

    def list_under_tag(self, name: str, subject: str, *digests: str, type_: bool = True) -> None:
        """Add to the list of referrers that clients keep where a registry has no API."""
        tag = subject.replace(":", "-")
        there = self.tags.get(name, {}).get(tag)
        kind = "application/vnd.oci.image.index.v1+json"
        listed = json.loads(self.manifests[name][there][1])["manifests"] if there else []
        for digest in digests:
            media_type, raw = self.manifests[name].get(
                digest, (kind.replace("index", "manifest"), b"")
            )
            described = {"mediaType": media_type, "digest": digest, "size": len(raw)}
            if raw and type_:
                described["artifactType"] = json.loads(raw).get("artifactType", "")
            listed.append(described)
        document = {"schemaVersion": 2, "mediaType": kind, "manifests": listed}
        self.add_manifest(name, tag, kind, json.dumps(document).encode())

    def referrers(self, name: str, subject: str) -> dict[str, dict[str, Any]]:
        """What of a repository names *subject*, as the API lists it, by digest."""
        found: dict[str, dict[str, Any]] = {}
        with self.lock:
            for digest, (kind, raw) in self.manifests.get(name, {}).items():
                document = json.loads(raw)
                if document.get("subject", {}).get("digest") == subject:
                    found[digest] = {
                        "mediaType": kind,
                        "digest": digest,
                        "size": len(raw),
                        "artifactType": document.get("artifactType", ""),
                        "annotations": document.get("annotations", {}),
                    }
        return found

    def requests(self) -> list[SimulatedRequest]:
        """All requests so far, in the order in which they came."""
        with self.lock:
            return list(self._requests)

    def forget_requests(self) -> None:
        """Empty the log."""
        with self.lock:
            self._requests.clear()

    def forget_tokens(self) -> None:
        """Let every token that was given out be expired."""
        with self.lock:
            self._tokens.clear()

    def received_bytes(self) -> int:
        """How many bytes of upload bodies have arrived."""
        return sum(request.received for request in self.requests())

    def stop(self) -> None:
        """Close everything, connections that are in use too."""
        self.let_go.set()
        self._server.shutdown()
        self._server.close_connections()
        self._server.server_close()
        self._thread.join(5)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    # --- for the handler -----------------------------------------------------------------------

    def note(self, request: SimulatedRequest) -> None:
        """Log a request; its figures follow."""
        with self.lock:
            self._requests.append(request)

    def new_token(self) -> str:
        """Give out a token."""
        token = secrets.token_hex(8)
        with self.lock:
            self._tokens.add(token)
        return token

    def knows(self, authorization: str) -> bool:
        """Whether a request with this header may pass."""
        with self.lock:
            return not self.wants_token or authorization.removeprefix("Bearer ") in self._tokens


def digest_of(data: bytes) -> str:
    """The name of *data*."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def _described(media_type: str, data: bytes) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": digest_of(data), "size": len(data)}


class _Refusal(Exception):  # noqa: N818 -- an answer
    def __init__(self, status: int, code: str, **headers: str) -> None:
        super().__init__(code)
        self.status, self.code = status, code
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, registry: RegistrySimulator, port: int) -> None:
        self.registry = registry
        self._open: set[socket.socket] = set()
        super().__init__(("127.0.0.1", port), _Handler)

    def opened(self, connection: socket.socket) -> None:
        with self.registry.lock:
            self._open.add(connection)

    def closed(self, connection: socket.socket) -> None:
        with self.registry.lock:
            self._open.discard(connection)

    def close_connections(self) -> None:
        with self.registry.lock:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: object, client_address: object) -> None:
        """Broken connections are no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server
    rbufsize = PIECE_BYTES

    def setup(self) -> None:
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.server.opened(self.connection)

    def finish(self) -> None:
        self.server.closed(self.connection)
        with contextlib.suppress(OSError):
            super().finish()

    def handle(self) -> None:
        # A client that tries TLS first must not wait for an answer to its handshake.
        with contextlib.suppress(ConnectionError):
            if self.connection.recv(1, socket.MSG_PEEK) != b"\x16":
                super().handle()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """The log is `RegistrySimulator.requests`."""

    # --- one request ---------------------------------------------------------------------------

    def _serve(self) -> None:
        self._registry = self.server.registry
        self._quirks = self._registry.quirks
        self._left = int(self.headers.get("Content-Length") or 0)
        headers = {name.lower(): value for name, value in self.headers.items()}
        self._request = SimulatedRequest(self.command, self.path, headers)
        self._registry.note(self._request)
        self._url = urlsplit(self.path)
        self._query = parse_qs(self._url.query)
        silent_to = self._registry.silent_to
        if silent_to is not None and silent_to.search(f"{self.command} {self.path}"):
            self._registry.waiting += 1
            self._registry.let_go.wait()
        try:
            self._route()()
        except _Refusal as refusal:
            self._drain()
            body = json.dumps({"errors": [{"code": refusal.code, "message": "simulated"}]})
            self._answer(refusal.status, body.encode(), **refusal.headers)
        except ConnectionError:
            self.close_connection = True

    do_GET = do_HEAD = do_PUT = do_POST = do_PATCH = do_DELETE = _serve  # noqa: N815

    def _route(self) -> Callable[[], None]:
        if self._url.path == "/token":
            return self._token
        if not self._registry.knows(self.headers.get("Authorization", "")):
            realm = f'Bearer realm="http://{self.headers["Host"]}/token",service="simulated"'
            raise _Refusal(401, "UNAUTHORIZED", WWW_Authenticate=realm)
        match = _PATH.fullmatch(self._url.path)
        if match is None:
            raise _Refusal(404, "NAME_UNKNOWN")
        self._name, self._id = match["name"], match["id"]
        routes: dict[tuple[str, str], Callable[[], None]] = {
            ("GET", "blobs"): self._get_blob,
            ("HEAD", "blobs"): self._get_blob,
            ("GET", "manifests"): self._get_manifest,
            ("HEAD", "manifests"): self._get_manifest,
            ("PUT", "manifests"): self._put_manifest,
            ("GET", "tags"): self._list_tags,
            ("GET", "referrers"): self._list_referrers,
            ("POST", "blobs/uploads"): self._open_session,
            ("GET", "blobs/uploads"): self._tell_status,
            ("PATCH", "blobs/uploads"): self._patch,
            ("PUT", "blobs/uploads"): self._close_session,
            ("DELETE", "blobs/uploads"): self._cancel_session,
        }
        route = routes.get((self.command, match["what"]))
        if route is None:
            raise _Refusal(405, "UNSUPPORTED")
        return route

    def _token(self) -> None:
        self._drain()
        token = {"token": self._registry.new_token(), "expires_in": 300}
        self._answer(200, json.dumps(token).encode(), Content_Type="application/json")

    # --- reading -------------------------------------------------------------------------------

    def _refuse_heads(self) -> None:
        if self.command == "HEAD" and self._quirks.head_status is not None:
            raise _Refusal(self._quirks.head_status, "UNSUPPORTED")

    def _get_blob(self) -> None:
        self._refuse_heads()
        data = self._registry.blobs.get(self._name, {}).get(self._id)
        if self.command == "HEAD" and self._id in self._registry.claimed:
            data = bytes(self._registry.claimed[self._id])
        if self.command == "GET" and self._id in self._registry.held_back:
            self._registry.let_go.wait(60)
        if data is None:
            raise _Refusal(404, "BLOB_UNKNOWN")
        kind = "application/octet-stream"
        wanted = _RANGE.fullmatch(self.headers.get("Range", ""))
        if wanted is None or not self._quirks.honours_ranges:
            self._answer(200, data, Content_Type=kind, Docker_Content_Digest=self._id)
            return
        first, last = int(wanted[1]), min(int(wanted[2]), len(data) - 1)
        if first >= len(data):
            raise _Refusal(416, "RANGE_INVALID")
        told = f"bytes {first}-{last}/{len(data)}"
        self._answer(206, data[first : last + 1], Content_Type=kind, Content_Range=told)

    def _get_manifest(self) -> None:
        self._refuse_heads()
        digest = self._registry.tags.get(self._name, {}).get(self._id, self._id)
        found = self._registry.manifests.get(self._name, {}).get(digest)
        if found is None:
            raise _Refusal(404, "MANIFEST_UNKNOWN")
        self._answer(200, found[1], Content_Type=found[0], Docker_Content_Digest=digest)

    def _list_tags(self) -> None:
        tags = self._registry.tags.get(self._name)
        if tags is None:
            raise _Refusal(404, "NAME_UNKNOWN")
        [last] = self._query.get("last", [""])
        names = [name for name in sorted(tags) if name > last]
        page = names[: self._quirks.page]
        more = {}
        if len(names) > len(page):
            more["Link"] = self._quirks.link.format(query=f"n=1000&last={page[-1]}")
        document = {"name": self._name, "tags": page}
        self._answer(200, json.dumps(document).encode(), Content_Type="application/json", **more)

    def _list_referrers(self) -> None:
        if self._quirks.referrers_status != 200:
            raise _Refusal(self._quirks.referrers_status, "UNSUPPORTED")
        found = self._registry.referrers(self._name, self._id)
        [last] = self._query.get("last", [""])
        names = [name for name in sorted(found) if name > last]
        page = names[: self._quirks.page]
        more = {}
        if len(names) > len(page):
            more["Link"] = f'</v2/{self._name}/referrers/{self._id}?last={page[-1]}>; rel="next"'
        kind = "application/vnd.oci.image.index.v1+json"
        listed = [found[name] for name in page]
        document = {"schemaVersion": 2, "mediaType": kind, "manifests": listed}
        self._answer(200, json.dumps(document).encode(), Content_Type=kind, **more)

    # --- writing -------------------------------------------------------------------------------

    def _put_manifest(self) -> None:
        raw = b"".join(self._pieces())
        digest = digest_of(raw)
        if ":" in self._id and self._id != digest:
            raise _Refusal(400, "DIGEST_INVALID")
        held = self._registry.blobs.get(self._name, {})
        try:
            document: dict[str, Any] = json.loads(raw)
        except ValueError:
            raise _Refusal(400, "MANIFEST_INVALID") from None
        named = [document["config"], *document["layers"]] if "config" in document else []
        if any(blob["digest"] not in held for blob in named):
            raise _Refusal(400, "MANIFEST_BLOB_UNKNOWN")
        kind = self.headers["Content-Type"]
        with self._registry.lock:
            self._registry.manifests.setdefault(self._name, {})[digest] = (kind, raw)
            if ":" not in self._id:
                self._registry.tags.setdefault(self._name, {})[self._id] = digest
        status = self._quirks.manifest_status
        told = {"Docker_Content_Digest": digest} if status == 201 else {}
        if "subject" in document and self._quirks.referrers_status == 200:
            told["OCI_Subject"] = document["subject"]["digest"]
        self._answer(status, **told)

    def _open_session(self) -> None:
        self._drain()
        [digest], [source] = self._query.get("mount", [""]), self._query.get("from", [""])
        if digest and not source and not self._quirks.mounts_without_from:
            raise _Refusal(400, "UNSUPPORTED")
        data = self._registry.blobs.get(source, {}).get(digest)
        if data is not None:
            self._registry.add_blob(self._name, data)
            self._answer(201, Docker_Content_Digest=digest)
            return
        id_ = secrets.token_hex(8)
        session = _Session(self._name)
        with self._registry.lock:
            self._registry.sessions[id_] = session
        more = {}
        if self._quirks.chunk_min_bytes is not None:
            more["OCI_Chunk_Min_Length"] = str(self._quirks.chunk_min_bytes)
        self._answer(202, **self._standing(id_, session), **more)

    def _tell_status(self) -> None:
        session = self._session()
        if not self._quirks.tells_status:
            raise _Refusal(404, "BLOB_UPLOAD_UNKNOWN")
        self._answer(204, **self._standing(self._id, session))

    def _patch(self) -> None:
        session = self._session()
        label = self.headers.get("Content-Range")
        if label is not None:
            self._check_label(label, session)
        before = len(session.data)
        self._receive(session)
        if label is not None and (self._quirks.keeps_first_chunk and before):
            del session.data[before:]
        if label is not None and self._quirks.keeps_of_chunk is not None:
            del session.data[before + self._quirks.keeps_of_chunk :]
        session.first_chunk = session.first_chunk or len(session.data)
        self._answer(self._quirks.patched_status, **self._standing(self._id, session))

    def _check_label(self, label: str, session: _Session) -> None:
        first, last = (int(part) for part in label.split("-"))
        quirks = self._quirks
        if not quirks.takes_chunks:
            raise _Refusal(405, "UNSUPPORTED")
        if quirks.labelled_at_most is not None and last - first >= quirks.labelled_at_most:
            raise _Refusal(416, "SIZE_INVALID")
        if first != len(session.data) and not (quirks.appends_blindly or quirks.keeps_first_chunk):
            raise _Refusal(416, "BLOB_UPLOAD_INVALID", **self._standing(self._id, session))

    def _close_session(self) -> None:
        session = self._session()
        if self._left and not self._quirks.takes_put:
            raise _Refusal(405, "UNSUPPORTED")
        self._receive(session)
        [digest] = self._query["digest"]
        with self._registry.lock:
            self._registry.sessions.pop(self._id, None)
        if digest_of(bytes(session.data)) != digest:
            raise _Refusal(400, "DIGEST_INVALID")
        self._registry.add_blob(self._name, bytes(session.data))
        self._answer(201, Docker_Content_Digest=digest)

    def _cancel_session(self) -> None:
        self._session()
        with self._registry.lock:
            self._registry.sessions.pop(self._id, None)
        self._answer(204)

    # --- steps ---------------------------------------------------------------------------------

    def _session(self) -> _Session:
        with self._registry.lock:
            session = self._registry.sessions.get(self._id)
        if session is None or session.name != self._name:
            raise _Refusal(404, "BLOB_UPLOAD_UNKNOWN")
        return session

    def _standing(self, id_: str, session: _Session) -> dict[str, str]:
        """Where a session is, and how far; 0-0 also stands for nothing, as in distribution."""
        base = self._quirks.takes_itself_for or f"http://{self.headers['Host']}"
        base = "" if self._quirks.relative_locations else base
        told = session.first_chunk if self._quirks.range_stays else len(session.data)
        return {
            "Location": f"{base}/v2/{session.name}/blobs/uploads/{id_}?_state=a/b=",
            "Range": f"0-{max(0, told - 1)}",
        }

    def _receive(self, session: _Session) -> None:
        try:
            for piece in self._pieces():
                session.data += piece
        except ConnectionError:
            if not self._quirks.keeps_cut_bodies:
                with self._registry.lock:
                    self._registry.sessions.pop(self._id, None)
            raise

    def _pieces(self) -> Iterator[bytes]:
        source = cast("BinaryIO", self.rfile)
        while self._left:
            piece = source.read1(min(self._left, PIECE_BYTES))  # type: ignore[attr-defined]
            if not piece:
                raise ConnectionResetError("the client went away")
            self._left -= len(piece)
            self._request.received += len(piece)
            yield piece

    def _drain(self) -> None:
        for _ in self._pieces():
            pass

    def _answer(self, status: int, body: bytes = b"", /, **headers: str) -> None:
        self._request.status = status
        self.send_response_only(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
            self._request.sent = len(body)


def main() -> None:
    """Serve until Ctrl-C."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--listen", default="127.0.0.1:5009", metavar="HOST:PORT")
    parser.add_argument("--like", choices=LIKE, default="specification")
    parser.add_argument("--token", action="store_true", help="want tokens, and give them out")
    given = parser.parse_args()
    port = int(given.listen.rpartition(":")[2])
    with RegistrySimulator(LIKE[given.like], token=given.token, port=port) as registry:
        print(f"{given.like}: {registry.host}", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait()


if __name__ == "__main__":
    main()
