"""What a call consists of: steps that a client takes for it, one after the other.

A call is written once, as a generator of steps that gets back what came of each, and raises or
returns. `Client` takes the steps by blocking, `AsyncClient` by awaiting.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator
from dataclasses import dataclass
from inspect import signature
from typing import Any, BinaryIO, Generic, TypeVar

from transship.api.client.requests import Request
from transship.client.errors import ClientError, InvalidRequestError
from transship.store.errors import TransshipError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server answered; of a stream that it has begun only the head."""

    request: Request
    status: int
    content: bytes

    @property
    def is_success(self) -> bool:
        """Whether the status is 2xx."""
        return 200 <= self.status < 300


@dataclass(frozen=True, slots=True)
class Ask:
    """Send a request, with *body* if there is one; gives the `Answer`."""

    request: Request
    body: BinaryIO | None = None


@dataclass(frozen=True, slots=True)
class Open:
    """Send a request whose answer is a stream; gives the `Answer`, whole unless it is 200."""

    request: Request


@dataclass(frozen=True, slots=True)
class Read:
    """Give the next bytes of the stream that is open; none at its end."""


@dataclass(frozen=True, slots=True)
class Sleep:
    """Wait so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Do:
    """Call what may block; gives what it returns."""

    function: Callable[[], object]


@dataclass(frozen=True, slots=True)
class Give(Generic[T]):
    """Hand an item to the program that iterates over the call."""

    item: T


@dataclass(frozen=True, slots=True)
class Returned(Generic[T]):
    """What a call has come to, for the client that has taken its steps."""

    value: T


Step = Ask | Open | Read | Sleep | Do
Call = Generator[Step, Any, T]
Items = Generator[Step | Give[T], Any, None]
Steps = Generator[Step | Give[Any], Any, T]  # either of them

_OUTCOME = re.compile(r"(?:Call|Items)\[(.*)\]")


def advance(steps: Steps[T], outcome: object) -> Step | Give[Any] | Returned[T]:
    """The next step of a call, given the *outcome* of the last; a ClientError is raised in it.

    Raises:
        ClientError: the call has failed.
    """
    try:
        return steps.throw(outcome) if isinstance(outcome, ClientError) else steps.send(outcome)
    except StopIteration as end:
        return Returned(end.value)
    except ClientError:
        raise
    except TransshipError as error:  # found wrong before anything was sent
        raise InvalidRequestError.of(error) from None


def documented(method: Callable[..., Any], function: Callable[..., Any], form: str) -> None:
    """Let `help` show *method* with the signature of the *function* that it runs.

    What it returns is shown in the *form* that a method of its class has it in.
    """
    returns = _OUTCOME.sub(lambda match: form.format(match[1]), function.__annotations__["return"])
    vars(method)["__signature__"] = signature(function).replace(return_annotation=returns)
