"""Captured output: live, bounded in memory and on disk, counted, said."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskgrove.analysis.running import handle as running_handle
from taskgrove.analysis.running.output import (
    MAX_LINE_BYTES,
    TAIL_BYTES,
    OutputBudget,
    OutputStream,
)
from tests.analysis import sample_tasks as tasks
from tests.analysis.analysis_runs import GUARD_S, Heard, Runs


def stream_at(path: Path | None, limit: int = 1 << 20) -> tuple[OutputStream, int]:
    read, write = os.pipe()
    return OutputStream("stdout", read, path, OutputBudget(limit)), write


@given(st.lists(st.binary(max_size=40), max_size=12))
def test_lines_are_those_of_the_whole_whatever_the_cut(pieces: list[bytes]) -> None:
    stream, write = stream_at(None)
    os.close(write)
    lines = [line for piece in pieces for line in stream.lines(piece, 100)[0]]
    last = stream.last_line()
    text = b"".join(pieces)
    drawn = [line.rstrip(b"\r").rpartition(b"\r")[2] for line in text.split(b"\n")]
    expected = [line.decode("utf-8", "backslashreplace") for line in drawn]
    assert [*lines, last or ""] == expected
    stream.close()


def test_what_is_drawn_over_and_over_is_known_before_its_line_ends() -> None:
    stream, write = stream_at(None)
    os.close(write)
    assert (stream.lines(b"no bar yet", 9), stream.drawn()) == (([], 0), None)
    assert (stream.lines(b"\r10%", 9), stream.drawn()) == (([], 0), "10%")
    assert stream.drawn() is None  # nothing new
    stream.lines(b"\r20%\r30", 9)
    stream.lines(b"%\r", 9)
    assert stream.drawn() == "30%"
    for _ in range(10_000):
        stream.lines(b"\r40% of many frames", 9)
    assert len(stream._line) < 100
    assert stream.lines(b"\r50%\r\nnext", 9) == (["50%"], 0)
    assert stream.last_line() == "next"
    stream.lines(b"\r60%", 9)
    assert stream.drawn() == "60%"
    assert stream.last_line() is None  # it was shown
    stream.close()


def test_a_bar_of_progress_is_heard_while_it_is_drawn(analyses: Runs, tmp_path: Path) -> None:
    heard, go = Heard(), tmp_path / "go"
    script = f"printf '\\r10%%\\r20%%'; while ! test -e {go}; do sleep 0.02; done"
    handle = analyses.start_script(script)
    handle.on_event(heard)
    assert heard.wait_for("log", "20%").source == "stdout"
    go.touch()
    assert handle.wait(GUARD_S)


def test_a_line_without_end_is_shown_in_pieces() -> None:
    stream, write = stream_at(None)
    os.close(write)
    found, left_out = stream.lines(b"x" * (3 * MAX_LINE_BYTES + 5), 100)
    assert left_out == 0
    assert [len(line) for line in found] == [MAX_LINE_BYTES] * 3
    assert stream.last_line() == "xxxxx"
    stream.close()


@given(st.lists(st.binary(max_size=40), max_size=12), st.integers(0, 3))
def test_lines_that_are_not_wanted_are_counted(pieces: list[bytes], at_most: int) -> None:
    stream, write = stream_at(None)
    os.close(write)
    found = [stream.lines(piece, at_most) for piece in pieces]
    assert all(len(lines) <= at_most for lines, _ in found)
    total = b"".join(pieces).count(b"\n")
    assert sum(len(lines) + left_out for lines, left_out in found) == total
    stream.close()


def test_the_end_is_kept_in_memory_and_no_more() -> None:
    stream, write = stream_at(None)
    for number in range(40):
        os.write(write, bytes([65 + number % 26]) * 8192)
        assert stream.read()
    os.close(write)
    assert stream.read() == b""
    summary = stream.close()
    assert summary.size_bytes == 40 * 8192
    assert summary.kept_bytes == 0
    assert summary.file is None
    assert TAIL_BYTES <= len(summary.tail) <= TAIL_BYTES
    assert summary.tail.endswith("N")


def test_two_streams_share_one_limit(tmp_path: Path) -> None:
    budget = OutputBudget(10)
    ends = []
    streams = []
    for name in ("out", "err"):
        read, write = os.pipe()
        ends.append(write)
        streams.append(OutputStream(name, read, tmp_path / name, budget))
    os.write(ends[0], b"1234567")
    streams[0].read()
    os.write(ends[1], b"1234567")
    streams[1].read()
    for end in ends:
        os.close(end)
    out, err = (stream.close() for stream in streams)
    assert (out.kept_bytes, out.trouble) == (7, "")
    assert (err.kept_bytes, err.size_bytes) == (3, 7)
    assert "the limit of 10 bytes was reached" in err.trouble
    assert (tmp_path / "err").read_text().startswith("123\n[taskgrove: 4 bytes more")


def test_silence_makes_no_file(tmp_path: Path) -> None:
    stream, write = stream_at(tmp_path / "out")
    assert stream.read() is None
    os.close(write)
    stream.read()
    assert stream.close().file is None
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_there_is_not_followed_or_overwritten(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("data")
    (tmp_path / "out").symlink_to(tmp_path / "precious")
    stream, write = stream_at(tmp_path / "out")
    os.write(write, b"text")
    os.close(write)
    stream.read()
    assert "File exists" in stream.close().trouble
    assert (tmp_path / "precious").read_text() == "data"


def test_what_an_analysis_says_is_heard_live_and_kept(analyses: Runs, tmp_path: Path) -> None:
    heard = Heard()
    handle = analyses.start(tasks.Logs, work_dir=tmp_path)
    handle.on_event(heard)
    assert handle.wait(GUARD_S)
    lines = {(event.source, event.text) for event in heard.events if event.kind == "log"}
    assert lines == {
        ("analysis", "careful"),
        ("analysis", "mine, with half a letter: \\ud800"),
        ("stdout", "on stdout"),
        ("stderr", "on stderr, no line end"),
    }
    assert handle.outcome is not None
    assert [item.file and item.file.read_text() for item in handle.outcome.output] == [
        "on stdout\n",
        "on stderr, no line end",
    ]


def test_a_flood_of_lines_is_shown_as_far_as_it_is_heard(
    analyses: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running_handle, "HEARD_WITHIN_S", 0.05)  # it hears nothing until then
    slow = threading.Event()
    heard = Heard()

    def hear(event: object) -> None:
        slow.wait(GUARD_S)
        heard(event)  # type: ignore[arg-type]

    handle = analyses.start_script("seq 1 50000", work_dir=tmp_path, hooks={"log": hear})
    assert handle.wait(GUARD_S)
    slow.set()
    assert handle.delivery.wait_heard(GUARD_S)
    shown = [e for e in heard.events if e.source == "stdout"]
    told = [e.text for e in heard.events if e.source == "executor"]
    assert all(text.endswith("lines of output were not shown; the file has them") for text in told)
    assert len(shown) + sum(int(text.split()[0]) for text in told) == 50_000
    assert len(shown) > 500
    assert handle.outcome is not None
    assert handle.outcome.output_file is not None
    assert len(handle.outcome.output_file.read_text().splitlines()) == 50_000
