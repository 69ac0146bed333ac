"""stdout and stderr of an analysis: captured live, bounded in memory and on disk.

Each stream goes to a file of its own in the working folder, until both together reach a limit;
the last of it is kept in memory. What is beyond the limit is read, so that the program never
waits, counted, and said. A folder that is full or read-only costs the analysis its files, never
its run.

Threads: not guarded; the supervisor's thread uses it.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from taskgrove.private_files import open_new_private

#: How many bytes of the end of each stream are kept in memory.
TAIL_BYTES: Final = 64 << 10
#: How many bytes of both streams are kept on disk, unless told otherwise.
LIMIT_BYTES: Final = 1 << 30
#: A longer line is shown in pieces, in bytes.
MAX_LINE_BYTES: Final = 8 << 10
_CHUNK_BYTES: Final = 64 << 10
_LARGE_PIPE_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class OutputSummary:
    """What became of one stream.

    Attributes:
        name: ``stdout`` or ``stderr``.
        size_bytes: How much the program has written.
        kept_bytes: How much of it is in the file.
        file: The file, or None where there is none: nothing was written, or nothing is kept.
        tail: The end of it, at most 64 KiB.
        trouble: Why not all of it is in the file, or empty.
    """

    name: str
    size_bytes: int
    kept_bytes: int
    file: Path | None
    tail: str
    trouble: str = ""


class OutputBudget:
    """How many bytes of all streams of one analysis may still be kept.

    Args:
        limit_bytes: The limit; 0 keeps nothing on disk.
    """

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.left_bytes = limit_bytes

    def take(self, wanted: int) -> int:
        """Return how many of the wanted bytes may be kept."""
        taken = min(wanted, self.left_bytes)
        self.left_bytes -= taken
        return taken


class OutputStream:
    """One captured stream.

    Args:
        name: ``stdout`` or ``stderr``.
        descriptor: The end to read; closed by :meth:`close`.
        path: The file, made with the first byte; None: nothing is kept on disk.
        budget: What the streams of the analysis share.
    """

    def __init__(self, name: str, descriptor: int, path: Path | None, budget: OutputBudget) -> None:
        os.set_blocking(descriptor, False)
        self.name = name
        self.size_bytes = 0
        self._descriptor = descriptor
        self._path = path
        self._budget = budget
        self._file = -1
        self._kept_bytes = 0
        self._tail = bytearray()
        self._line = bytearray()
        self._shown = b""
        self._trouble = ""
        self._chunk_bytes = _CHUNK_BYTES

    def fileno(self) -> int:
        """Return the descriptor, for a selector."""
        return self._descriptor

    def read(self) -> bytes | None:
        """Take what has come, at most one piece of it; None: nothing now; empty: the end."""
        try:
            data = os.read(self._descriptor, self._chunk_bytes)
        except (BlockingIOError, InterruptedError):
            return None
        if len(data) == self._chunk_bytes == _CHUNK_BYTES:
            # It writes a lot: a larger pipe saves turns; the system may refuse it.
            with suppress(OSError):
                fcntl.fcntl(self._descriptor, fcntl.F_SETPIPE_SZ, _LARGE_PIPE_BYTES)
            self._chunk_bytes = _LARGE_PIPE_BYTES
        self._keep(data)
        return data

    def lines(self, data: bytes, at_most: int) -> tuple[list[str], int]:
        """Return the lines that are complete with ``data``, and how many were left out.

        Args:
            data: What :meth:`read` returned.
            at_most: How many lines are wanted; the rest is only counted.
        """
        text = bytes(self._line) + data if self._line else data
        whole, end, rest = text.rpartition(b"\n")
        found = whole.split(b"\n", at_most) if end else []
        left_out = found.pop().count(b"\n") + 1 if len(found) > at_most else 0
        lines = [piece for line in found for piece in _pieces(_newest(line))]
        if end:
            self._shown = b""
        drawn_at = rest.rstrip(b"\r").rfind(b"\r")  # what was drawn before it is gone
        self._line = bytearray(rest[max(0, drawn_at) :])
        while len(self._line) > MAX_LINE_BYTES:
            if at_most:
                lines.append(_text(bytes(self._line[:MAX_LINE_BYTES])))
            del self._line[:MAX_LINE_BYTES]
        return lines, left_out

    def last_line(self) -> str | None:
        """Return what the program wrote after its last line's end, or None."""
        line = _newest(bytes(self._line))
        is_new = bool(line) and line != self._shown
        self._line.clear()
        return _text(line) if is_new else None

    def drawn(self) -> str | None:
        """Return what a line that has no end yet was last drawn as; None: nothing new.

        Programs draw a bar of progress with carriage returns over and over in one line.
        """
        if b"\r" not in self._line:
            return None
        line = _newest(bytes(self._line))
        if not line or line == self._shown:
            return None
        self._shown = line
        return _text(line)

    def close(self) -> OutputSummary:
        """Close everything and tell what became of the stream."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
        if self._file >= 0:
            missing = self.size_bytes - self._kept_bytes
            if missing:
                note = f"\n[taskgrove: {missing} bytes more were not kept: {self._trouble}]\n"
                with suppress(OSError):  # the folder is full: the summary says so
                    os.write(self._file, note.encode())
            os.close(self._file)
            self._file = -1
        return OutputSummary(
            self.name,
            self.size_bytes,
            self._kept_bytes,
            self._path if self._kept_bytes else None,
            _text(bytes(self._tail)),
            self._trouble,
        )

    def _keep(self, data: bytes) -> None:
        self.size_bytes += len(data)
        tail = self._tail
        if len(data) >= TAIL_BYTES:
            tail[:] = data[-TAIL_BYTES:]
        else:
            tail += data
            if len(tail) > 2 * TAIL_BYTES:
                del tail[:-TAIL_BYTES]
        if self._path is not None and data and not self._trouble:
            self._write(data)

    def _write(self, data: bytes) -> None:
        allowed = self._budget.take(len(data))
        view = memoryview(data)[:allowed]
        try:
            if self._file < 0 and view:
                assert self._path is not None
                self._file = open_new_private(self._path, os.O_WRONLY | os.O_NOFOLLOW)
            while view:
                written = os.write(self._file, view)
                self._kept_bytes += written
                view = view[written:]
        except OSError as exc:
            self._trouble = f"{self._path}: {exc.strerror or exc}"
            return
        if allowed < len(data):
            self._trouble = f"the limit of {self._budget.limit_bytes} bytes was reached"


def _newest(line: bytes) -> bytes:
    """Return what a line was last drawn as: what stands behind its last carriage return."""
    drawn = line.rstrip(b"\r")
    return drawn[drawn.rfind(b"\r") + 1 :]


def _pieces(line: bytes) -> Iterator[str]:
    for start in range(0, max(1, len(line)), MAX_LINE_BYTES):
        yield _text(line[start : start + MAX_LINE_BYTES])


def _text(data: bytes) -> str:
    return data[-TAIL_BYTES:].decode("utf-8", "backslashreplace")
