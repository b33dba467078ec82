"""What holds for whatever talks to a server: who may read its secrets, and how it can fail."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from transship.store.errors import ProtocolError, RequestError, ServerUnreachableError, Side
from transship.store.home import read_token
from transship.workers.registry.transport.addresses import is_loopback


def is_private(url: str) -> bool:
    """Whether nobody else can read what is sent to *url*."""
    parts = urlsplit(url)
    return parts.scheme == "https" or is_loopback(parts.hostname or "")


def shown_token(url: str, token: str | None, home: Path) -> str | None:
    """What a server at *url* is shown: *token*, or on this machine that of the data directory.

    A server on this machine is most often the one of its data directory.
    """
    if token is None and is_loopback(urlsplit(url).hostname or ""):
        return read_token(home)
    return token


def readable(what: str, where: str) -> RequestError:
    """Why *what* is not sent to *where*."""
    return RequestError(
        f"{what} would go over plain HTTP, where others can read it",
        subject=where,
        hint="use https, or set TRANSSHIP_TOKEN_OVER_HTTP=1 where the network is your own",
    )


def unreachable(where: str, reason: object) -> ServerUnreachableError:
    """There is no answer."""
    return ServerUnreachableError(
        f"no Transship server answers: {reason}",
        subject=where,
        hint="check TRANSSHIP_URL, or start one with `transship up`",
    )


def no_server_of_ours(where: str, status: int) -> ProtocolError:
    """There is an answer, and it is not Transship's."""
    return ProtocolError(
        f"answered {status}, and not as a Transship server does",
        subject=where,
        hint="check TRANSSHIP_URL",
        side=Side.REQUEST,
    )
