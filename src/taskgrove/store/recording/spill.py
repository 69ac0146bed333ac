"""Spill: keeps entries aside that could not be written, within bounds, until they can be.

A spill is a file in the user's state folder, or memory where no file can be written. Each entry
is flushed to the disk before :meth:`Spill.add` returns, so it survives a ``kill -9``: the next
process that opens the same record finds the file (:func:`orphans_of`) and writes its entries. The
owner holds a lock on the file while it lives; the kernel releases the lock when it dies.

A damaged file is never removed. :mod:`taskgrove.store.recording.spill_file` reads the file.

Threads: a spill belongs to one thread.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import tempfile
from collections import deque
from collections.abc import Sequence, Set
from contextlib import suppress
from itertools import accumulate
from pathlib import Path
from typing import Final

from taskgrove.private_files import make_private_folder, open_new_private
from taskgrove.store.database.location import user_folder
from taskgrove.store.recording.spill_file import Entry, framed, read_entries, unframed

#: Bytes that are kept in memory at most, where no file can be written.
MEMORY_LIMIT_BYTES: Final = 32 * 2**20

_SUFFIX: Final = ".spill"
#: How often a file is made anew that another process took for an orphan before it was locked.
_TRIES: Final = 3


class Spill:
    """Keeps entries aside, oldest first.

    Args:
        location: The record that they belong to, as text without a password.
        limit_bytes: The most that the file may hold; memory holds no more either.
        folder: Where the file is made; None takes the user's state folder, or the folder for
            temporary files.

    Attributes:
        durable: True while everything that is kept aside is on the disk.
        trouble: Why the file cannot be written, or None.
        path: The file, where there is one.
    """

    def __init__(self, location: str, limit_bytes: int, folder: Path | None = None) -> None:
        self._location = location
        self._limit = limit_bytes
        self._folder = folder
        self._fd: int | None = None
        self._size = 0
        self._read_at = 0
        self._memory: deque[bytes] = deque()
        self._memory_bytes = 0
        self._is_damaged = False
        self.path: Path | None = None
        self.durable = True
        self.trouble: str | None = None

    @property
    def is_empty(self) -> bool:
        """True when nothing is kept aside."""
        return not self._memory and self._read_at >= self._size

    @property
    def size_bytes(self) -> int:
        """How much is kept aside."""
        return self._size - self._read_at + self._memory_bytes

    @property
    def held_bytes(self) -> int:
        """How much the file and the memory hold, with the dropped entries of the file."""
        return self._size + self._memory_bytes

    @property
    def is_crowded(self) -> bool:
        """True when nearly all the room is used, so that progress is better left out."""
        limit = self._limit if self.durable else min(self._limit, MEMORY_LIMIT_BYTES)
        return self.size_bytes > limit * 3 // 4

    def add(self, entries: Sequence[Entry]) -> list[Entry]:
        """Keep entries aside and return those for which there is no room."""
        parts = [framed(entry) for entry in entries]
        if not self._memory:
            room = self._limit - self._size
            fit = sum(end <= room for end in accumulate(map(len, parts)))
            if fit and self._write(b"".join(parts[:fit])):
                return list(entries[fit:])
            if not fit and self._size:
                return list(entries)
        limit = min(self._limit, MEMORY_LIMIT_BYTES)
        for number, data in enumerate(parts):
            if self._memory_bytes + len(data) > limit:
                return list(entries[number:])
            self._memory.append(data)
            self._memory_bytes += len(data)
            self.durable = False
        return []

    def _write(self, data: bytes) -> bool:
        """Append to the file and flush it; False where that is not possible."""
        try:
            if self._fd is None:
                self._make()
            assert self._fd is not None
            os.ftruncate(self._fd, self._size)  # a write that failed may have left a part
            os.lseek(self._fd, self._size, os.SEEK_SET)
            left = memoryview(data)
            while left:
                left = left[os.write(self._fd, left) :]
            os.fsync(self._fd)
        except OSError as exc:
            self.trouble = f"nothing can be kept aside on the disk: {exc.strerror or exc}"
            return False
        self._size += len(data)
        return True

    def _make(self) -> None:
        error: OSError | None = None
        folders = spill_folders() if self._folder is None else [self._folder]
        for folder in [it for it in folders for _ in range(_TRIES)]:
            path = folder / f"{_stem(self._location)}-{os.getpid()}-{os.urandom(4).hex()}{_SUFFIX}"
            fd = None
            try:
                _private_folder(folder)
                fd = open_new_private(path, os.O_RDWR, share=False)
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if not os.fstat(fd).st_nlink:  # taken for an orphan before it was locked
                    raise FileNotFoundError(errno.ENOENT, "removed by another process")
            except OSError as exc:
                error = exc
                if fd is not None:
                    os.close(fd)
                continue
            self._fd, self.path = fd, path
            return
        assert error is not None
        raise error

    def peek(self, limit: int) -> tuple[list[Entry], int]:
        """Return the oldest entries, at most about ``limit``, and a mark for :meth:`drop`."""
        if self._read_at >= self._size:
            some = [self._memory[i] for i in range(min(limit, len(self._memory)))]
            return [unframed(data) for data in some], -len(some)
        assert self._fd is not None
        found: list[Entry] = []
        at = self._read_at
        for entry, end in read_entries(self._fd, at, self._size, self._note_damage):
            found.append(entry)
            at = end
            if len(found) >= limit:
                break
        self._is_damaged |= not found
        return found, at if found else self._size

    def _note_damage(self, _start: int, _end: int) -> None:
        self._is_damaged = True

    def drop(self, mark: int) -> None:
        """Do not return the entries of a :meth:`peek` again: their events are written.

        The file keeps them until :meth:`clear`: the ends of runs are written last of all.
        """
        if mark >= 0:
            self._read_at = mark
        for _ in range(-mark):
            self._memory_bytes -= len(self._memory.popleft())

    def clear(self) -> None:
        """Forget all, because it is in the record; entries that were not dropped stay."""
        if not self.is_empty:
            return
        self.durable = True
        self.trouble = None
        if self._fd is not None:
            assert self.path is not None
            # A damaged file stays: the next look for orphans sets it aside.
            if not self._is_damaged:
                self.path.unlink(missing_ok=True)
            os.close(self._fd)
        self._is_damaged = False
        self._fd = self.path = None
        self._size = self._read_at = 0

    def close(self) -> None:
        """Close the file; its entries stay for the next process that opens the record."""
        if not self.held_bytes:
            self.clear()
        elif self._fd is not None:
            os.close(self._fd)
            self._fd = None
        self._memory.clear()
        self._memory_bytes = 0


def spill_folders() -> list[Path]:
    """Return where spills are made: the first folder that can be written is used."""
    own = Path(tempfile.gettempdir()) / f"taskgrove-{os.getuid()}"
    return [user_folder("state") / "spill", own / "spill"]


def orphans_of(location: str, folder: Path | None = None) -> list[Path]:
    """Return the spills for a record, also those whose owner lives.

    Args:
        location: The record, as text without a password.
        folder: Where to look; None looks where spills are made.
    """
    begin = f"{_stem(location)}-"
    found: list[Path] = []
    for where in [folder] if folder is not None else spill_folders():
        with suppress(OSError):  # no such folder: nothing was left there
            names = [name for name in os.listdir(where) if name.startswith(begin)]
            found += [where / name for name in sorted(names) if name.endswith(_SUFFIX)]
    return found


def take_orphan(path: Path) -> int | None:
    """Return a locked descriptor of a spill; None while its owner, or another process, has it."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(fd).st_nlink and os.fstat(fd).st_uid == os.getuid():
            return fd
    except OSError:
        pass  # its owner lives
    os.close(fd)
    return None


def keep_only(path: Path, fd: int, run_ids: Set[str]) -> None:
    """Leave the entries of some runs in a spill; the rest is in the record.

    Args:
        path: The file; another takes its place, so a crash leaves one of the two.
        fd: Its descriptor, locked.
        run_ids: The runs that stay.
    """
    rest = path.with_suffix(f"{_SUFFIX}-rest")
    with open(os.open(rest, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        for entry, _ in read_entries(fd):
            if entry.run_id in run_ids:
                file.write(framed(entry))
        file.flush()
        os.fsync(file.fileno())
    rest.replace(path)


def set_aside(path: Path, fd: int) -> Path:
    """Rename a damaged spill, so that it is not taken in again, and return its new name.

    Args:
        path: The file.
        fd: Its descriptor, locked.
    """
    os.fchmod(fd, 0o600)
    aside = path.with_suffix(".damaged")
    while os.path.lexists(aside):
        aside = path.with_suffix(f".{os.urandom(4).hex()}.damaged")
    return path.rename(aside)


def _stem(location: str) -> str:
    return hashlib.sha256(location.encode("utf-8", "backslashreplace")).hexdigest()[:16]


def _private_folder(folder: Path) -> None:
    make_private_folder(folder, share=False)
    if folder.stat().st_uid != os.getuid():
        raise PermissionError(1, f"{folder} belongs to another user")
