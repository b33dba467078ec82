"""How a job's events look: a bar a layer on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Protocol, Self

from transship.store.sizes import human_bytes
from transship.store.text import escaped

# What the job is called, the bar of the whole of it, and the line the cursor is left on.
OTHER_LINES = 3


class Display(Protocol):
    """Shows events while it is open."""

    def show(self, event: dict[str, Any]) -> None:
        """Show one event."""

    def close(self) -> None:
        """Leave the terminal as it was."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


class _Closing:
    def close(self) -> None:
        """Nothing to leave behind."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class Silence(_Closing):
    """Shows nothing."""

    def show(self, event: dict[str, Any]) -> None:
        """Do not show it."""


class Lines(_Closing):
    """A line for what happens, and one for each blob that has ended."""

    def __init__(self) -> None:
        """Nothing has been shown yet."""
        self._ended: set[tuple[str, str]] = set()
        self._followed: str | None = None  # the job whose events come first

    def show(self, event: dict[str, Any]) -> None:
        """Print it, but for how the job itself ends: the command says that."""
        if event["type"] != "progress":
            self._followed = self._followed or event["job"]
            own_end = event["type"] in ("failed", "cancelled") and event["job"] == self._followed
            if not own_end and (line := describe_event(event)):
                print(escaped(line), file=sys.stderr, flush=True)
            return
        for transfer in event["transfers"]:
            key = (transfer["direction"], transfer["digest"])
            if transfer["state"] == "done" and key not in self._ended:
                self._ended.add(key)
                size = human_bytes(transfer["size"])
                print(f"{_title(transfer)} {size}: done", file=sys.stderr, flush=True)


class Bars(_Closing):
    """A bar for each blob on its way, and one for the whole job."""

    def __init__(self) -> None:
        """Prepare the bars; they are drawn when the display is opened."""
        from rich.console import Console  # noqa: PLC0415 -- 60 ms that a script need not pay
        from rich.progress import (  # noqa: PLC0415
            BarColumn,
            Progress,
            ProgressColumn,
            Task,
            TextColumn,
            TimeRemainingColumn,
        )
        from rich.text import Text  # noqa: PLC0415

        self._title = Text(no_wrap=True, overflow="ellipsis")
        title = self._title

        class Titled(Progress):
            """The bars below what they are of, which gets a line of its own."""

            def get_renderables(self) -> Iterator[Any]:
                yield title
                yield self.make_tasks_table(self.tasks)

        class Speed(ProgressColumn):
            """Bytes a second, where it is bytes that are counted."""

            def render(self, task: Task) -> Text:
                speed = task.speed if task.fields["of_bytes"] else None
                return Text(f"{human_bytes(int(speed))}/s" if speed else "", "progress.data.speed")

        self._progress = Titled(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            TextColumn("{task.fields[amount]}", style="progress.download"),
            Speed(),
            TimeRemainingColumn(compact=True),
            console=Console(stderr=True),
            transient=True,
            expand=True,
        )
        self._bars: dict[tuple[str, str], Any] = {}
        self._whole: Any = None

    def show(self, event: dict[str, Any]) -> None:
        """Move the bars."""
        if event["type"] != "progress":
            if event["type"] in ("retrying", "warning", "worker-died"):
                self._progress.console.print(describe_event(event))
            return
        job = event["job"]
        if self._whole is None:
            self._title.append(escaped(job["label"]))
            self._whole = self._progress.add_task("all", total=None, amount="", of_bytes=False)
        done, total = done_of_total(job)
        self._progress.update(
            self._whole,
            total=total or None,
            completed=done + _failed(job),
            amount=_amount(job),
            of_bytes=not _of_images(job),
        )
        seen = set()
        for transfer in self._shown(event["transfers"]):
            key = (transfer["direction"], transfer["digest"])
            seen.add(key)
            if key not in self._bars:
                self._bars[key] = self._progress.add_task(
                    _title(transfer), total=transfer["size"], amount="", of_bytes=True
                )
            self._progress.update(
                self._bars[key],
                completed=transfer["bytes_done"],
                amount=_bytes(transfer["bytes_done"], transfer["size"]),
            )
        for key in set(self._bars) - seen:
            self._progress.remove_task(self._bars.pop(key))

    def _shown(self, transfers: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Choose those that run, as many as fit: of the small ones of a bundle, those that come."""
        running = [transfer for transfer in transfers if transfer["state"] == "running"]
        running.sort(key=lambda transfer: not transfer["bytes_done"])
        return running[: max(1, self._progress.console.height - OTHER_LINES)]

    def close(self) -> None:
        """Wipe the bars."""
        self._progress.stop()

    def __enter__(self) -> Self:
        self._progress.start()
        return self


def lines_or_bars(*, quiet: bool) -> Display:
    """The display that suits where the output goes."""
    if quiet:
        return Silence()
    return Bars() if sys.stderr.isatty() else Lines()


def done_of_total(job: dict[str, Any]) -> tuple[int, int]:
    """How far a job is, and how far it has to go: in images if it is of some, else in bytes.

    The total is 0 where it is not known yet. Images that failed are not done.
    """
    figures = job["progress"]
    if "images_total" in figures:
        return figures["images_done"], figures["images_total"]
    if counts := job.get("children"):
        return counts.get("succeeded", 0), sum(counts.values())
    return figures["bytes_done"], figures["bytes_total"]


def _failed(job: dict[str, Any]) -> int:
    counts: dict[str, int] = job.get("children", {})
    return sum(counts.get(state, 0) for state in ("failed", "cancelled"))


def _amount(job: dict[str, Any]) -> str:
    done, total = done_of_total(job)
    if not _of_images(job):
        return _bytes(done, total)
    failed, moved = _failed(job), job["progress"].get("bytes_moved")
    parts = [
        f"{done + failed}/{total}" if total else "",
        f"{failed} failed" if failed else "",
        human_bytes(moved) if moved else "",
    ]
    return ", ".join(part for part in parts if part)


def _of_images(job: dict[str, Any]) -> bool:
    return "images_total" in job["progress"] or bool(job.get("children"))


def _bytes(done: int, total: int) -> str:
    return f"{human_bytes(done)}/{human_bytes(total)}" if total else ""


def describe_event(event: dict[str, Any]) -> str:
    """An event as a line of a log; '' for those that say nothing to a person."""
    error = event.get("error") or {}
    match event["type"]:
        case "queued":
            return f"{event['kind']} {event['label']}"
        case "retrying":
            when = f"in {event['seconds']:.0f} s" if event["seconds"] >= 0.5 else "now"
            return f"retrying {when}: {error.get('subject', '')}: {error.get('detail', '')}"
        case "warning":
            return f"warning: {event['message']}"
        case "worker-died":
            return "a worker died; another took over"
        case "failed":
            return f"failed: {error.get('subject', '')}: {error.get('detail', '')}"
        case "cancelled":
            return "cancelled"
        case _:
            return ""


def _title(transfer: dict[str, Any]) -> str:
    arrow = "↓" if transfer["direction"] == "download" else "↑"
    return f"{arrow} {transfer['digest'][7:19]}"
