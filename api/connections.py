"""The connections of clients: heads in time and strictly read, and not too many at once.

A connection that has not sent the head of a request for `HEAD_SECONDS` is closed. Where there are
too many, the one that has waited longest for a head makes room for a new one, so that half
requests, however many, keep nobody out.

A head is read as RFC 9112 allows a server to: what different parsers may take for different
requests is refused. These are line ends that are no CRLF (section 2.2), folded lines (section 5.2),
and a length that is given twice or beside a transfer coding (sections 6.1 and 6.3).
"""

from __future__ import annotations

import asyncio
import re
import resource
from typing import Any, Final

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_SECONDS: Final = 10.0
MOST_CONNECTIONS: Final = 1000
MAX_HEAD_BYTES: Final = 64 * 1024
_SPARE_FILES: Final = 256  # files of the process that are no connections
_FEWEST: Final = 32
_TOO_LATE: Final = b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"

_END = re.compile(rb"\n\r?\n")
_BARE = re.compile(rb"(?<!\r)\n|\r(?!\n)")
_FOLDED = re.compile(rb"\n[ \t]")
_LENGTH = re.compile(rb"\ncontent-length:([^\r]*)", re.IGNORECASE)
_CODING = re.compile(rb"\ntransfer-encoding:", re.IGNORECASE)


def check_head(received: bytes) -> None:
    """Refuse a request by what is there of its head; *received* begins with it.

    Raises:
        h11.RemoteProtocolError: different parsers could read it in different ways.
    """
    end = _END.search(received)
    head = received if end is None else received[: end.end()]
    if _BARE.search(head.removesuffix(b"\r")):  # whose LF may come yet
        raise h11.RemoteProtocolError("a line does not end with CRLF")
    if _FOLDED.search(head):
        raise h11.RemoteProtocolError("a header is folded")
    lengths = _LENGTH.findall(head)
    codings = len(_CODING.findall(head))
    if len(lengths) + codings > 1 or any(b"," in length for length in lengths):
        raise h11.RemoteProtocolError("the body's length is given twice")


class _Connection(h11.Connection):
    """Looks at each head before it is parsed, a pipelined one too."""

    def next_event(self) -> Any:
        if self.their_state is h11.IDLE:
            check_head(self.trailing_data[0])
        return super().next_event()


class Protocol(H11Protocol):
    """uvicorn's protocol, one for each connection, with these bounds."""

    head_seconds = HEAD_SECONDS

    def __init__(self, *args: Any, **options: Any) -> None:
        """Serve one connection, as uvicorn calls it."""
        super().__init__(*args, **options)
        self.conn = _Connection(h11.SERVER, MAX_HEAD_BYTES)
        self.waits_since: float | None = None  # for a head
        self._served = False
        self._late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first head, and make room where there are too many connections."""
        super().connection_made(transport)
        self.waits_since = self.loop.time()
        self._set_limit()
        if len(self.connections) > most_connections():
            self._make_room()

    def data_received(self, data: bytes) -> None:
        """Go on."""
        super().data_received(data)
        self._look()

    def on_response_complete(self) -> None:
        """Wait for the next head."""
        self._served = True
        super().on_response_complete()
        self._look()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._drop_limit()
        self.waits_since = None
        super().connection_lost(exc)

    @property
    def is_idle(self) -> bool:
        """Whether it is between two requests."""
        return self._served and not self.conn.trailing_data[0]

    @property
    def is_local(self) -> bool:
        """Whether it is the owner's, over the home's socket."""
        return self.server is not None and self.server[1] is None

    def _look(self) -> None:
        """What does it wait for, and has it begun to come?"""
        if self.conn.their_state is h11.IDLE:
            if self.waits_since is None:
                self.waits_since = self.loop.time()
            if self.conn.trailing_data[0]:
                self._set_limit()
            return
        self.waits_since = None
        if self.conn.their_state is h11.SEND_BODY and self.cycle.response_complete:
            self._set_limit()  # nobody reads what still comes of the body
        else:
            self._drop_limit()

    def _set_limit(self) -> None:
        if self._late is None:
            self._late = self.loop.call_later(self.head_seconds, self._close_late)

    def _drop_limit(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _close_late(self) -> None:
        self._late = None
        if not self.transport.is_closing():
            if self.conn.their_state is h11.IDLE:
                self.transport.write(_TOO_LATE)
            self.transport.close()

    def _make_room(self) -> None:
        """Close the connection that has waited longest for a head: maybe this one.

        Those between two requests, where it is for the client to go on, are the last to go.
        """
        waiting = [
            (one.is_idle, one.waits_since, one)
            for one in self.connections
            if isinstance(one, Protocol) and one.waits_since is not None and not one.is_local
        ]
        if waiting:
            _, _, oldest = min(waiting, key=lambda facts: facts[:2])
            oldest.waits_since = None  # it is on its way out
            oldest.transport.abort()


def most_connections() -> int:
    """How many connections a process may have, by its limit of open files."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files == resource.RLIM_INFINITY:
        return MOST_CONNECTIONS
    return max(_FEWEST, min(MOST_CONNECTIONS, files - _SPARE_FILES))
