"""The notification program: whatever it does, who sends goes on, and nothing is left of it."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from taskgrove.cli.notifier import Notifier
from taskgrove.loops.loop import Loop

#: More than a pipe holds.
LONG = b"x" * 1_000_000
GUARD_S = 100


@pytest.fixture(autouse=True)
def _no_process_is_left() -> Iterator[None]:
    before = set(psutil.Process().children())
    yield
    assert set(psutil.Process().children()) <= before, "a process, or a zombie, is left"


def python(program: str) -> list[str]:
    return [sys.executable, "-c", program]


def troubles(notifier: Notifier) -> list[str]:
    told: list[str] = []
    notifier.tell(told.append)
    return told


def closed(notifier: Notifier, timeout_s: float = GUARD_S) -> list[str]:
    notifier.close(timeout_s)
    return troubles(notifier)


def read_within_guard(file: Path) -> str:
    deadline = time.monotonic() + GUARD_S
    while not (file.exists() and file.read_text()):
        assert time.monotonic() < deadline
        threading.Event().wait(0.01)
    return file.read_text()


def test_each_document_comes_whole_and_in_order(tmp_path: Path) -> None:
    notifier = Notifier(["sh", "-c", f"cat >> {tmp_path}/got"])
    notifier.send("ended", LONG + b"\n")
    notifier.send("ended", b"second\n")
    assert closed(notifier) == []
    assert (tmp_path / "got").read_bytes() == LONG + b"\nsecond\n"


def test_a_failure_is_told_once_in_one_line_with_the_last_words_of_the_program() -> None:
    notifier = Notifier(python("import sys; sys.exit('first\\nno such host\\n')"))
    for _ in range(3):
        notifier.send("ended", b"{}")
    (line,) = closed(notifier)
    assert line.endswith(": failed with exit code 1: no such host")


def test_a_program_that_a_signal_ends_is_told() -> None:
    notifier = Notifier(["sh", "-c", "kill -TERM $$"])
    notifier.send("ended", b"{}")
    assert closed(notifier) == ["notify: sh: failed with signal 15"]


@pytest.mark.parametrize("document", [b"{}", LONG])
def test_a_program_that_reads_nothing_is_no_trouble(document: bytes) -> None:
    notifier = Notifier(["true"])
    notifier.send("ended", document)
    assert closed(notifier) == []


def test_a_program_that_writes_without_end_costs_no_memory_and_is_killed() -> None:
    flood = "import os\nwhile True: os.write(1, b'x' * 65536); os.write(2, b'y' * 65536)"
    notifier = Notifier(python(flood), limit_s=1.0)
    before = psutil.Process().memory_info().rss
    notifier.send("ended", b"{}")
    (line,) = closed(notifier)
    assert line.endswith("was killed after 1 s")
    assert psutil.Process().memory_info().rss - before < 50_000_000


def test_a_program_that_hangs_is_killed_with_what_it_started(tmp_path: Path) -> None:
    notifier = Notifier(["sh", "-c", f"sleep 1000 & echo $! > {tmp_path}/pid; wait"], limit_s=1.0)
    notifier.send("ended", LONG)  # which it does not read
    child = psutil.Process(int(read_within_guard(tmp_path / "pid")))
    assert closed(notifier) == ["notify: sh: was killed after 1 s"]
    assert psutil.wait_procs([child], GUARD_S)[1] == []


def test_a_program_may_leave_another_that_holds_its_pipes(tmp_path: Path) -> None:
    notifier = Notifier(["sh", "-c", f"setsid sleep 1000 & echo $! > {tmp_path}/pid"])
    notifier.send("ended", b"{}")
    assert closed(notifier) == []
    child = psutil.Process(int((tmp_path / "pid").read_text()))
    assert child.is_running()
    child.kill()


def test_one_that_hangs_keeps_no_other_kind_back(tmp_path: Path) -> None:
    program = f"case $(cat) in held) sleep 1000;; *) touch {tmp_path}/ended;; esac"
    notifier = Notifier(["sh", "-c", program])
    notifier.send("held", b"held")
    notifier.send("ended", b"ended")
    while not (tmp_path / "ended").exists():
        threading.Event().wait(0.01)
    assert closed(notifier, 0.1) == [
        "notify: sh: was killed, because it still ran at the end of the run"
    ]


def test_what_was_not_sent_at_the_end_is_told(tmp_path: Path) -> None:
    notifier = Notifier(["sh", "-c", f"touch {tmp_path}/begun; sleep 1000"])
    notifier.send("lost", b"1")
    notifier.send("lost", b"2")
    while not (tmp_path / "begun").exists():
        threading.Event().wait(0.01)
    assert sorted(closed(notifier, 0.1)) == [
        "notify: sh: not everything was sent before the end",
        "notify: sh: was killed, because it still ran at the end of the run",
    ]


def test_a_program_that_is_gone_meanwhile_is_told(tmp_path: Path) -> None:
    notifier = Notifier([str(tmp_path / "none")])
    notifier.send("ended", b"{}")
    assert closed(notifier) == [
        f"notify: {tmp_path / 'none'}: cannot be started: No such file or directory"
    ]


def test_an_interrupt_ends_the_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notifier = Notifier(["sh", "-c", f"touch {tmp_path}/begun; sleep 1000"])
    notifier.send("ended", b"{}")
    while not (tmp_path / "begun").exists():
        threading.Event().wait(0.01)

    def interrupted(loop: Loop, timeout_s: float) -> bool:
        if timeout_s > 50:  # the wait, not what follows it
            raise KeyboardInterrupt
        return join(loop, timeout_s)

    join = Loop.join
    monkeypatch.setattr(Loop, "join", interrupted)
    assert closed(notifier) == [
        "notify: sh: was killed, because it still ran at the end of the run"
    ]


def test_a_program_that_the_kernel_reaped_is_no_trouble(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(_pid: int) -> int:
        raise ProcessLookupError

    monkeypatch.setattr(os, "pidfd_open", gone)
    notifier = Notifier(["true"])
    notifier.send("ended", b"{}")
    assert closed(notifier) == []


def test_a_program_that_cannot_be_watched_is_not_left(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(_pid: int) -> int:
        raise OSError("no descriptor is left")

    monkeypatch.setattr(os, "pidfd_open", none)
    notifier = Notifier(["sleep", "1000"])
    notifier.send("ended", b"{}")
    assert "no descriptor is left" in "".join(closed(notifier))


def test_ctrl_c_in_the_terminal_does_not_reach_the_program() -> None:
    notifier = Notifier(["sh", "-c", f"test $(ps -o pgid= -p $$) != {os.getpgrp()}"])
    notifier.send("ended", b"{}")
    assert closed(notifier) == []
