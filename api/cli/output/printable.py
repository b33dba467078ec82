"""What the command line writes to stdout: nothing of it moves the reader's cursor."""

from __future__ import annotations

from typing import Any, TextIO

from transship.store.text import escaped


class Printable:
    """A text stream that escapes control characters, whosever words are written.

    Names, labels and errors come from servers, registries and other users. What is written to
    `buffer` is somebody's archive, and passes as it is.
    """

    def __init__(self, stream: TextIO) -> None:
        """Write to *stream*, which stays open."""
        self._stream = stream

    def write(self, text: str) -> int:
        """Write *text*, escaped."""
        return self._stream.write(escaped(text))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
