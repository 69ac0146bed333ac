"""A question to the operator: its answers, and what ends it, on a terminal of its own."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.cli.command_line import PATIENCE_S

ASK = """
import signal, sys, click
from taskgrove.cli.question import confirmed
signal.signal(signal.SIGINT, signal.default_int_handler)
try:
    print("ANSWER", confirmed("Do it?"))
except click.Abort:
    print("NO ANSWER")
except KeyboardInterrupt:
    print("INTERRUPTED")
"""


@contextmanager
def asked() -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Ask in a process of its own; give it, and the operator's end of the terminal."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", ASK], stdin=theirs, stderr=theirs, stdout=subprocess.PIPE
    )
    os.close(theirs)
    try:
        shown(ours, b"Do it? [y/N]: ")
        yield process, ours
    finally:
        process.kill()
        process.communicate()
        os.close(ours)


def shown(terminal: int, words: bytes) -> None:
    seen, deadline = b"", time.monotonic() + PATIENCE_S
    while words not in seen:
        left = max(0.0, deadline - time.monotonic())
        assert select.select([terminal], [], [], left)[0], f"{words!r} never came, only {seen!r}"
        seen += os.read(terminal, 1000)


def end_of(process: subprocess.Popen[bytes]) -> str:
    return process.communicate(timeout=PATIENCE_S)[0].decode().strip()


@pytest.mark.parametrize(
    ("typed", "answer"),
    [("y", True), ("YES ", True), ("n", False), ("No", False), ("", False)],
)
def test_answers(typed: str, answer: bool) -> None:
    with asked() as (process, terminal):
        os.write(terminal, typed.encode() + b"\n")
        assert end_of(process) == f"ANSWER {answer}"


def test_what_is_no_answer_is_asked_about_again() -> None:
    with asked() as (process, terminal):
        os.write(terminal, b"perhaps \xff\n")
        shown(terminal, b"Please answer yes or no.\r\nDo it? [y/N]: ")
        os.write(terminal, b"y\n")
        assert end_of(process) == "ANSWER True"


def test_the_end_of_the_input_is_no_answer() -> None:
    with asked() as (process, terminal):
        os.write(terminal, b"\x04")
        assert end_of(process) == "NO ANSWER"


@pytest.mark.parametrize("time", range(5))
def test_an_interrupt_is_never_lost(time: int) -> None:
    """The moment after the question is shown is the one in which ``input`` loses it."""
    with asked() as (process, _):
        process.send_signal(signal.SIGINT)
        assert end_of(process) == "INTERRUPTED"
