"""Where layers are read from: each can be opened anew, and is read forward only."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from itertools import chain
from typing import BinaryIO, Final

from transship.store.errors import ContentError
from transship.store.layers.ahead import side_by_side
from transship.store.layers.codecs.formats import MAX_RATIO, Readable, open_reader
from transship.store.layers.tar.reader import Entry, TarReader

_BATCH_BYTES: Final = 256 * 1024  # of entries that pass from a thread to another at once
_BATCHES_AHEAD: Final = 4  # of a layer

# Opens the layer's uncompressed tar; squashing opens a layer twice, and must read the same.
LayerSource = Callable[[], AbstractContextManager[Readable]]
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
    def opened() -> Iterator[Readable]:
        with (
            open_blob() as blob,
            open_reader(blob, max_bytes=max_bytes, max_ratio=max_ratio, subject=subject) as reader,
        ):
            yield reader

    return opened


@contextmanager
def open_layer(layers: Sequence[LayerSource], number: int, check: Check) -> Iterator[TarReader]:
    """Read the tar of one of *layers*, calling *check* often; errors say which layer it is."""
    with in_layer(number), layers[number]() as source:
        yield TarReader(_Checked(source, check))


@contextmanager
def read_layers(layers: Sequence[LayerSource], check: Check) -> Iterator[Iterator[Iterator[Entry]]]:
    """Give the entries of *layers*, of one after the other; several are read at once.

    Whoever takes them takes all of one layer before asking for the next. *check* is called in
    threads. Errors do not say which layer it is.
    """
    each = (_batches(layer, check) for layer in layers)
    with side_by_side(each, _BATCHES_AHEAD) as in_turn:
        yield (chain.from_iterable(batches) for batches in in_turn)


def _batches(layer: LayerSource, check: Check) -> Generator[list[Entry]]:
    batch: list[Entry] = []
    room = _BATCH_BYTES
    with layer() as source:
        for entry in TarReader(_Checked(source, check)):
            batch.append(entry)
            room -= entry.footprint
            if room <= 0:
                yield batch
                batch, room = [], _BATCH_BYTES
        yield batch


@contextmanager
def in_layer(number: int) -> Iterator[None]:
    """Let errors of the block say which layer it is, the first one being 1."""
    try:
        yield
    except ContentError as error:
        error.subject = ": ".join(filter(None, (f"layer {number + 1}", error.subject)))
        raise


class _Checked:
    def __init__(self, source: Readable, check: Check) -> None:
        self._source, self._check = source, check

    def read(self, size: int, /) -> bytes:
        self._check()
        return self._source.read(size)
