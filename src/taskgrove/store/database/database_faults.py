"""The meaning of a database's errors, in words for people.

Pure, and it needs no database library: drivers are known by the attributes of their errors.
"""

from __future__ import annotations

import errno
import sqlite3
from typing import Final, NamedTuple

from taskgrove.errors import StoreError
from taskgrove.redaction import without_url_passwords


class RefusedDataError(StoreError):
    """A database does not take some data; with other data the same statement works."""


class DatabaseFault(NamedTuple):
    """An error of a database, in words.

    Attributes:
        words: The problem, to follow ``the record at X``: ``is locked by another process``.
        hint: The next step, or None.
        passing: True where waiting may heal it.
    """

    words: str
    hint: str | None
    passing: bool


_SQLITE: Final[dict[int, DatabaseFault]] = {
    sqlite3.SQLITE_BUSY: DatabaseFault(
        "is locked: another process writes to it and does not let go", None, True
    ),
    sqlite3.SQLITE_LOCKED: DatabaseFault("is locked by another connection", None, True),
    sqlite3.SQLITE_FULL: DatabaseFault(
        "cannot be written: the disk is full", "make room on it", True
    ),
    sqlite3.SQLITE_IOERR: DatabaseFault(
        "cannot be read or written: the disk reports an error", None, True
    ),
    sqlite3.SQLITE_CANTOPEN: DatabaseFault(
        "cannot be opened", "check that its folder exists and may be written", True
    ),
    sqlite3.SQLITE_PERM: DatabaseFault("cannot be opened: permission denied", None, True),
    sqlite3.SQLITE_READONLY: DatabaseFault(
        "cannot be written: the file or its folder is read-only", None, True
    ),
    sqlite3.SQLITE_NOTADB: DatabaseFault(
        "is not a database", "name another file, or move this one away", False
    ),
    sqlite3.SQLITE_CORRUPT: DatabaseFault(
        "is damaged: its content is not that of a whole database",
        "move it away, or restore a copy; 'sqlite3 FILE .recover' saves what is left",
        False,
    ),
}


#: Extended codes that say more than their class does.
_SQLITE_EXTENDED: Final[dict[int, DatabaseFault]] = {
    sqlite3.SQLITE_IOERR_SHMSIZE: DatabaseFault(
        "cannot be opened for writing: the disk is full", "make room on it", True
    ),
}


#: Of PostgreSQL, by the code that the server gives (SQLSTATE). {text}: its own first line.
_POSTGRES: Final[dict[str, DatabaseFault]] = {
    "42501": DatabaseFault(
        "does not allow that: {text}",
        "ask the owner of the database for the right to read and write its tables and sequences,"
        " or name another record",
        True,
    ),
    "25006": DatabaseFault(
        "cannot be written: its server lets this user only read",
        "name another user or server, or another record",
        True,
    ),
    "53100": DatabaseFault(
        "cannot be written: the disk of its server is full", "make room on it", True
    ),
    "57014": DatabaseFault("did not answer in time: {text}", None, True),
    "55P03": DatabaseFault(
        "is locked: another process writes to it and does not let go", None, True
    ),
    "42P01": DatabaseFault("lacks a table: {text}", "restore a copy, or name another record", True),
}
#: What of PostgreSQL's classes of errors the data is to blame for: whatever else, it may pass.
_OF_DATA: Final = ("22", "23", "54")


def fault_of(error: BaseException) -> DatabaseFault:
    """Return the meaning of an error of a database, or of the file system."""
    cause: BaseException = getattr(error, "orig", None) or error
    code = getattr(cause, "sqlite_errorcode", None)
    if isinstance(code, int) and code in _SQLITE_EXTENDED:
        return _SQLITE_EXTENDED[code]
    if isinstance(code, int) and (code & 0xFF) in _SQLITE:
        return _SQLITE[code & 0xFF]
    state = sqlstate_of(error)
    if state in _POSTGRES:
        found = _POSTGRES[state]
        text = (str(cause).strip().splitlines() or [""])[0].rstrip(".")
        return found._replace(words=found.words.replace("{text}", text))
    if isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return _SQLITE[sqlite3.SQLITE_FULL]
    text = (cause.strerror if isinstance(cause, OSError) else None) or str(cause)
    lines = without_url_passwords(text).strip().splitlines() or [type(cause).__name__]
    # A connection that fails tells of each attempt; below a server's answer stands our statement.
    some = lines[: 3 if state is None else 1]
    # Our sentence goes on behind theirs.
    words = "; ".join(dict.fromkeys(line.strip().rstrip(".") for line in some if line.strip()))
    return DatabaseFault(
        f"cannot be used: {words}", None, not isinstance(cause, sqlite3.DatabaseError)
    )


def sqlstate_of(error: BaseException) -> str | None:
    """Return the code of an error that a PostgreSQL server told, or None."""
    state = getattr(getattr(error, "orig", None) or error, "sqlstate", None)
    return state if isinstance(state, str) else None


def store_error(
    error: BaseException, location: str, kind: type[StoreError] = StoreError
) -> StoreError:
    """Return an error of a database as one of ours, to be raised from it."""
    fault = fault_of(error)
    hint = fault.hint
    if 'database "' in fault.words and "does not exist" in fault.words:
        hint = "make it with createdb, or name another one"
    return kind(f"the record at {location} {fault.words}", location=location, hint=hint)


def words_of(error: BaseException) -> str:
    """Return an error as a sentence for people, whether it is one of ours or a database's."""
    if isinstance(error, StoreError):
        return error.message
    return f"the record {fault_of(error).words}"


def why_refused(error: BaseException) -> str:
    """Return why something could not be written, be it the database's word or a fault of ours."""
    # psycopg's errors have a ``sqlstate``, which may be None.
    if isinstance(error, (StoreError, sqlite3.Error)) or hasattr(error, "sqlstate"):
        return words_of(error)
    return f"{type(error).__name__}: {error}"


def is_outage(error: BaseException) -> bool:
    """Return True where the database could not be used: the data is not to blame."""
    if isinstance(error, (StoreError, OSError, MemoryError)):
        return not isinstance(error, RefusedDataError)
    state = sqlstate_of(error)
    if state is not None:
        return not state.startswith(_OF_DATA)
    cause: BaseException = getattr(error, "orig", None) or error
    kinds = {kind.__name__ for kind in type(cause).__mro__}
    if isinstance(cause, sqlite3.DatabaseError):
        return not kinds & {"IntegrityError", "DataError", "ProgrammingError", "InterfaceError"}
    return bool(kinds & {"OperationalError", "InterfaceError", "InternalError", "TimeoutError"})
