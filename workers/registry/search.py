"""Searches an index of images by Docker's first API, the only one there is for that."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlencode

from transship.store.errors import InvalidReferenceError, InvalidSpecError, ProtocolError
from transship.store.images.view.filters import Filters, invalid
from transship.store.oci.reference import HUB, parse_domain
from transship.workers.registry.network import Network, RegistryResponse, followed
from transship.workers.registry.transport.connections import Outgoing
from transship.workers.registry.transport.errors import (
    RequestContext,
    answer_error,
    refuse_html,
    translated,
)
from transship.workers.registry.transport.hosts import RegistryHost
from transship.workers.registry.transport.origins import origin_of, split_host
from transship.workers.registry.transport.redirects import is_redirect
from transship.workers.registry.transport.responses import read_json

KEYS = ("is-automated", "is-official", "stars")
DEFAULT_LIMIT, MAX_RESULTS = 25, 100
MAX_RESULT_BYTES = 4 * 1024 * 1024
_HUB_INDEX = "index.docker.io"


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """A repository that an index knows; its name is as the index has it."""

    name: str
    description: str
    star_count: int
    is_official: bool
    is_automated: bool


@dataclass(frozen=True, slots=True)
class SearchFilter:
    """Which results are wanted: at least so many *stars*; None where it does not matter."""

    official: bool | None = None
    automated: bool | None = None
    stars: int | None = None

    @classmethod
    def parse(cls, filters: Filters) -> SearchFilter:
        """Read the filters of `KEYS`; of several `stars` the largest counts.

        Raises:
            InvalidSpecError: a value that cannot be.
        """
        try:
            stars = [int(text) for text in filters.values("stars")]
        except ValueError:
            raise invalid("stars is a number") from None
        return cls(
            official=_strict_flag(filters, "is-official"),
            automated=_strict_flag(filters, "is-automated"),
            stars=max(stars, default=None),
        )

    def fits(self, result: Result) -> bool:
        """Whether *result* is wanted."""
        return (
            self.official in (None, result.is_official)
            and self.automated in (None, result.is_automated)
            and (self.stars is None or result.star_count >= self.stars)
        )


def index_and_term(text: str) -> tuple[RegistryHost, str]:
    """Which index to ask, and for what: a first part that is a host names another index.

    Raises:
        InvalidSpecError: it begins with a scheme, or the host is none.
    """
    if "://" in text:
        raise _wrong_term("a term has no scheme in front of it")
    first, slash, rest = text.partition("/")
    if not slash or not (first == "localhost" or "." in first or ":" in first):
        return RegistryHost(HUB, _HUB_INDEX, _HUB_INDEX, None), text.removeprefix("library/")
    if first in (HUB, _HUB_INDEX):
        return RegistryHost(HUB, _HUB_INDEX, _HUB_INDEX, None), rest.removeprefix("library/")
    try:
        index = parse_domain(first)
    except InvalidReferenceError as wrong:
        raise _wrong_term(wrong.detail) from None
    return RegistryHost(index, index, *split_host(index)), rest


def search(network: Network, text: str, *, limit: int, confined: bool = False) -> list[Result]:
    """Ask the index for at most *limit* repositories; no credential goes along.

    Raises:
        InvalidSpecError: not a term.
        RegistryError: the index cannot be reached, or does not answer as one.
    """
    index, term = index_and_term(text)
    index = replace(index, confined=confined)
    asked = RequestContext(index.name, index.name, "GET search", confined=confined)
    path = f"/v1/search?{urlencode({'q': term, 'n': limit})}"
    answer = _ask(network, index, path, asked)
    try:
        if answer.status != 200:
            raise answer_error(answer.response, asked)
        refuse_html(answer.response, asked)
        with translated(asked):
            document = read_json(answer.response, MAX_RESULT_BYTES, what="results of a search")
            return list(_results(document.get("results")))
    finally:
        answer.response.close()


def _ask(
    network: Network, index: RegistryHost, path: str, asked: RequestContext
) -> RegistryResponse:
    def outgoing(url: str) -> Outgoing:
        return Outgoing(method="GET", url=url, headers={"Accept": "application/json"})

    network.await_turn(index, "", None)
    response, url = network.send_to(
        index,
        path,
        lambda to: network.connections.send(outgoing(to), registry=index, given=False, asked=asked),
    )
    if not is_redirect(response.status_code):
        return RegistryResponse(response, url)
    with translated(asked):
        onward = followed(response, "GET", url)
    return network.send_given(index, outgoing(onward), before=origin_of(url), asked=asked)


def _results(value: Any) -> Iterator[Result]:
    if value is None:  # as Go writes a list of nothing
        return
    if not isinstance(value, list):
        raise ProtocolError("answered with results that are no list")
    for item in value:
        if not isinstance(item, dict):
            raise ProtocolError("answered with a result that is no object")
        yield Result(
            name=_field(item, "name", str, ""),
            description=_field(item, "description", str, ""),
            star_count=_field(item, "star_count", int, 0),
            is_official=_field(item, "is_official", bool, default=False),
            is_automated=_field(item, "is_automated", bool, default=False),
        )


def _field(item: Mapping[str, Any], key: str, kind: type, default: Any) -> Any:
    value = item.get(key)
    if value is None:
        return default
    if not isinstance(value, kind):
        raise ProtocolError(f"answered with a result whose {key} cannot be one")
    return value


def _strict_flag(filters: Filters, key: str) -> bool | None:
    value = filters.one(key)
    if value is None:
        return None
    if value not in ("true", "false"):
        raise invalid(f"{key} is true or false, not {value[:80]!r}")
    return value == "true"


def _wrong_term(reason: str) -> InvalidSpecError:
    return InvalidSpecError(reason, errors=[{"field": "term", "message": reason}])
