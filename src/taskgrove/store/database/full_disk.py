"""Reading a SQLite record on a disk that is wholly full.

Who opens a write-ahead log makes a small file of shared memory beside the record (its index,
32 KiB), even to read. Where there is no room for it and no other process has made it, a
connection that has the record for itself keeps the index in its own memory (SQLite,
"Use of WAL without shared-memory"). It also reads rows that only the log holds, so nothing is
missing, and others wait until it is closed.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Final
from urllib.parse import quote

from taskgrove.store.database.held_files import connect_holding

#: SQLite's errors where the shared memory, or the log itself, finds no room.
_NO_ROOM: Final = frozenset(
    {
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR_SHMSIZE,
        sqlite3.SQLITE_IOERR_SHMMAP,
        sqlite3.SQLITE_IOERR_WRITE,
    }
)


def lacks_room(error: BaseException | None) -> bool:
    """Return whether an error, or one that it was raised from, says that the disk is full."""
    while error is not None:
        cause: BaseException = getattr(error, "orig", None) or error
        if getattr(cause, "sqlite_errorcode", None) in _NO_ROOM:
            return True
        error = error.__cause__
    return False


def must_be_alone(file: Path, timeout_s: float) -> bool:
    """Return whether a record can only be read by a connection that has it for itself.

    Args:
        file: The record; there is something in it.
        timeout_s: How long to wait for another process' lock, in seconds.

    Raises:
        sqlite3.Error: It cannot be read for another reason.
    """
    connection = sqlite3.connect(f"file:{quote(str(file))}?mode=ro", uri=True, timeout=timeout_s)
    try:
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.Error as exc:
        if lacks_room(exc):
            return True
        raise
    finally:
        connection.close()
    return False


def connect_alone(file: Path, timeout_s: float) -> sqlite3.Connection:
    """Return a connection that reads a record and keeps others out until it is closed.

    Args:
        file: The record; it may be written, which the lock needs.
        timeout_s: How long to wait for another process' lock, in seconds.
    """
    connection = connect_holding(
        file,
        f"file:{quote(str(file))}?mode=rw",
        timeout=timeout_s,
        isolation_level=None,
        check_same_thread=False,
    )
    try:
        # Before anything is read: only then is no shared memory asked for.
        connection.execute("PRAGMA locking_mode=EXCLUSIVE").fetchone()
        connection.execute("PRAGMA query_only=ON")
    except BaseException:
        connection.close()
        raise
    return connection
