"""Command lines on a terminal of their own, as an operator sits at one."""

from __future__ import annotations

import os
import pty
import select
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.cli.command_line import PATIENCE_S, Forked, Started, command, environment


@contextmanager
def on_a_terminal(here: Path, *arguments: str, ignoring: str = "") -> Iterator[tuple[Started, int]]:
    """Run a verb as the owner of a terminal; give the process, and the terminal's other end."""
    ours, theirs = pty.openpty()
    process = Forked(
        command(*arguments),
        ignoring=tuple(map(int, filter(None, ignoring.split(",")))),
        cwd=here,
        env=environment(TERM="xterm-256color", LINES="24"),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    try:
        yield process, ours
    finally:
        process.kill()
        process.wait()


def see(terminal: int, word: str) -> str:
    """Read what is shown until a word is; return it all."""
    shown, deadline = b"", time.monotonic() + PATIENCE_S
    while word.encode() not in shown:
        left = max(0.0, deadline - time.monotonic())
        assert select.select([terminal], [], [], left)[0], f"{word!r} never came, only {shown!r}"
        shown += os.read(terminal, 65536)
    return shown.decode(errors="replace")
