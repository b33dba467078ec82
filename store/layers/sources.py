"""Where layers are read from: each can be opened anew, and is read forward only."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import BinaryIO

from store.errors import ContentError
from store.layers.codecs import MAX_RATIO, Source, open_reader
from store.layers.tar import TarReader

# Opens the layer's uncompressed tar; squashing opens a layer twice, and must read the same.
LayerSource = Callable[[], AbstractContextManager[Source]]
Check = Callable[[], None]  # raises what should end the work


def never() -> None:
    """The check of who cannot be interrupted."""


def blob_source(
    open_blob: Callable[[], BinaryIO],
    *,
    max_bytes: int | None = None,
    max_ratio: int = MAX_RATIO,
    subject: str = "",
) -> LayerSource:
    """A layer as it is stored, compressed or not; bounds are those of `codecs.open_reader`."""

    @contextmanager
    def opened() -> Iterator[Source]:
        with (
            open_blob() as blob,
            open_reader(blob, max_bytes=max_bytes, max_ratio=max_ratio, subject=subject) as reader,
        ):
            yield reader

    return opened


@contextmanager
def open_layer(layers: Sequence[LayerSource], number: int, check: Check) -> Iterator[TarReader]:
    """Read the tar of one of *layers*, calling *check* often; errors say which layer it is."""
    with layers[number]() as source:
        try:
            yield TarReader(_Checked(source, check))
        except ContentError as error:
            error.subject = ": ".join(filter(None, (f"layer {number + 1}", error.subject)))
            raise


class _Checked:
    def __init__(self, source: Source, check: Check) -> None:
        self._source, self._check = source, check

    def read(self, size: int, /) -> bytes:
        self._check()
        return self._source.read(size)
