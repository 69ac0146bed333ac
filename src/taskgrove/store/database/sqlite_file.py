"""Checks of a SQLite file before it is opened: whether it may be a record.

SQLite itself tells of a missing or truncated file late, and makes an empty one where a path
was mistyped; the operator is told at once, and nothing is made.
"""

from __future__ import annotations

import os
import stat
import time
from pathlib import Path
from typing import Final

from taskgrove.errors import StoreError
from taskgrove.store.database.held_files import read_aside

_MAGIC: Final = b"SQLite format 3\0"
_HEADER_BYTES: Final = 100
#: A file that is shorter than it says may just be written by another process: looked at again.
_LOOKS: Final = 5
_BETWEEN_LOOKS_S: Final = 0.2


def check_file(file: Path, *, create: bool, read_only: bool) -> bool:
    """Check that a file can be a record, before SQLite sees it.

    Returns:
        True when there is something in it; False when it is to be made, or is empty.

    Raises:
        StoreError: It cannot be one; the text says why.
    """
    try:
        found = file.stat()
    except (FileNotFoundError, NotADirectoryError):
        _check_new(file, create=create, read_only=read_only)
        return False
    except OSError as exc:
        raise _error(file, f"cannot be read: {exc.strerror}") from exc
    if stat.S_ISDIR(found.st_mode):
        raise _error(file, "is a folder", hint=f"name a file in it: {file / 'runs.db'}")
    if not stat.S_ISREG(found.st_mode):
        raise _error(file, "is no ordinary file")
    if found.st_size == 0:
        if read_only or not create:
            raise _error(file, "is empty: nothing was recorded there")
        return False
    _check_header(file)
    if not read_only and not os.access(file, os.W_OK):
        raise _error(file, "may not be written: permission denied")
    return True


def _check_new(file: Path, *, create: bool, read_only: bool) -> None:
    folder = file.parent
    if not folder.is_dir():
        why = "is no folder" if folder.exists() else "does not exist"
        raise _error(file, f"cannot be made: {folder} {why}", hint=f"mkdir -p {folder}")
    if read_only or not create:
        raise _error(
            file,
            "does not exist: nothing was recorded there",
            hint="--db or TASKGROVE_DB names another one",
        )
    if not os.access(folder, os.W_OK):
        raise _error(file, f"cannot be made: {folder} may not be written")


def _check_header(file: Path) -> None:
    for look in range(_LOOKS):
        try:
            found = read_aside(file, _HEADER_BYTES)
        except OSError as exc:
            raise _error(file, f"cannot be read: {exc.strerror}") from exc
        if found is None:
            return  # it was looked at when this process opened it
        header, size = found
        if not header.startswith(_MAGIC[: len(header)]) or len(header) < _HEADER_BYTES:
            raise _error(
                file, "is not a SQLite database", hint="name another file, or move this one away"
            )
        said = _size_in(header)
        if size >= said or _has_log(file):
            return
        if look < _LOOKS - 1:
            time.sleep(_BETWEEN_LOOKS_S)
    raise _error(
        file,
        f"is cut short: {size:,} of {said:,} bytes are there",
        hint="restore a copy, or move it away; 'sqlite3 FILE .recover' saves what is left",
    )


def _has_log(file: Path) -> bool:
    # A checkpoint that a full disk cut off leaves the end of the file in the write-ahead log.
    try:
        return Path(f"{file}-wal").stat().st_size > 0
    except OSError:
        return False


def _size_in(header: bytes) -> int:
    page = int.from_bytes(header[16:18], "big")
    page_size = 65536 if page == 1 else page
    # The count is valid only where the two change counters agree (SQLite's file format, 1.3.7).
    if header[24:28] != header[92:96]:
        return 0
    return page_size * int.from_bytes(header[28:32], "big")


def _error(file: Path, words: str, *, hint: str | None = None) -> StoreError:
    return StoreError(f"the record at {file} {words}", location=str(file), hint=hint)
