"""Which SQLite files this process has open, so that nothing else opens and closes them.

A process that closes *any* descriptor of a file loses all its locks on it (POSIX advisory
locks). A record that is read aside while it is open would so lose the lock that says that it
is in use: the next process that closes it would take it for the last, and remove the
write-ahead log that this one still writes to (SQLite, "How To Corrupt", 2.2).

Threads: any thread may call anything here; ``_LOCK`` guards the counts, and no other thread
opens a file first while :func:`read_aside` reads it.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections import Counter
from pathlib import Path
from typing import Any, Final, TypeAlias

_Key: TypeAlias = tuple[int, int]

_LOCK: Final = threading.Lock()
_HELD: Final[Counter[_Key]] = Counter()


class HoldingConnection(sqlite3.Connection):
    """A connection whose file counts as open until it is closed; see :func:`connect_holding`."""

    held: _Key | None = None

    def close(self) -> None:
        """Close it; calling it twice does no harm."""
        super().close()
        with _LOCK:
            if self.held is not None:
                _HELD[self.held] -= 1
                if not _HELD[self.held]:
                    del _HELD[self.held]
            self.held = None


def connect_holding(file: Path, uri: str, **settings: Any) -> sqlite3.Connection:
    """Return a connection to a file, which counts as open from before its first lock on.

    Args:
        file: The file; it may not exist yet.
        uri: The same, as SQLite opens it.
        **settings: As :func:`sqlite3.connect`.
    """
    with _LOCK:
        connection = sqlite3.connect(uri, uri=True, factory=HoldingConnection, **settings)
        # SQLite takes its first lock with the first statement.
        connection.held = _key_of(file)
        if connection.held is not None:
            _HELD[connection.held] += 1
    return connection


def read_aside(file: Path, size: int) -> tuple[bytes, int] | None:
    """Return the first bytes of a file and its size; None: this process has it open.

    Args:
        file: The file.
        size: How many bytes are wanted.

    Raises:
        OSError: It cannot be read.
    """
    with _LOCK:
        if _key_of(file) in _HELD:
            return None
        with file.open("rb") as opened:
            return opened.read(size), os.fstat(opened.fileno()).st_size


def _key_of(file: Path) -> _Key | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
