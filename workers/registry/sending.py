"""The bytes of a blob on their way out, any part of which may have to be sent again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import BinaryIO

from transship.store.errors import SizeMismatchError
from transship.store.oci.digest import Digest
from transship.workers.registry.flow_control.pacing import Pacer, pause
from transship.workers.registry.transport.limits import CHUNK_BYTES


class Sending:
    """A blob that is being sent; it must be exactly as long as said.

    Args:
        source: The bytes from the current position on; seekable.
        digest: What they hash to.
        size: Their number.
        begin: How many of them the registry has already.
        on_bytes: Told how many bytes more were handed over, negative when they are sent again.
        check: Called between pieces, and about once a second while waiting.
        registry: Whose budget of bytes they count against.
        pacer: Keeps that budget.
    """

    def __init__(
        self,
        source: BinaryIO,
        digest: Digest,
        size: int,
        *,
        begin: int,
        on_bytes: Callable[[int], None],
        check: Callable[[], None],
        registry: str,
        pacer: Pacer,
    ) -> None:
        self.digest = digest
        self.size = size
        self.check = check
        self._source = source
        self._origin = source.tell()
        self._on_bytes = on_bytes
        self._reported = begin
        self._registry = registry
        self._pacer = pacer

    def part(self, begin: int, end: int) -> Callable[[], Iterator[bytes]] | None:
        """The body of a request with the bytes from *begin* to *end*; None if there are none."""
        if begin == end:
            return None
        return lambda: self._pieces(begin, end)

    def _pieces(self, begin: int, end: int) -> Iterator[bytes]:
        self._report(begin)
        self._source.seek(self._origin + begin)
        at = begin
        while at < end:
            self.check()
            piece = self._source.read(min(CHUNK_BYTES, end - at))
            if not piece:
                raise SizeMismatchError(subject=str(self.digest), expected=self.size, actual=at)
            yield piece
            at += len(piece)
            self._report(at)
            pause(self._pacer.bytes(self._registry, len(piece)), self.check)

    def _report(self, at: int) -> None:
        if at != self._reported:
            self._on_bytes(at - self._reported)
            self._reported = at
