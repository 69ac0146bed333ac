"""Folders that are opened by name and never through a link, and files that are whole or absent.

All paths are relative to an open folder: a link that is made during a write leads nowhere, and
no file is written outside the root.

Threads: a folder belongs to the call that opened it.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path
from typing import Final, Self

from taskgrove.analysis.publishing.page_names import TEMPORARY
from taskgrove.errors import AnalysisError

#: A file that was left half written is removed when it is older than this, in seconds.
STALE_S: Final = 3600.0
_PIECE_BYTES: Final = 1 << 18
_FOLDER_FLAGS: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
#: File systems without hard links say so in one of these ways.
_NO_LINKS: Final = frozenset({errno.EPERM, errno.ENOTSUP, errno.EMLINK, errno.EXDEV, errno.ENOSYS})


class Folder:
    """An open folder; a context manager that closes it."""

    def __init__(self, fd: int, path: Path) -> None:
        self.fd = fd
        self.path = path

    @classmethod
    def root(cls, path: Path) -> Folder:
        """Open a root, made when it is missing; the root itself may be a link."""
        path.mkdir(parents=True, exist_ok=True)
        real = path.resolve()
        return cls(os.open(real, _FOLDER_FLAGS), real)

    @classmethod
    def existing(cls, path: Path) -> Folder:
        """Open a root that is there; the root itself may be a link.

        Raises:
            OSError: There is none.
        """
        real = path.resolve()
        return cls(os.open(real, _FOLDER_FLAGS), real)

    def enter(self, *names: str, create: bool = True) -> Folder:
        """Open a folder below this one, made when it is missing.

        Raises:
            AnalysisError: A link or a file is there.
        """
        fd, path = os.dup(self.fd), self.path
        try:
            for name in names:
                path = path / name
                if create:
                    with suppress(FileExistsError):
                        os.mkdir(name, dir_fd=fd)
                former, fd = fd, os.open(name, _FOLDER_FLAGS, dir_fd=fd)
                os.close(former)
        except BaseException as exc:
            os.close(fd)
            if isinstance(exc, OSError) and exc.errno in (errno.ELOOP, errno.ENOTDIR):
                raise AnalysisError(
                    f"{path} is not a folder below the root: a link or a file is there",
                    file=path,
                    hint="pages are written below their root only, never through a link",
                ) from exc
            raise
        return Folder(fd, path)

    @contextmanager
    def staging(self, *, durable: bool = True) -> Iterator[tuple[str, FileIO]]:
        """Give a new file with a name of its own; it is removed again where writing fails."""
        name = f".taskgrove-{secrets.token_hex(8)}.tmp"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(name, flags, 0o666, dir_fd=self.fd)
        try:
            with os.fdopen(fd, "wb", buffering=0) as file:
                yield name, file
                if durable:
                    os.fsync(file.fileno())
        except BaseException:
            self.remove(name)
            raise

    def stage(self, data: bytes, *, durable: bool = True) -> str:
        """Write data under a name of its own, to the disk if ``durable``; return that name."""
        with self.staging(durable=durable) as (name, file):
            write_all(file, data)
        return name

    def commit(self, staged: str, name: str, *, durable: bool = True) -> None:
        """Give a staged file its name; it replaces the former file in one step."""
        try:
            os.rename(staged, name, src_dir_fd=self.fd, dst_dir_fd=self.fd)
        except BaseException:
            self.remove(staged)
            raise
        try:
            if durable:
                os.fsync(self.fd)
        except OSError as exc:
            if exc.errno != errno.EINVAL:  # some file systems cannot write folders out
                raise

    def replace(self, name: str, data: bytes, *, durable: bool = True) -> None:
        """Write a file: whole, or not at all; also if the power fails, when ``durable``."""
        self.commit(self.stage(data, durable=durable), name, durable=durable)

    def keep(self, name: str, as_name: str) -> bool:
        """Give a file a second name; False when there is no such regular file.

        Raises:
            OSError: It cannot be done, or the second name is taken.
        """
        found = self.look(name)
        if found is None:
            return False
        try:
            os.link(name, as_name, src_dir_fd=self.fd, dst_dir_fd=self.fd, follow_symlinks=False)
        except OSError as exc:
            if exc.errno not in _NO_LINKS:
                raise
            self.commit(self.stage(self.read(name) or b""), as_name)
        return True

    def look(self, name: str) -> os.stat_result | None:
        """Return the status of a regular file, or None when there is none of that name."""
        try:
            found = os.stat(name, dir_fd=self.fd, follow_symlinks=False)
        except FileNotFoundError:
            return None
        return found if stat.S_ISREG(found.st_mode) else None

    def are_same(self, name: str, other: str) -> bool:
        """Return whether two names are one regular file."""
        first, second = self.look(name), self.look(other)
        return first is not None and second is not None and os.path.samestat(first, second)

    def read(self, name: str) -> bytes | None:
        """Return the content of a regular file, or None when there is none of that name."""
        if self.look(name) is None:
            return None
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        with os.fdopen(os.open(name, flags, dir_fd=self.fd), "rb") as file:
            return file.read()

    def pieces(self, name: str) -> tuple[int, Iterator[bytes]] | None:
        """Return the size of a regular file and its content in pieces; None: there is none."""
        if self.look(name) is None:
            return None
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        file = os.fdopen(os.open(name, flags, dir_fd=self.fd), "rb")
        size = os.fstat(file.fileno()).st_size

        def content() -> Iterator[bytes]:
            with file:
                left = size
                while left > 0 and (piece := file.read(min(left, _PIECE_BYTES))):
                    left -= len(piece)
                    yield piece

        return size, content()

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self.fd)

    def names(self) -> list[str]:
        """Return the names of all entries of the folder, sorted."""
        return sorted(os.listdir(self.fd))

    def sweep(self) -> None:
        """Remove old, half-written files of writers that were killed."""
        for name in self.names():
            if TEMPORARY.fullmatch(name):
                found = self.look(name)
                if found is not None and time.time() - found.st_mtime > STALE_S:
                    self.remove(name)

    @contextmanager
    def locked(self, name: str, timeout_s: float) -> Iterator[None]:
        """Hold a lock file of this folder; other threads and processes wait meanwhile.

        Raises:
            AnalysisError: Another writer held it for ``timeout_s`` seconds.
        """
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(name, flags, 0o666, dir_fd=self.fd)
        try:
            deadline, pause = time.monotonic() + timeout_s, 0.002
            while True:
                try:
                    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() >= deadline:
                        raise AnalysisError(
                            f"another writer has held {self.path / name} for {timeout_s:g} s",
                            file=self.path / name,
                            hint="lsof shows the process that holds it",
                        ) from None
                time.sleep(pause)
                pause = min(2 * pause, 0.1)
            yield
        finally:
            os.close(fd)  # which also lets the lock go

    def close(self) -> None:
        """Close the folder."""
        os.close(self.fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_raised: object) -> None:
        self.close()


def write_all(file: FileIO, data: bytes) -> None:
    """Write all of the data, in as many pieces as the system takes."""
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest) :]
