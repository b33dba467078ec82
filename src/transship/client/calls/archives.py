"""Archives of images and file systems, in and out."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any, BinaryIO, Literal

from transship.api.client import requests
from transship.api.models.jobs import JobView
from transship.client.calls.exchange import adapter, given, new_key, several
from transship.client.calls.jobs import JobCalls
from transship.client.steps import Answer, Ask, Call, Do, Open, Read

Compression = Literal["none", "gzip", "zstd"]


class ArchiveCalls(JobCalls):
    """What jobs take and give."""

    def load(
        self,
        file: BinaryIO,
        *,
        repository: str | None = None,
        priority: int | None = None,
        deadline: float | None = None,
        idempotency_key: str | None = None,
    ) -> Call[JobView]:
        """Send an archive of images, and return the job that stores them.

        It is read from where *file* is to its end, and *file* is not closed. It is sent once: a
        lost connection raises UnreachableError.

        Args:
            file: A docker-archive or an OCI layout as a tar, compressed or not.
            repository: What a bare tag in an OCI layout is a tag of.
            priority: See `submit`.
            deadline: See `submit`.
            idempotency_key: See `submit`.
        """
        params = given(repository=repository, priority=priority, deadline=deadline)
        return (yield from self._sent("/loads", params, file, idempotency_key))

    def import_image(
        self,
        file: BinaryIO,
        reference: str | None = None,
        *,
        changes: Sequence[str] = (),
        message: str = "",
        platform: str | None = None,
        priority: int | None = None,
        deadline: float | None = None,
        idempotency_key: str | None = None,
    ) -> Call[JobView]:
        """Send the tar of a file system, and return the job that makes an image of one layer of it.

        *file* is read as by `load`. For a tar at a URL submit an `ImportSpec`.

        Args:
            file: The tar, compressed or not.
            reference: The name to give.
            changes: Instructions as of a Dockerfile.
            message: The commit message.
            platform: `os/arch[/variant]`, by default the server's.
            priority: See `submit`.
            deadline: See `submit`.
            idempotency_key: See `submit`.
        """
        params = given(
            reference=reference,
            change=list(changes),
            message=message,
            platform=platform,
            priority=priority,
            deadline=deadline,
        )
        return (yield from self._sent("/imports", params, file, idempotency_key))

    def export(self, id_: str, file: BinaryIO, /, *, compress: Compression = "none") -> Call[int]:
        """Write the archive of a job of kind `export` that has succeeded; returns its size.

        *file* is not closed. After an error it has a part of the archive.
        """
        answer: Answer = yield Open(requests.download(id_, compress=compress))
        self._check(answer)
        size = 0
        while piece := (yield Read()):
            yield Do(partial(_write, file, piece))
            size += len(piece)
        return size

    def save(
        self,
        references: str | Iterable[str],
        file: BinaryIO,
        *,
        format: Literal["docker", "oci"] = "docker",  # noqa: A002 -- as the spec has it
        platform: str | None = None,
        compress: Compression = "none",
        timeout: float | None = None,
    ) -> Call[JobView]:
        """Write an archive of images to *file*, as by `submit`, `wait` and `export`.

        Returns the job.

        Args:
            references: Images in the store.
            file: Where to write; not closed.
            format: `docker` for any Docker, `oci` for readers that are strict about OCI.
            platform: Which image of an index Docker loads.
            compress: How the archive as a whole is compressed.
            timeout: Seconds for the job, before anything is written; see `wait`.
        """
        spec = {"kind": "export", "references": several(references), "format": format}
        made = yield from self.submit(spec | given(platform=platform))
        job = yield from self.wait(made.id, timeout, check=True)
        yield from self.export(job.id, file, compress=compress)
        return job

    def _sent(
        self, path: str, params: Mapping[str, Any], file: BinaryIO, key: str | None
    ) -> Call[JobView]:
        size: int | None = yield Do(partial(_left, file))
        request = requests.send(path, params, size=size).keyed(key or new_key())
        answer: Answer = yield Ask(request, file)
        self._check(answer)
        return self._validated(answer, answer.content, adapter(JobView))


def _write(file: BinaryIO, piece: bytes) -> None:
    """Write all of *piece*; a file that is not buffered may take a part at a time."""
    left = memoryview(piece)
    while left:
        left = left[file.write(left) :]


def _left(file: BinaryIO) -> int | None:
    """How many bytes there are from where *file* is to its end; None where it cannot be known."""
    try:
        here = file.tell()
        end = file.seek(0, os.SEEK_END)
        file.seek(here)
    except (OSError, AttributeError):
        return None
    return end - here
