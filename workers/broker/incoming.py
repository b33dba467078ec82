"""Reads messages that other services send as `transship.submit`: strangers' input, in any shape."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from transship.store.catalog.access.tenants import BROKER, HOUSE
from transship.store.catalog.scheduling.jobs import NewJob
from transship.store.errors import InvalidSpecError, ScopeError, TransshipError
from transship.store.settings import Settings
from transship.workers.broker.names import SUBMIT
from transship.workers.credentials.grants import MayUse
from transship.workers.jobs.submission import Submission
from transship.workers.specs import BROKER_KINDS, KINDS, AnySpec, parse_spec

REQUESTER = BROKER
LONGEST_KEPT_SPEC = 64 * 1024  # bytes of a spec that failed, in the record of its job
LONGEST_NAME = 100
UNKNOWN_KIND = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rights:
    """What jobs of the broker may do: whoever writes to Redis is known by nothing else.

    Attributes:
        kinds: Which there may be.
        tenant: Whose images they work on.
        may_use: The server's credentials that they have, by name.
        may_hurry: Whether their priority may be above 0.
    """

    kinds: frozenset[str]
    tenant: str = REQUESTER
    may_use: MayUse = frozenset()
    may_hurry: bool = False

    @classmethod
    def of(cls, settings: Settings) -> Rights:
        """The rights that the settings give.

        Raises:
            InvalidSpecError: they name a kind that is not taken from the broker.
        """
        named = BROKER_KINDS if settings.broker_kinds is None else frozenset(settings.broker_kinds)
        if not named <= BROKER_KINDS:
            message = f"invalid setting: expected some of {', '.join(sorted(BROKER_KINDS))}"
            raise InvalidSpecError(
                message, errors=[{"field": "TRANSSHIP_BROKER_KINDS", "message": message}]
            )
        return cls(
            kinds=named,
            tenant=HOUSE if settings.trust == "shared" else REQUESTER,
            may_use=frozenset(settings.broker_credentials),
            may_hurry=settings.broker_priority,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Invalid:
    """A message with a usable id and a spec that cannot be done: it becomes a failed job."""

    id: str
    spec: dict[str, Any]
    fingerprint: str
    error: TransshipError

    def job(self) -> NewJob:
        """What its row is made from."""
        return NewJob(
            id=self.id,
            kind=_known_kind(self.spec) or UNKNOWN_KIND,
            spec=self.spec,
            label="invalid spec",
            registry="",
            priority=0,
            requested_by=REQUESTER,
            fingerprint=self.fingerprint,
        )


@dataclass(frozen=True, slots=True)
class Unusable:
    """A message without a usable id, or none at all: it is kept among the rejected ones."""

    reason: str


def read(raw: bytes, rights: Rights) -> Submission | Invalid | Unusable:
    """What a message as it lies in Redis asks for; its job has *rights*."""
    try:
        task, args, kwargs = _parts(raw)
        if task != SUBMIT:
            return Unusable(f"no worker has a task {ascii(task)[:LONGEST_NAME]}")
        id_, spec = _arguments(args, kwargs)
    except (ValueError, TypeError, RecursionError) as error:
        return Unusable(str(error) or type(error).__name__)
    try:
        return Submission(
            id=id_,
            spec=_parsed(spec, rights.kinds),
            requested_by=REQUESTER,
            tenant=rights.tenant,
            may_use=rights.may_use,
            may_hurry=rights.may_hurry,
        )
    except TransshipError as error:
        return invalid(id_, spec, error)
    except RecursionError:
        return invalid(id_, None, _invalid_spec("it is nested too deeply"))


def invalid(id_: str, spec: object, error: TransshipError) -> Invalid:
    """A failed job for what was asked under *id_*, without what may be a secret."""
    kept: dict[str, Any] = {}
    text = json.dumps(spec, sort_keys=True, default=str) if spec is not None else ""
    if isinstance(spec, dict):
        if len(text) <= LONGEST_KEPT_SPEC:
            kept = {k: v for k, v in _printable(spec).items() if k not in ("credentials", "url")}
        elif kind := _known_kind(spec):
            kept = {"kind": kind}
    return Invalid(
        id=id_,
        spec=kept,
        fingerprint=hashlib.sha256(text.encode()).hexdigest(),
        error=error,
    )


def is_runnable(raw: bytes, tasks: Collection[str]) -> bool:
    """Whether Celery can run a message here: a task of *tasks* with the id of a row.

    Celery ends the worker over some of the messages for which this is False, and loses others.
    """
    try:
        envelope = json.loads(raw)
        headers, properties = envelope["headers"], envelope["properties"]
        delivery = properties["delivery_info"]
        usable = all(
            isinstance(one, str)
            for one in (
                *(headers["id"], properties["delivery_tag"]),
                *(delivery["exchange"], delivery["routing_key"]),
            )
        )
        task, args, kwargs = _parts(raw)
        return (
            usable and task in tasks and not kwargs and len(args) == 1 and isinstance(args[0], str)
        )
    except (ValueError, TypeError, KeyError, RecursionError):
        return False


def _parts(raw: bytes) -> tuple[str, list[Any], dict[str, Any]]:
    """Task, arguments and keyword arguments of a message of Celery's protocol 1 or 2.

    Raises:
        ValueError, TypeError: it is something else.
    """
    envelope = _mapping(_json(raw, "the message"), "the message")
    headers = _mapping(envelope.get("headers") or {}, "headers")
    properties = _mapping(envelope.get("properties") or {}, "properties")
    if headers.get("compression"):
        raise ValueError("the body is compressed")
    if envelope.get("content-type") != "application/json":
        raise ValueError("the content type is not application/json")
    body = envelope.get("body")
    if not isinstance(body, str):
        raise TypeError("the body is not text")
    if properties.get("body_encoding") == "base64":
        try:
            body = base64.b64decode(body, validate=True)
        except binascii.Error:
            raise ValueError("the body is not base64") from None
    content = _json(body, "the body")
    if "task" in headers:
        if not isinstance(content, list) or len(content) != 3:
            raise TypeError("the body is not a list of arguments, keyword arguments and options")
        task, args, kwargs = headers["task"], content[0], content[1]
    else:
        found = _mapping(content, "the body")
        task, args, kwargs = found.get("task"), found.get("args"), found.get("kwargs")
    if not isinstance(task, str):
        raise TypeError("the name of the task is not text")
    if not isinstance(args or [], list):
        raise TypeError("the arguments are not a list")
    return task, args or [], _mapping(kwargs or {}, "the keyword arguments")


def _arguments(args: list[Any], kwargs: dict[str, Any]) -> tuple[str, object]:
    """The id, which is usable, and the spec, which may be anything.

    Raises:
        ValueError, TypeError: there is no usable id.
    """
    given = {**dict(zip(("id", "spec"), args, strict=False)), **kwargs}
    id_ = given.get("id")
    if not isinstance(id_, str):
        raise TypeError("there is no id that is text")
    try:
        is_canonical = str(UUID(id_)) == id_  # one job must not have several names
    except ValueError:
        is_canonical = False
    if not is_canonical:
        raise ValueError("the id is no UUID in its canonical form")
    return id_, given.get("spec")


def _known_kind(spec: dict[str, Any]) -> str | None:
    kind = spec.get("kind")
    return kind if isinstance(kind, str) and kind in KINDS else None


def _parsed(spec: object, kinds: Collection[str]) -> AnySpec:
    if not isinstance(spec, dict):
        raise _invalid_spec("the spec is not an object")
    if spec != _printable(spec):
        raise _invalid_spec("it has a NUL, or half of a surrogate pair")
    parsed = parse_spec(spec)
    if parsed.kind not in kinds:
        raise ScopeError(
            f"jobs of the kind {parsed.kind!r} are not taken from the broker",
            subject=parsed.kind,
            hint="ask for it through the API, or see TRANSSHIP_BROKER_KINDS",
        )
    return parsed


def _invalid_spec(message: str) -> InvalidSpecError:
    return InvalidSpecError(message, errors=[{"field": "spec", "message": message}])


def _printable(value: Any) -> Any:
    """The same value without characters that a database does not take."""
    if isinstance(value, str):
        return value.replace("\0", "\ufffd").encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {_printable(key): _printable(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_printable(one) for one in value]
    return value


def _mapping(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TypeError(f"{what} is not an object")
    return value


def _json(text: bytes | str, what: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        raise ValueError(f"{what} is not JSON") from None
