"""How events look: lines where nobody watches, bars on a terminal, silence where asked for."""

from __future__ import annotations

import io
from typing import Any

import pyte
import pytest

from transship.api.cli.output.progress import Bars, Lines, Silence, describe_event, lines_or_bars

DIGEST = "sha256:0123456789abcdef"


def progress(state: str, done: int = 0, **more: Any) -> dict[str, Any]:
    transfer = {
        "direction": "download", "digest": DIGEST, "state": state, "size": 2_000_000,
        "bytes_done": done, **more,
    }  # fmt: skip
    figures = {"bytes_total": 2_000_000, "bytes_done": done}
    job = {"label": "localhost:1/a:1", "progress": figures}
    return {"type": "progress", "job": job, "transfers": [transfer]}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("event", "line"),
    [
        ({"type": "queued", "kind": "pull", "label": "a:1"}, "pull a:1"),
        ({"type": "warning", "message": "careful"}, "warning: careful"),
        ({"type": "worker-died", "crashes": 1}, "a worker died; another took over"),
        ({"type": "cancelled"}, "cancelled"),
        ({"type": "failed", "error": {"subject": "a:1", "detail": "gone"}}, "failed: a:1: gone"),
        (
            {"type": "retrying", "seconds": 2.4, "error": {"subject": "a:1", "detail": "503"}},
            "retrying in 2 s: a:1: 503",
        ),
        ({"type": "succeeded"}, ""),
        ({"type": "of-a-later-version"}, ""),
    ],
)
def test_an_event_is_a_line_of_a_log(event: dict[str, Any], line: str) -> None:
    assert describe_event(event) == line


def test_lines_tell_of_a_blob_once_when_it_is_done(capsys: pytest.CaptureFixture[str]) -> None:
    with Lines() as display:
        for event in (progress("running", 1), progress("done", 2_000_000), progress("done")):
            display.show(event)
    assert capsys.readouterr().err == "↓ 0123456789ab 2.0 MB: done\n"


def test_lines_go_to_standard_error_only(capsys: pytest.CaptureFixture[str]) -> None:
    with Lines() as display:
        display.show({"type": "queued", "job": "j", "kind": "pull", "label": "a:1"})
    assert capsys.readouterr() == ("", "pull a:1\n")


def test_lines_tell_of_a_child_that_failed_and_leave_the_jobs_own_end_to_the_command(
    capsys: pytest.CaptureFixture[str],
) -> None:
    error = {"subject": "a:1", "detail": "gone"}
    with Lines() as display:
        display.show({"type": "queued", "job": "parent", "kind": "mirror", "label": "a"})
        display.show({"type": "failed", "job": "child", "error": error})
        display.show({"type": "failed", "job": "parent", "error": error})
    assert capsys.readouterr().err == "mirror a\nfailed: a:1: gone\n"


def test_silence_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    with Silence() as display:
        display.show(progress("done"))
    assert capsys.readouterr() == ("", "")


def test_bars_show_what_moves_and_what_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    with Bars() as display:
        display.show(progress("running", 1_000_000))
        display._progress.refresh()
        moving = terminal.getvalue()
        display.show({"type": "warning", "message": "careful"})
        display.show(progress("done", 2_000_000))
        assert not display._bars
    assert "localhost:1/a:1" in moving
    assert "0123456789ab" in moving
    assert "1.0 MB/2.0 MB" in moving
    assert "warning: careful" in terminal.getvalue()


def test_as_many_bars_as_fit_show_what_comes_before_what_is_awaited(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sys.stderr", Terminal())
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("LINES", "7")
    event = progress("running")
    event["transfers"] = [
        progress("running", done, digest=f"sha256:{number:064}")["transfers"][0]
        for number, done in enumerate((0, 0, 0, 5, 0, 7))
    ]
    with Bars() as display:
        display.show(event)
        shown = [int(digest[7:]) for _, digest in display._bars]
    assert shown == [3, 5, 0, 1]


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_a_mirror_counts_its_images_and_each_line_fits(
    monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", str(columns))
    event = progress("running", 1_000_000)
    event["job"] = {
        "label": "registry.test/" + "long/" * 60 + "app -> elsewhere.test/app",
        "progress": {
            "bytes_total": 5,
            "bytes_done": 5,
            "bytes_moved": 3_000_000,
            "images_total": 60,
            "images_done": 12,
            "images_failed": 2,
        },
        "children": {"succeeded": 12, "failed": 2, "queued": 20},
    }
    with Bars() as display:
        display.show(event)
        display._progress.refresh()
        screen = pyte.Screen(columns, 24)
        pyte.Stream(screen).feed(terminal.getvalue().replace("\n", "\r\n"))
    title, whole, blob, *rest = (line.rstrip() for line in screen.display)
    assert title.startswith("registry.test/long/")
    assert title.endswith("…")
    assert "14/60, 2 failed" in whole
    assert "0123456789ab" in blob
    assert not any(rest)


def test_a_terminal_gets_bars_and_a_pipe_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr", Terminal())
    assert isinstance(lines_or_bars(quiet=False), Bars)
    assert isinstance(lines_or_bars(quiet=True), Silence)
    monkeypatch.setattr("sys.stderr", io.StringIO())
    assert isinstance(lines_or_bars(quiet=False), Lines)
