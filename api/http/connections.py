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
from itertools import chain
from typing import Any, Final

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_SECONDS: Final = 10.0
MAX_CONNECTIONS: Final = 1000
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


class Connections:
    """The connections of one server: `protocol` makes what serves each, as uvicorn wants it."""

    def __init__(self, most: int, head_seconds: float = HEAD_SECONDS) -> None:
        """Have *most* at once, of those over TCP, and wait *head_seconds* for a head."""
        self.head_seconds = head_seconds
        self.most = most
        self._count = 0
        # Those that wait for a head, who began first, first. Those between two requests, where it
        # is for the client to go on, are the last to go.
        self._begun: dict[Protocol, None] = {}
        self._idle: dict[Protocol, None] = {}

    def protocol(self, *args: Any, **options: Any) -> Protocol:
        """Serve one connection more."""
        return Protocol(self, *args, **options)

    def opened(self) -> None:
        """There is one more; where these are too many, the oldest that waits is closed."""
        self._count += 1
        if self._count > self.most and (oldest := next(chain(self._begun, self._idle), None)):
            self.waits_no_more(oldest)
            oldest.transport.abort()

    def closed(self) -> None:
        """There is one less."""
        self._count -= 1

    def waits(self, one: Protocol, *, idle: bool) -> None:
        """It waits for a head; *idle* while nothing of that has come after another request."""
        if not idle:
            self._idle.pop(one, None)
            self._begun.setdefault(one)
        elif one not in self._begun:
            self._idle.setdefault(one)

    def waits_no_more(self, one: Protocol) -> None:
        """It has its head, or is closed."""
        self._begun.pop(one, None)
        self._idle.pop(one, None)


class Protocol(H11Protocol):
    """uvicorn's protocol, one for each connection, with these bounds."""

    def __init__(self, connections: Connections, *args: Any, **options: Any) -> None:
        """Serve one of *connections*."""
        super().__init__(*args, **options)
        self.conn = _Connection(h11.SERVER, MAX_HEAD_BYTES)
        self._all = connections
        self._served = False
        self._late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first head, and make room where there are too many connections."""
        super().connection_made(transport)
        self._set_limit()
        if not self._is_local:
            self._all.waits(self, idle=False)
            self._all.opened()

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
        if not self._is_local:
            self._all.waits_no_more(self)
            self._all.closed()
        super().connection_lost(exc)

    @property
    def _is_local(self) -> bool:
        """Whether it is the owner's, over the home's socket."""
        return self.server is not None and self.server[1] is None

    def _look(self) -> None:
        """What does it wait for, and has it begun to come?"""
        if self.conn.their_state is h11.IDLE:
            idle = self._served and not self.conn.trailing_data[0]
            if idle:
                self._drop_limit()
            else:
                self._set_limit()
            if not self._is_local:
                self._all.waits(self, idle=idle)
            return
        self._all.waits_no_more(self)
        if self.conn.their_state is h11.SEND_BODY and self.cycle.response_complete:
            self._set_limit()  # nobody reads what still comes of the body
        else:
            self._drop_limit()

    def _set_limit(self) -> None:
        if self._late is None:
            self._late = self.loop.call_later(self._all.head_seconds, self._close_late)

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


def most_connections() -> int:
    """How many connections a process may have, by its limit of open files."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files == resource.RLIM_INFINITY:
        return MAX_CONNECTIONS
    return max(_FEWEST, min(MAX_CONNECTIONS, files - _SPARE_FILES))
