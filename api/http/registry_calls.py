"""What waits for a registry on a request's behalf: on threads of its own, and not for ever."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Final, TypeVar

from transship.api.http.shares import QUESTIONS
from transship.store.errors import ThrottledError, UnreachableError

_T = TypeVar("_T")

ANSWER_SECONDS: Final = 30.0
MAX_OF_A_REGISTRY: Final = QUESTIONS.all // 2  # a silent one leaves threads to the others


class RegistryCalls:
    """Asks registries for requests; lives in the event loop of the API. Whoever makes it closes it.

    A thread that waits is taken until the registry's client gives up, which may be after the
    request has got its answer.
    """

    def __init__(self) -> None:
        """Ask nothing yet."""
        self._threads = ThreadPoolExecutor(QUESTIONS.all, "registry-calls")
        self._waiting: Counter[str] = Counter()

    def close(self) -> None:
        """Ask no more. Who is being asked is not waited for."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def ask(self, registry: str, question: Callable[[], _T]) -> _T:
        """Return what *question*, which asks *registry*, returns.

        Raises:
            ThrottledError: too many are waiting for an answer of this registry, or of all.
            UnreachableError: it has not answered in time.
        """
        if self._waiting[registry] >= MAX_OF_A_REGISTRY:
            raise ThrottledError(
                "too many requests wait for an answer of this registry",
                subject=registry,
                hint="try again in a while",
            )
        if self._waiting.total() >= QUESTIONS.all:
            raise ThrottledError(
                "too many requests wait for an answer of a registry", hint="try again in a while"
            )
        loop = asyncio.get_running_loop()

        def answered(_: Future[_T]) -> None:
            with suppress(RuntimeError):  # the loop has closed, and nobody waits
                loop.call_soon_threadsafe(self._answered, registry)

        self._waiting[registry] += 1
        asked = self._threads.submit(question)
        asked.add_done_callback(answered)
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return await asyncio.wrap_future(asked)
        except TimeoutError:
            raise UnreachableError(
                f"it has not answered for {ANSWER_SECONDS:.0f} s", registry=registry
            ) from None

    def _answered(self, registry: str) -> None:
        self._waiting[registry] -= 1
        if not self._waiting[registry]:
            del self._waiting[registry]
