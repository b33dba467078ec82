"""The course of a pull or a push in the words of Docker's own stream.

Clients of Docker match on these words. What does not happen here has none: layers are not
unpacked, so none is ever `Extracting`, and one is `Pull complete` when the image has its name.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from transship.store.catalog.scheduling import jobs
from transship.store.catalog.scheduling.events import Event
from transship.store.errors import sentence
from transship.workers.specs import PullSpec, PushSpec

Line = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Moving:
    """How far the transfer of a layer is."""

    state: str
    size: int
    bytes_done: int


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSnapshot:
    """What a job is like at one moment; *new* are its events since the last look."""

    state: str
    checkpoint: Mapping[str, Any]
    result: Mapping[str, Any]
    error: Mapping[str, Any] | None
    superseded: bool
    transfers: Mapping[str, Moving]
    new: Sequence[Event]


class DockerProgress:
    """Tells a job from its beginning to its end, each time what is new.

    Progress that nobody looked at is left out; what a layer came to never is.
    """

    def __init__(self, spec: PullSpec | PushSpec, *, alone: bool = True) -> None:
        """Tell of *spec*; if it is not *alone*, whoever tells of all tags begins and ends."""
        self._spec = spec
        self._alone = alone
        self._begun = self._ended = False
        self._said: set[tuple[str, str]] = set()
        self._last: dict[str, Line] = {}

    def tell(self, snapshot: JobSnapshot) -> Iterator[Line]:
        """What has happened since the last time."""
        if not self._begun and ("root" in snapshot.checkpoint or "tags" in snapshot.checkpoint):
            self._begun = True
            yield from self._beginning()
        for event in snapshot.new:
            yield from _aside(event)
        layer = self._pulled if isinstance(self._spec, PullSpec) else self._pushed
        for digest in snapshot.checkpoint.get("layers", ()):
            yield from layer(digest, snapshot)
        if snapshot.state in jobs.ENDED and not self._ended:
            self._ended = True
            yield from self._end(snapshot)

    def _beginning(self) -> Iterator[Line]:
        match self._spec:
            case PullSpec(all_tags=False):
                source = self._spec.source
                yield {"status": f"Pulling from {source.path}", "id": source.identifier}
            case PushSpec() if self._alone:
                repository = self._spec.repository
                yield {"status": f"The push refers to repository [{repository}]"}

    def _pulled(self, digest: str, snapshot: JobSnapshot) -> Iterator[Line]:
        if digest not in snapshot.checkpoint["absent"]:
            yield from self._once(digest, "Already exists")
            return
        yield from self._once(digest, "Pulling fs layer")
        published = snapshot.state == "succeeded"
        moving = snapshot.transfers.get(digest)
        if published or (moving is not None and moving.state == "done"):
            yield from self._once(digest, "Download complete")
        elif moving is not None:
            yield from self._on_the_way(digest, "Downloading", moving)
        if published:
            yield from self._once(digest, "Pull complete")

    def _pushed(self, digest: str, snapshot: JobSnapshot) -> Iterator[Line]:
        yield from self._once(digest, "Preparing")
        moving = snapshot.transfers.get(digest)
        if digest in snapshot.checkpoint["mounted"]:
            yield from self._once(digest, f"Mounted from {snapshot.checkpoint['mounted'][digest]}")
        elif digest not in snapshot.checkpoint["absent"] or digest in snapshot.checkpoint.get(
            "arrived", ()
        ):
            yield from self._once(digest, "Layer already exists")
        elif snapshot.state == "succeeded" or (moving is not None and moving.state == "done"):
            yield from self._once(digest, "Pushed")
        elif moving is not None:
            yield from self._on_the_way(digest, "Pushing", moving)

    def _on_the_way(self, digest: str, word: str, moving: Moving) -> Iterator[Line]:
        detail: dict[str, int] = {}
        if moving.state == "pending":
            word = "Waiting"
        elif moving.state != "running":
            return
        elif word == "Downloading" and moving.bytes_done == moving.size:
            word = "Verifying Checksum"
        else:
            detail = {"current": moving.bytes_done, "total": moving.size}
        line = _line(digest, word, detail)
        if self._last.get(digest) != line:
            self._last[digest] = line
            yield line

    def _once(self, digest: str, word: str) -> Iterator[Line]:
        if (digest, word) not in self._said:
            self._said.add((digest, word))
            yield _line(digest, word)

    def _end(self, snapshot: JobSnapshot) -> Iterator[Line]:
        if snapshot.state != "succeeded":
            yield from self._failure(snapshot)
        elif snapshot.superseded:
            yield {"status": f"Status: something newer wrote {self._name()} first"}
        elif isinstance(self._spec, PullSpec):
            if not self._spec.all_tags:
                yield {"status": f"Digest: {snapshot.result['digest']}"}
            if self._alone:
                up_to_date = snapshot.result["up_to_date"]
                found = "Image is up to date" if up_to_date else "Downloaded newer image"
                yield {"status": f"Status: {found} for {self._name()}"}
        elif not self._spec.all_tags:
            tag, digest = self._spec.target.identifier, snapshot.result["digest"]
            size = snapshot.result["size"]
            yield {"status": f"{tag}: digest: {digest} size: {size}"}
            yield {"progressDetail": {}, "aux": {"Tag": tag, "Digest": digest, "Size": size}}

    def _failure(self, snapshot: JobSnapshot) -> Iterator[Line]:
        error = snapshot.error or {
            "subject": self._name(),
            "detail": f"the job was {snapshot.state}",
        }
        message = sentence(error["subject"], error["detail"])
        if self._alone:
            yield {"errorDetail": {"message": message}, "error": message}
        else:
            yield {"status": f"Error: {message}"}

    def _name(self) -> str:
        if self._spec.all_tags:
            return self._spec.repository.familiar
        if isinstance(self._spec, PullSpec):
            return self._spec.source.familiar
        return self._spec.target.familiar


def _line(digest: str, word: str, detail: Mapping[str, int] | None = None) -> Line:
    return {"status": word, "progressDetail": detail or {}, "id": digest[7:19]}


def _aside(event: Event) -> Iterator[Line]:
    match event.type:
        case "retrying":
            seconds = max(1, math.ceil(event.data["seconds"]))
            word = f"Retrying in {seconds} second{'s' if seconds > 1 else ''}"
            digest = event.data.get("digest")
            yield _line(digest, word) if digest else {"status": word}
        case "warning":
            yield {"status": f"WARNING: {event.data['message']}"}
