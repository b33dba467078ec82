r"""What goes wrong between a worker and a registry, by script.

A rule says what happens to some requests of a kind. `FaultProxy` stands before a registry and
keeps to a list of rules; by hand, with every request printed as it ends:

    python -m tests.support.faults --upstream localhost:5001 --listen 127.0.0.1:5009 \
        --rule 'blob-get reset=1000000 times=2' --rule 'manifest-put 429=7'

A rule is VERB FAULT[=VALUE] [times=N] [after=N]: it holds for N requests of that kind (without:
for all), once N have passed untouched. The first rule that holds counts.
"""

from __future__ import annotations

import argparse
import contextlib
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from email.utils import formatdate
from enum import StrEnum
from pathlib import Path

from tests.support.proxy import Action, ProxiedRequest, SlowProxy

HTML = b"<!DOCTYPE html><html><body>Please sign in to the guest network.</body></html>"
HTML_TYPE = {"Content-Type": "text/html; charset=utf-8"}


class Verb(StrEnum):
    """A kind of request to a registry."""

    TOKEN_GET = "token-get"
    TAGS_LIST = "tags-list"
    MANIFEST_HEAD = "manifest-head"
    MANIFEST_GET = "manifest-get"
    MANIFEST_PUT = "manifest-put"
    BLOB_HEAD = "blob-head"
    BLOB_GET = "blob-get"
    UPLOAD_POST = "upload-post"
    UPLOAD_PATCH = "upload-patch"
    UPLOAD_STATUS = "upload-status"
    UPLOAD_PUT = "upload-put"  # with the blob
    UPLOAD_CLOSE = "upload-close"  # PUT without a body
    UPLOAD_DELETE = "upload-delete"


_KINDS: tuple[tuple[re.Pattern[str], dict[str, Verb]], ...] = (
    (
        re.compile(r"/v2/.+/blobs/uploads/.*"),
        {
            "POST": Verb.UPLOAD_POST,
            "PATCH": Verb.UPLOAD_PATCH,
            "GET": Verb.UPLOAD_STATUS,
            "PUT": Verb.UPLOAD_PUT,
            "DELETE": Verb.UPLOAD_DELETE,
        },
    ),
    (re.compile(r"/v2/.+/blobs/[^/]+"), {"GET": Verb.BLOB_GET, "HEAD": Verb.BLOB_HEAD}),
    (
        re.compile(r"/v2/.+/manifests/[^/]+"),
        {"GET": Verb.MANIFEST_GET, "HEAD": Verb.MANIFEST_HEAD, "PUT": Verb.MANIFEST_PUT},
    ),
    (re.compile(r"/v2/.+/tags/list"), {"GET": Verb.TAGS_LIST}),
    (re.compile(r"(/v2)?/token"), {"GET": Verb.TOKEN_GET, "POST": Verb.TOKEN_GET}),
)


def verb_of(request: ProxiedRequest) -> Verb | None:
    """What kind of request this is; None for any other."""
    for path, verbs in _KINDS:
        if path.fullmatch(request.path):
            verb = verbs.get(request.method)
            if verb is Verb.UPLOAD_PUT and request.headers.get("content-length", "0") == "0":
                return Verb.UPLOAD_CLOSE
            return verb
    return None


# --- faults --------------------------------------------------------------------------------------

Fault = Callable[[ProxiedRequest, str], Action]


def _answer(status: int) -> Fault:
    """Answer *status*; the value is a Retry-After in seconds, or "date+SECONDS"."""

    def fault(_: ProxiedRequest, value: str) -> Action:
        headers = {"Date": formatdate(usegmt=True)}
        if value.startswith("date+"):
            seconds = float(value.removeprefix("date+"))
            headers["Retry-After"] = formatdate(time.time() + seconds, usegmt=True)
        elif value:
            headers["Retry-After"] = value
        return Action(status=status, headers=headers, body=b'{"errors":[{"code":"UNKNOWN"}]}')

    return fault


def _cut(request: ProxiedRequest, value: str, *, reset: bool = False) -> Action:
    """Close the connection after VALUE bytes of whichever body there is."""
    after = int(value or 0)
    if request.headers.get("content-length", "0") != "0":
        return Action(cut_request_after=after, reset=reset)
    if request.method != "GET" or not after:
        return Action(drop=True, reset=reset)
    return Action(cut_after=after, reset=reset)


def _reset(request: ProxiedRequest, value: str) -> Action:
    return _cut(request, value, reset=True)


def _wrong_bytes(request: ProxiedRequest, _: str) -> Action:
    def flipped(piece: bytes) -> bytes:
        return bytes([piece[0] ^ 1]) + piece[1:]

    if request.headers.get("content-length", "0") != "0":
        return Action(change_request=flipped)
    return Action(change=flipped)


def _lying_range(request: ProxiedRequest, _: str) -> Action:
    name = "Content-Range" if request.method == "GET" and request.is_blob_get else "Range"
    told = "bytes 3-9/10" if name == "Content-Range" else "0-3"
    return Action(headers={name: told})


def _expired_token(request: ProxiedRequest, _: str) -> Action:
    realm = f'Bearer realm="http://{request.headers["host"]}/token",service="simulated"'
    return Action(status=401, headers={"WWW-Authenticate": realm})


def _elsewhere(request: ProxiedRequest, value: str) -> Action:
    """Send the client to VALUE, an origin: by redirect, or as the place of an upload."""
    location = {"Location": f"{value}{request.target}"}
    if verb_of(request) in {Verb.UPLOAD_POST, Verb.UPLOAD_PATCH, Verb.UPLOAD_STATUS}:
        return Action(headers={"Location": f"{value}/v2/elsewhere/blobs/uploads/1?_state=x"})
    return Action(status=307, headers=location)


FAULTS: dict[str, Fault] = {
    "latency": lambda _, value: Action(delay_seconds=float(value)),
    "bandwidth": lambda _, value: Action(bytes_per_second=float(value)),
    "drip": lambda _, value: Action(bytes_per_second=float(value or 20)),
    "silence": lambda _, value: Action(hold_seconds=float(value or 3600)),
    "reset": _reset,
    "cut": _cut,
    "wrong-bytes": _wrong_bytes,
    "400": _answer(400),
    "401": _answer(401),
    "403": _answer(403),
    "404": _answer(404),
    "416": _answer(416),
    "429": _answer(429),
    "500": _answer(500),
    "502": _answer(502),
    "503": _answer(503),
    "no-range": lambda _r, _v: Action(forget_range=True),
    "lying-range": _lying_range,
    "expired-token": _expired_token,
    "elsewhere": _elsewhere,
    "html": lambda _r, _v: Action(status=200, headers=HTML_TYPE, body=HTML),
    "encoded": lambda _r, _v: Action(headers={"Content-Encoding": "br"}),
}


@dataclass(frozen=True, slots=True)
class Rule:
    """What happens to the requests of *verb* from number *after* on, to *times* of them."""

    verb: Verb
    fault: str
    value: str = ""
    times: int | None = None
    after: int = 0

    @classmethod
    def parse(cls, text: str) -> Rule:
        """Read a rule as it is written on the command line.

        Raises:
            ValueError: it is none.
        """
        verb, fault, *rest = text.split()
        name, _, value = fault.partition("=")
        if name not in FAULTS:
            raise ValueError(f"no such fault: {name}; there are {', '.join(FAULTS)}")
        more = dict(part.split("=") for part in rest)
        times = int(more.pop("times")) if "times" in more else None
        after = int(more.pop("after", 0))
        if more:
            raise ValueError(f"not understood: {' '.join(more)}")
        return cls(Verb(verb), name, value, times, after)


@dataclass(slots=True)
class _Script:
    """The rules, and how many requests of each kind have come."""

    rules: list[Rule]
    anonymous: bool
    seen: Counter[Verb] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, request: ProxiedRequest) -> Action | None:
        verb = verb_of(request)
        named = self.anonymous or "authorization" in request.headers or verb is Verb.TOKEN_GET
        if verb is None or not named:
            return None
        with self.lock:
            number = self.seen[verb]
            self.seen[verb] += 1
        for rule in self.rules:
            ends = None if rule.times is None else rule.after + rule.times
            if rule.verb is verb and rule.after <= number and (ends is None or number < ends):
                return FAULTS[rule.fault](request, rule.value)
        return None


class FaultProxy(SlowProxy):
    """Stands before the registry at *target_host*, and keeps to *rules* until stopped.

    Without *anonymous* a request that carries no credentials, and only asks which are wanted, is
    neither counted nor touched.
    """

    def __init__(
        self,
        target_host: str,
        rules: Iterable[Rule] = (),
        *,
        anonymous: bool = True,
        port: int = 0,
    ) -> None:
        script = _Script(list(rules), anonymous)
        super().__init__(target_host, on_request=script, host_name="localhost", port=port)
        self._script = script

    def count(self, verb: Verb) -> int:
        """How many requests of a kind have come."""
        return self._script.seen[verb]


def described(request: ProxiedRequest) -> str:
    """A request on one line: kind, path, range, bytes each way, status."""
    verb = verb_of(request) or request.method
    label = request.range or request.headers.get("content-range", "-")
    moved = f"{request.bytes_received} in, {request.bytes_sent} out"
    return f"{request.status or 'cut':>4} {verb:<13} {request.path} {label} {moved}"


def main() -> None:
    """Stand before a registry until Ctrl-C, and print each request when it has ended."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--upstream", required=True, metavar="HOST:PORT")
    parser.add_argument("--listen", default="127.0.0.1:0", metavar="HOST:PORT")
    parser.add_argument("--rule", action="append", type=Rule.parse, default=[])
    parser.add_argument("--script", type=Path, help="a file with a rule a line")
    given = parser.parse_args()
    rules: list[Rule] = given.rule
    if given.script is not None:
        rules += [Rule.parse(line) for line in given.script.read_text().splitlines() if line]
    port = int(given.listen.rpartition(":")[2])
    with (
        FaultProxy(given.upstream, rules, port=port) as proxy,
        contextlib.suppress(KeyboardInterrupt),
    ):
        print(f"{proxy.host} -> {given.upstream}", flush=True)
        shown: set[int] = set()
        while True:
            for request in proxy.requests():
                if request.ended is not None and request.number not in shown:
                    shown.add(request.number)
                    print(described(request), flush=True)
            time.sleep(0.1)


if __name__ == "__main__":
    main()
