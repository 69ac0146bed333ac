"""The last lines of a file that holds the output of a program."""

from __future__ import annotations

import os
import stat
from pathlib import Path

#: So many bytes at the end of a file are read.
_TAIL_BYTES = 64 << 10


def last_lines_of(file: str | Path, most: int) -> list[str]:
    """Return the last lines of a file that are not empty, as a terminal would show them.

    Args:
        file: The file; a link, or what is no regular file, is not read.
        most: How many lines at most.

    Raises:
        OSError: It cannot be read.
    """
    from taskgrove.analysis.running.error_line import plain_lines  # noqa: PLC0415 - seldom

    number = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(number, "rb") as stream:
        found = os.fstat(number)
        if not stat.S_ISREG(found.st_mode):
            raise OSError("it is not a regular file")
        stream.seek(max(0, found.st_size - _TAIL_BYTES))
        text = stream.read(_TAIL_BYTES).decode("utf-8", "replace")
    return [line for line in plain_lines(text) if line.strip()][-most:]
