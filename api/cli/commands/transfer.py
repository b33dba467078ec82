"""Bytes between this machine's files and a server, with a bar for them."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

from transship.api.cli.connect.connection import Connection
from transship.api.cli.connect.target import NeedsServerError, Target
from transship.api.cli.form import Form
from transship.api.cli.output.errors import job_exit_code
from transship.api.cli.output.follow import follow, report
from transship.api.cli.output.progress import Silence, lines_or_bars
from transship.store.errors import StoreError
from transship.store.sizes import human_bytes

_PIECE_BYTES = 256 * 1024


class ByteBar:
    """A bar for bytes on a terminal, one line at the end elsewhere; nothing where it is *quiet*."""

    def __init__(self, what: str, total: int | None, *, quiet: bool) -> None:
        """Show how far *what* is, of *total* bytes where that is known."""
        self._what, self._quiet = what, quiet
        self._done = 0
        self._progress: Any = None
        if not quiet and sys.stderr.isatty():
            from rich.console import Console  # noqa: PLC0415 -- 60 ms that a script need not pay
            from rich.progress import (  # noqa: PLC0415
                BarColumn,
                DownloadColumn,
                Progress,
                TextColumn,
                TransferSpeedColumn,
            )

            self._progress = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                DownloadColumn(),
                TransferSpeedColumn(),
                console=Console(stderr=True),
                transient=True,
            )
            self._task = self._progress.add_task(what, total=total)

    def passing(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        """Yield *pieces*, counted."""
        for piece in pieces:
            yield piece
            self._done += len(piece)
            if self._progress is not None:
                self._progress.update(self._task, completed=self._done)

    def __enter__(self) -> Self:
        if self._progress is not None:
            self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._progress is not None:
            self._progress.stop()
        elif not self._quiet and error is None:
            print(f"{self._what}: {human_bytes(self._done)}", file=sys.stderr, flush=True)


def send_file(
    path: str,
    stream: BinaryIO,
    size: int | None,
    params: dict[str, Any],
    *,
    form: Form,
    quiet: bool,
    detach: bool,
    idempotency_key: str | None,
) -> int:
    """Send *stream* as the body of a request for a job, and follow that to its end."""
    silent = quiet or form.is_data
    with Connection(Target.load()) as connection:
        if detach and not connection.lasting:
            raise NeedsServerError(
                "--detach needs a running server",
                hint="start one with `transship up`, or set TRANSSHIP_URL",
            )
        with ByteBar("sent", size, quiet=silent) as bar:
            job = connection.client.send(
                path,
                bar.passing(iter(lambda: stream.read(_PIECE_BYTES), b"")),
                params=params,
                size=size,
                idempotency_key=idempotency_key,
            )
        if detach:
            if form.is_data:
                form.print(job)
            else:
                print(job["id"])
            return 0
        try:
            job = follow(connection, job["id"], lines_or_bars(quiet=silent))
        except KeyboardInterrupt:
            connection.client.cancel(job["id"])
            raise
    return report(job, form=form, quiet=quiet)


def save_archive(
    spec: dict[str, Any], target: Path | None, compress: str, options: dict[str, Any]
) -> int:
    """Make an export, and write its archive to *target*, or to standard output.

    A file is there when all of it is, and not before.
    """
    form, quiet = options.pop("form"), options.pop("quiet")
    key = options.pop("idempotency_key")
    spec |= {name: value for name, value in options.items() if value is not None}
    with Connection(Target.load()) as connection:
        job = connection.client.submit(spec, credentials={}, idempotency_key=key)
        try:
            job = follow(connection, job["id"], Silence())
        except KeyboardInterrupt:
            connection.client.cancel(job["id"])
            raise
        if job["state"] != "succeeded":
            return report(job, form=form, quiet=quiet)
        size = job["result"]["size"] if compress == "none" else None
        with (
            connection.client.download(job["id"], compress=compress) as pieces,
            ByteBar("saved", size, quiet=quiet or form.is_data) as bar,
            written(target) as file,
        ):
            for piece in bar.passing(pieces):
                file.write(piece)
    if form.is_data and target is not None:
        form.print(job)
    return job_exit_code(job)


@contextmanager
def written(target: Path | None) -> Iterator[BinaryIO]:
    """A file that gets its name when it is whole; standard output without a *target*."""
    if target is None:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    try:
        if target.exists() and not target.is_file():  # a device or a pipe is written as it is
            with target.open("wb") as file:
                yield file
            return
        descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
        draft = Path(name)
        try:
            with os.fdopen(descriptor, "wb") as file:
                yield file
            mask = os.umask(0)
            os.umask(mask)
            draft.chmod(0o666 & ~mask)
            draft.replace(target)
        except BaseException:
            draft.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise StoreError(f"cannot be written: {error.strerror}", subject=str(target)) from error
