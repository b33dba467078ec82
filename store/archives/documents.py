"""The JSON files of an archive: few, small and strict."""

from __future__ import annotations

from typing import Any

from transship.store.archives.members import Content, Member, shown
from transship.store.errors import ContentError, InvalidArchiveError
from transship.store.oci.strictjson import loads


class Documents:
    """Reads an archive's JSON, and no more of it in all than *budget* bytes."""

    def __init__(self, content: Content, *, budget: int) -> None:
        self._content = content
        self._left = budget

    def raw(self, path: str, member: Member, *, max_bytes: int) -> bytes:
        """The bytes of the file at *path*.

        Raises:
            InvalidArchiveError: it is longer than *max_bytes*, or all documents are too long.
        """
        if member.size > max_bytes:
            raise InvalidArchiveError(f"longer than {max_bytes} bytes", subject=shown(path))
        self._left -= member.size
        if self._left < 0:
            raise InvalidArchiveError("the archive has too much JSON", subject=shown(path))
        return self._content.read(member.digest, max_bytes=max_bytes)

    def json(self, path: str, member: Member, *, max_bytes: int) -> Any:
        """The same, parsed.

        Raises:
            InvalidArchiveError: as for `raw`, or it is not JSON that all read alike.
        """
        return self.json_and_raw(path, member, max_bytes=max_bytes)[0]

    def json_and_raw(self, path: str, member: Member, *, max_bytes: int) -> tuple[Any, bytes]:
        """The same, with the bytes."""
        raw = self.raw(path, member, max_bytes=max_bytes)
        try:
            return loads(raw, what=shown(path), max_bytes=max_bytes), raw
        except ContentError as error:
            raise InvalidArchiveError(error.detail, subject=shown(path)) from None
