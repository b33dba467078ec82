"""Bytes between the event loop and a thread: in order, bounded, and either side may give up."""

from __future__ import annotations

import asyncio
import threading

import pytest

from transship.api.http.pipes import MAX_BYTES, ClosedPipeError, Inlet, Outlet, Write, pieces
from transship.store.errors import CancelledError, IncompleteBodyError

PIECE = bytes(range(256)) * 4096  # 1 MiB


def read_all(inlet: Inlet, size: int = 300_000) -> bytes:
    return b"".join(iter(lambda: inlet.read(size), b""))


def test_what_is_written_is_read_in_order() -> None:
    async def run() -> bytes:
        inlet = Inlet()
        reading = asyncio.to_thread(read_all, inlet)
        task = asyncio.create_task(reading)
        for number in range(20):
            await inlet.write(b"%d" % number + PIECE)
        inlet.end()
        return await task

    assert asyncio.run(run()) == b"".join(b"%d" % number + PIECE for number in range(20))


def test_who_writes_faster_than_it_is_read_waits() -> None:
    async def run() -> int:
        inlet, written = Inlet(), 0

        async def write() -> None:
            nonlocal written
            while True:
                await inlet.write(PIECE)
                written += len(PIECE)

        task = asyncio.create_task(write())
        for _ in range(100):
            await asyncio.sleep(0)
        task.cancel()
        return written

    assert asyncio.run(run()) == MAX_BYTES


def test_a_read_gives_no_more_than_was_asked_for() -> None:
    async def run() -> list[bytes]:
        inlet = Inlet()
        await inlet.write(b"abcdef")
        inlet.end()
        return [inlet.read(4), inlet.read(4), inlet.read(4)]

    assert asyncio.run(run()) == [b"abcd", b"ef", b""]


def test_an_early_end_is_an_error_for_whoever_reads() -> None:
    async def run() -> None:
        inlet = Inlet()
        await inlet.write(b"half")
        inlet.end(IncompleteBodyError("gone"))
        await asyncio.to_thread(read_all, inlet)

    with pytest.raises(IncompleteBodyError, match="gone"):
        asyncio.run(run())


def test_who_reads_no_more_is_not_waited_for() -> None:
    async def run() -> None:
        inlet = Inlet()
        threading.Timer(0.05, inlet.close).start()
        while True:
            await inlet.write(PIECE)

    with pytest.raises(ClosedPipeError):
        asyncio.run(run())


def test_silence_has_a_bound() -> None:
    async def run() -> None:
        await asyncio.to_thread(read_all, Inlet(silence_seconds=0.1))

    with pytest.raises(IncompleteBodyError, match="nothing came"):
        asyncio.run(run())


def test_who_waits_for_bytes_looks_up_now_and_then() -> None:
    def stop() -> None:
        raise CancelledError("a stop was requested")

    async def run() -> None:
        await asyncio.to_thread(Inlet().reader(stop).read, 1)

    with pytest.raises(CancelledError):
        asyncio.run(run())


# --- the other way -------------------------------------------------------------------------------


async def collected(outlet: Outlet) -> bytes:
    return b"".join([piece async for piece in outlet.pieces()])


def test_what_a_thread_writes_is_sent_in_order() -> None:
    def write_all(write: Write) -> None:
        for number in range(300):
            write(b"%03d" % number * 30_000)

    async def run() -> bytes:
        return b"".join([piece async for piece in pieces(write_all)])

    assert asyncio.run(run()) == b"".join(b"%03d" % number * 30_000 for number in range(300))


def test_a_thread_that_writes_faster_than_is_sent_waits() -> None:
    written: list[int] = []

    def write_all(write: Write) -> None:
        for _ in range(20):
            write(PIECE)
            written.append(len(PIECE))

    async def run() -> None:
        sending = pieces(write_all)
        first = await anext(sending)
        await asyncio.to_thread(threading.Event().wait, 0.2)
        assert len(first) + sum(written) <= MAX_BYTES + 3 * len(PIECE)
        async for _ in sending:
            pass

    asyncio.run(run())
    assert sum(written) == 20 * len(PIECE)


def test_an_error_of_the_thread_breaks_the_answer_off() -> None:
    def write_all(write: Write) -> None:
        write(b"half")
        raise IncompleteBodyError("a blob has gone")

    async def run() -> bytes:
        return b"".join([piece async for piece in pieces(write_all)])

    with pytest.raises(IncompleteBodyError, match="a blob has gone"):
        asyncio.run(run())


def test_who_leaves_early_ends_the_thread() -> None:
    ended = threading.Event()

    def write_all(write: Write) -> None:
        try:
            while True:
                write(PIECE)
        finally:
            ended.set()

    async def run() -> None:
        sending = pieces(write_all)
        await anext(sending)
        await sending.aclose()

    asyncio.run(run())
    assert ended.wait(10)


def test_who_takes_nothing_for_too_long_is_given_up() -> None:
    async def run() -> None:
        outlet = Outlet(silence_seconds=0.1)

        def write() -> None:
            while True:
                outlet.write(PIECE)

        await asyncio.to_thread(write)

    with pytest.raises(ClosedPipeError):
        asyncio.run(run())
