"""A question to the operator, which an interrupt ends whenever it comes.

``input`` loses an interrupt that arrives between its last look for one and its wait for a line:
nothing happens then until a key is pressed. Scripts that press Ctrl-C as soon as they see a
question hit that moment. Here the wait is short, and Python sees the interrupt after it.
"""

from __future__ import annotations

import os
import select
import sys
from typing import Final

import click

_WAIT_S: Final = 0.2
_LINE_BYTES: Final = 4096
_ANSWERS: Final = {"y": True, "yes": True, "n": False, "no": False, "": False}


def confirmed(question: str) -> bool:
    """Ask on standard error, and return whether the answer on standard input is a yes.

    An empty answer is a no; to anything but yes and no the question is asked once more.

    Raises:
        click.Abort: There is no answer: the input has ended, or the terminal is gone.
    """
    terminal = sys.stdin.fileno()
    while True:
        sys.stderr.write(f"{question} [y/N]: ")
        sys.stderr.flush()
        while not select.select([terminal], [], [], _WAIT_S)[0]:
            pass
        try:
            line = os.read(terminal, _LINE_BYTES)
        except OSError:
            line = b""
        if not line:
            raise click.Abort
        answer = line.decode(errors="replace").strip().lower()
        if answer in _ANSWERS:
            return _ANSWERS[answer]
        sys.stderr.write("Please answer yes or no.\n")
