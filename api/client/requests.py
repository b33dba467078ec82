"""The requests of the HTTP API, one function each: what every client of it sends.

They are values. Each client sends them in its own way, and the standard library is enough for all.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Self
from urllib.parse import quote

from transship.store.errors import RequestError

PREFIX: Final = "/api/v1"
IDEMPOTENCY_KEY: Final = "Idempotency-Key"
LONG_POLL_SECONDS: Final = 30
MAX_ON_A_PAGE: Final = 1000
SILENCE: Final = 60.0  # seconds without a byte; a stream says every 15 s that the server lives
READING: Final = 600.0  # the server reads whole layers before it answers
BODY: Final = 300.0  # a body's last piece may have to be hashed, and a layer's size to be found
TAR: Final = "application/x-tar"
NDJSON: Final = "application/x-ndjson"


@dataclass(frozen=True, slots=True)
class Request:
    """What is sent, apart from a body that is streamed.

    Attributes:
        path: Below `/api/v1`.
        params: Each value of a list is sent under the key; None is left out.
        timeout: Seconds without a byte until the answer counts as missing; None: the client's own.
        repeatable: Whether the same request twice has the effect of one.
    """

    method: str
    path: str
    params: Mapping[str, Any] = field(default_factory=dict)
    json: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    timeout: float | None = None
    repeatable: bool = False

    @property
    def may_be_repeated(self) -> bool:
        """Whether it may be sent again when its answer was lost."""
        return self.repeatable or self.method == "GET" or IDEMPOTENCY_KEY in self.headers

    def keyed(self, key: str | None) -> Self:
        """The same under an idempotency key, where there is one."""
        return replace(self, headers={**self.headers, IDEMPOTENCY_KEY: key}) if key else self


def given(**values: Any) -> dict[str, Any]:
    """The parameters that say something."""
    return {name: value for name, value in values.items() if value}


def quoted(segment: str) -> str:
    """A reference or a name as one part of a path.

    Raises:
        RequestError: it is empty, or has a part that would lead to another path.
    """
    if not segment:
        raise RequestError("an id, a name or a reference is needed, and this is an empty one")
    if not {".", ".."}.isdisjoint(segment.split("/")):
        raise RequestError("no name has `.` or `..` as a part", subject=segment)
    return quote(segment, safe="/:@")


def limits() -> Request:
    """The limits in force."""
    return Request("GET", "/limits")


def submit(spec: Mapping[str, Any], credentials: Mapping[str, Any]) -> Request:
    """Ask for a job."""
    return Request("POST", "/jobs", json={**spec, "credentials": credentials})


def job(id_: str, *, wait: float | None = None) -> Request:
    """A job; with *wait* when it has ended, or so many seconds have passed."""
    path = f"/jobs/{quoted(id_)}"
    return Request("GET", path, params={"wait": wait})


def jobs(filters: Mapping[str, Any], *, limit: int, cursor: str | None = None) -> Request:
    """A page of jobs."""
    return Request("GET", "/jobs", params={**filters, "limit": limit, "cursor": cursor})


def transfers(id_: str) -> Request:
    """A job's transfers."""
    return Request("GET", f"/jobs/{quoted(id_)}/transfers")


def log(id_: str, *, after: str = "0") -> Request:
    """A page of a job's log."""
    return Request("GET", f"/jobs/{quoted(id_)}/log", params={"after": after})


def events(id_: str, *, after: int = 0) -> Request:
    """A job's events from *after* on, as a stream of lines."""
    headers = {"Accept": NDJSON, "Last-Event-ID": str(after)}
    return Request("GET", f"/jobs/{quoted(id_)}/events", headers=headers, timeout=SILENCE)


def cancel(id_: str) -> Request:
    """Ask a job to stop."""
    return Request("POST", f"/jobs/{quoted(id_)}/cancel", repeatable=True)


def retry(id_: str, credentials: Mapping[str, Any]) -> Request:
    """Make a new job like an ended one."""
    return Request("POST", f"/jobs/{quoted(id_)}/retry", json={"credentials": credentials})


def send(path: str, params: Mapping[str, Any], *, size: int | None) -> Request:
    """Ask for a job whose body, a tar of *size* bytes where that is known, is sent along."""
    headers = {"Content-Type": TAR}
    if size is not None:
        headers["Content-Length"] = str(size)
    return Request("POST", path, params=given(**params), headers=headers, timeout=BODY)


def download(id_: str, *, compress: str) -> Request:
    """The bytes of an export."""
    return Request("GET", f"/exports/{quoted(id_)}", params={"compress": compress}, timeout=BODY)


def images(pattern: str | None, *, filters: Iterable[str] = (), all_: bool = False) -> Request:
    """The images in the store."""
    params = given(pattern=pattern, filter=list(filters), all=all_)
    return Request("GET", "/images", params=params)


def inspect(ref: str, *, platform: str | None = None) -> Request:
    """What is held of an image."""
    return Request("GET", f"/images/{quoted(ref)}/inspect", params=given(platform=platform))


def tag(ref: str, new: str) -> Request:
    """Add a tag to an image."""
    path = f"/images/{quoted(ref)}/tag"
    return Request("POST", path, json={"reference": new}, repeatable=True)


def remove(ref: str, *, force: bool = False, noprune: bool = False) -> Request:
    """Take a name away, and with its last name the image; given an ID, all of them."""
    return Request("DELETE", f"/images/{quoted(ref)}", params=given(force=force, noprune=noprune))


def inspect_remote(ref: str, credential: Mapping[str, str] | None = None) -> Request:
    """What a registry has under a reference."""
    return _remote(f"{quoted(ref)}/inspect", {}, credential)


def digest_remote(
    ref: str, credential: Mapping[str, str] | None = None, *, platform: str | None = None
) -> Request:
    """The digest that a reference stands for in its registry."""
    return _remote(f"{quoted(ref)}/digest", given(platform=platform), credential)


def tags(
    repository: str, credential: Mapping[str, str] | None = None, *, cursor: str | None = None
) -> Request:
    """A page of the tags of a repository in its registry."""
    return _remote(f"{quoted(repository)}/tags", given(cursor=cursor), credential)


def mirrors() -> Request:
    """The policies that are kept."""
    return Request("GET", "/mirrors")


def mirror(name: str) -> Request:
    """A policy that is kept."""
    return Request("GET", _mirror(name))


def run_mirror(name: str) -> Request:
    """Start a run of a policy, which is a job."""
    return Request("POST", f"{_mirror(name)}/runs")


def verify_mirror(name: str, *, read: bool, repair: bool) -> Request:
    """Verify what a policy has mirrored, by a job."""
    return Request("POST", f"{_mirror(name)}/verify", json={"read": read, "repair": repair})


def mirror_runs(name: str, *, limit: int) -> Request:
    """The runs of a policy, the newest first."""
    return Request("GET", f"{_mirror(name)}/runs", params={"limit": limit})


def put_mirror(name: str, wanted: Mapping[str, Any]) -> Request:
    """Keep a policy under a name, in place of the one that has it."""
    return Request("PUT", _mirror(name), json=wanted)


def change_mirror(name: str, *, enabled: bool) -> Request:
    """Let a policy start on its interval, or not."""
    return Request("PATCH", _mirror(name), json={"enabled": enabled})


def remove_mirror(name: str) -> Request:
    """Forget a policy."""
    return Request("DELETE", _mirror(name))


def _mirror(name: str) -> str:
    return f"/mirrors/{quoted(name)}"


def _remote(path: str, params: Mapping[str, Any], credential: Mapping[str, str] | None) -> Request:
    headers = {"X-Registry-Auth": _registry_auth(credential)} if credential else {}
    return Request("GET", f"/remote/{path}", params=params, headers=headers)


def _registry_auth(credential: Mapping[str, str]) -> str:
    """A credential as Docker's API takes it in a header."""
    fields = {name.replace("_token", "token"): value for name, value in credential.items()}
    return base64.urlsafe_b64encode(json.dumps(fields).encode()).decode()
