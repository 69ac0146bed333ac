"""Keys of a terminal: they come at once, and the terminal is as before in every end."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cli.command_line import PATIENCE_S

#: A shell in small: it gives its child the terminal, tells when it is suspended, and continues it.
SHELL = """
import fcntl, os, signal, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
signal.signal(signal.SIGTTOU, signal.SIG_IGN)
child = os.fork()
if child == 0:
    os.setpgid(0, 0)
    os.tcsetpgrp(0, os.getpgrp())
    signal.signal(signal.SIGTTOU, signal.SIG_DFL)
    os.execv(sys.executable, [sys.executable, "-c", sys.argv[1]])
while True:
    _, status = os.waitpid(child, os.WUNTRACED)
    own = os.getpgrp()
    os.tcsetpgrp(0, own)
    if not os.WIFSTOPPED(status):
        print("ENDED", os.waitstatus_to_exitcode(status), flush=True)
        break
    print("SUSPENDED", flush=True)
    word = os.read(3, 100).strip()
    if word == b"fg":
        os.tcsetpgrp(0, child)
    os.kill(child, signal.SIGCONT)
    if word == b"bg":
        os.read(3, 100)
        os.tcsetpgrp(0, child)
        os.kill(child, signal.SIGCONT)
"""
READ_KEYS = """
import os, signal, sys, time
from taskgrove.cli.interrupts import LikeCtrlC, SignalsTaken
from taskgrove.cli.key_input import keys_of_terminal
with SignalsTaken(LikeCtrlC(), LikeCtrlC.SIGNALS):
    keys = keys_of_terminal()
    asked = []
    signal.signal(signal.SIGUSR1, lambda *_: asked.append(3))
    print("PROCESS", os.getpid(), "READY", flush=True)
    try:
        while True:
            asked = [left - 1 for left in asked]
            if 0 in asked:
                print("READ", flush=True)
            for key in keys.read():
                print("KEY", key, flush=True)
                if key == "q":
                    sys.exit(7)
                if key == "e":
                    raise RuntimeError("an error")
            time.sleep(0.02)
    finally:
        keys.close()
"""


class Terminal:
    """The operator's end of a terminal, with a small shell on the other end."""

    def __init__(self, program: str) -> None:
        self.ours, theirs = pty.openpty()
        self.before = termios.tcgetattr(self.ours)
        orders, self._orders = os.pipe()
        self._shell = subprocess.Popen(
            [sys.executable, "-c", f"import os; os.dup2({orders}, 3)\n{SHELL}", program],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            pass_fds=(orders,),
        )
        os.close(theirs)
        os.close(orders)
        self._shown = ""
        self.process = int(self.see("READY").split()[-1])

    def type(self, text: str) -> None:
        os.write(self.ours, text.encode())

    def order(self, word: str) -> None:
        os.write(self._orders, word.encode())

    def see(self, words: str) -> str:
        """Read until these words are shown; return what stands before them."""
        deadline = time.monotonic() + PATIENCE_S
        while words not in self._shown:
            left = max(0.0, deadline - time.monotonic())
            assert select.select([self.ours], [], [], left)[0], f"{words!r}: {self._shown!r}"
            self._shown += os.read(self.ours, 1000).decode(errors="replace")
        before, _, self._shown = self._shown.partition(words)
        return before

    def signal(self, number: int) -> None:
        os.kill(self.process, number)

    @property
    def is_as_before(self) -> bool:
        return termios.tcgetattr(self.ours) == self.before

    def close(self) -> None:
        self._shell.kill()
        self._shell.wait()
        os.close(self.ours)
        os.close(self._orders)


@contextmanager
def running(program: str = READ_KEYS) -> Iterator[Terminal]:
    terminal = Terminal(program)
    try:
        yield terminal
    finally:
        terminal.close()


def test_keys_come_at_once_and_are_not_echoed() -> None:
    with running() as terminal:
        assert not terminal.is_as_before
        for typed, keys in (
            ("r", ["r"]),
            ("ä", ["ä"]),
            ("\x1b[A\x1bOB\x1b[C\x1b[D", ["up", "down", "right", "left"]),
            ("\x1b", ["escape"]),
            ("\x7f\n\x15", ["backspace", "enter", "clear"]),
            ("\x00\x0ef", ["f"]),
        ):
            terminal.type(typed)
            for key in keys:
                shown = terminal.see(f"KEY {key}\r\n")
                assert shown.strip() == ""


@pytest.mark.parametrize(
    ("typed", "number", "code"),
    [
        ("q", None, 7),
        ("e", None, 1),
        ("\x03", None, -signal.SIGINT),
        ("\x1c", None, -signal.SIGQUIT),
        ("", signal.SIGTERM, -signal.SIGINT),
        ("", signal.SIGHUP, -signal.SIGINT),
    ],
    ids=["end", "exception", "Ctrl-C", "Ctrl-backslash", "SIGTERM", "SIGHUP"],
)
def test_the_terminal_is_as_before_in_every_end(typed: str, number: int | None, code: int) -> None:
    with running() as terminal:
        assert not terminal.is_as_before
        if number is None:
            terminal.type(typed)
        else:
            terminal.signal(number)
        terminal.see(f"ENDED {int(code)}\r\n")
        assert terminal.is_as_before


def test_a_suspended_process_leaves_the_terminal_and_takes_it_when_it_goes_on() -> None:
    with running() as terminal:
        for _ in range(2):
            terminal.type("\x1a")
            terminal.see("SUSPENDED")
            assert terminal.is_as_before
            terminal.order("fg")
            terminal.type("r")
            terminal.see("KEY r")
            assert not terminal.is_as_before
        terminal.type("q")
        terminal.see("ENDED 7")
        assert terminal.is_as_before


def test_in_the_background_it_neither_reads_nor_changes_the_terminal() -> None:
    with running() as terminal:
        terminal.type("\x1a")
        terminal.see("SUSPENDED")
        terminal.order("bg")
        terminal.type("r\n")
        terminal.signal(signal.SIGUSR1)
        assert terminal.see("READ").split() == ["r"]  # as the terminal shows what is typed
        assert terminal.is_as_before
        terminal.order("fg")
        terminal.see("KEY r")
        assert not terminal.is_as_before


def test_a_process_that_was_stopped_hard_takes_the_terminal_again() -> None:
    with running() as terminal:
        terminal.signal(signal.SIGSTOP)
        terminal.see("SUSPENDED")
        termios.tcsetattr(terminal.ours, termios.TCSANOW, terminal.before)  # as a shell does
        terminal.order("fg")
        terminal.type("r")
        terminal.see("KEY r")
        terminal.type("q")
        terminal.see("ENDED 7")
        assert terminal.is_as_before


RUN_HELD = """
import os, runpy, sys
os.chdir({place!r})
sys.path.insert(0, {place!r})
print("PROCESS", os.getpid(), "READY", flush=True)
sys.argv = ["taskgrove", *{words!r}]
os.environ["TERM"] = "xterm-256color"
runpy.run_module("taskgrove", run_name="__main__")
"""


def test_a_run_is_suspended_and_goes_on_with_its_keys(place: Path) -> None:
    words = ("run", "map.yaml", "bad", "--manager", "site_manager:Manager", "--hold")
    program = RUN_HELD.format(place=str(place), words=(*words, "--db", "runs.db"))
    with running(program) as terminal:
        terminal.see("a accept")
        terminal.type("\x1a")
        assert terminal.see("SUSPENDED").rstrip().endswith("\x1b[?25h")  # the cursor is shown
        assert terminal.is_as_before
        terminal.order("fg")
        terminal.see("a accept")
        terminal.type("f")
        terminal.see("Why fail bad/first?")
        terminal.type("\n")
        terminal.see("ENDED 1")
        assert terminal.is_as_before


@pytest.mark.parametrize("piped", ["stdin", "stdout"])
def test_the_input_of_a_pipe_is_never_read(piped: str) -> None:
    program = (
        "import os\nfrom taskgrove.cli.key_input import keys_of_terminal\n"
        "assert keys_of_terminal() is None\nprint(os.read(0, 100).decode())"
    )
    ours, theirs = pty.openpty()
    streams = {"stdin": theirs, "stdout": theirs, piped: subprocess.PIPE}
    process = subprocess.Popen([sys.executable, "-c", program], **streams)
    os.close(theirs)
    if piped == "stdin":
        process.communicate(b"of the next program\n", timeout=PATIENCE_S)
        shown = os.read(ours, 1000)
    else:
        os.write(ours, b"of the next program\n")
        shown, _ = process.communicate(timeout=PATIENCE_S)
    os.close(ours)
    assert process.returncode == 0
    assert b"of the next program" in shown
