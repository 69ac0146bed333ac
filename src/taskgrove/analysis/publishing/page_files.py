"""What stands beside a page and its former versions: attached files, and small pictures of them.

``<page>/_taskgrove/<key>/<name>`` is a file, ``<page>/_taskgrove/<key>.<suffix>`` a picture; the
key is the beginning of the hash of the content. What no version of the page names is removed.

Threads: a call works on an open folder of its own.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import stat
from collections.abc import Iterable
from contextlib import ExitStack
from html import escape
from typing import Final
from urllib.parse import quote

import msgspec

from taskgrove.analysis.drawn_page import AttachedFile
from taskgrove.analysis.publishing.page_folder import Folder, write_all
from taskgrove.analysis.publishing.page_names import OWN_FOLDER, PICTURE
from taskgrove.errors import AnalysisError

_KEY_LENGTH: Final = 16
_PIECE_BYTES: Final = 1 << 20
#: How HTML of an author's own names a file beside its page.
FILE_SCHEME: Final = "taskgrove-file:"
FILE_KEY: Final = re.compile(r"[0-9a-f]{16}")


class FileRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """A file beside a page.

    Attributes:
        name: Its name.
        key: The folder in which it is, below the page's own ``_taskgrove``.
        size_bytes: Its size.
        sha256: The hash of its content, in hex.
        label: What it is, in the author's words; empty: its name tells it.
    """

    name: str
    key: str
    size_bytes: int
    sha256: str
    label: str = ""

    @property
    def address(self) -> str:
        """Its address, relative to the page."""
        return f"{OWN_FOLDER}/{self.key}/{quote(self.name, safe='')}"

    @property
    def is_sound(self) -> bool:
        """Whether it names a place below the page's folder; a record may have been changed."""
        return (
            FILE_KEY.fullmatch(self.key) is not None
            and self.name not in ("", ".", "..")
            and not {"/", "\\", "\0"} & set(self.name)
        )


class Beside:
    """Puts files and a picture beside a page that is being published.

    The folder for them is made when there is something to put there.

    Args:
        page: The folder of the page.
        stack: Closes and removes what is not needed any more.
        limit_bytes: How large a file may be.
    """

    def __init__(self, page: Folder, stack: ExitStack, limit_bytes: int) -> None:
        self._page = page
        self._stack = stack
        self._limit_bytes = limit_bytes
        self._staged: list[tuple[FileRecord, str]] = []
        self._folder: Folder | None = None

    def stage(self, attached: AttachedFile) -> FileRecord:
        """Copy a file, under a name of its own until :meth:`keep`.

        Raises:
            AnalysisError: It cannot be read, or is too large.
        """
        folder = self._opened()
        digest, size = hashlib.sha256(), 0
        try:
            with (
                open(attached.file, "rb", opener=_open_regular) as source,
                folder.staging() as (staged, target),
            ):
                while piece := source.read(_PIECE_BYTES):
                    digest.update(piece)
                    size += len(piece)
                    if size > self._limit_bytes:
                        raise AnalysisError(
                            f"the file {attached.file!r} has more than {self._limit_bytes:,} bytes",
                            file=attached.file,
                            hint="name its place in the payload, or raise file_limit_bytes",
                        )
                    write_all(target, piece)
        except OSError as exc:
            raise AnalysisError(
                f"the file {attached.file!r} cannot be published: {exc.strerror or exc}",
                file=attached.file,
            ) from exc
        self._stack.callback(folder.remove, staged)
        found, name = digest.hexdigest(), os.path.basename(attached.file)
        key = hashlib.sha256(f"{found} {name}".encode()).hexdigest()[:_KEY_LENGTH]
        record = FileRecord(name, key, size, found, attached.label)
        self._staged.append((record, staged))
        return record

    def keep(self, picture: bytes | None, picture_name: str) -> None:
        """Give the copies their names, and write the picture; under the root's lock."""
        for record, staged in self._staged:
            with self._opened().enter(record.key) as place:
                os.rename(staged, record.name, src_dir_fd=self._opened().fd, dst_dir_fd=place.fd)
        if picture is not None:
            self._opened().replace(picture_name, picture, durable=False)

    def _opened(self) -> Folder:
        if self._folder is None:
            self._folder = self._stack.enter_context(self._page.enter(OWN_FOLDER))
        return self._folder


def with_addresses(page: bytes, files: Iterable[FileRecord]) -> bytes:
    """Return a page in which ``taskgrove-file:NAME`` became the address of that file."""
    for file in sorted(files, key=lambda file: len(file.name), reverse=True):
        for name in (file.name, escape(file.name)):
            page = page.replace(f"{FILE_SCHEME}{name}".encode(), file.address.encode())
    return page


def picture_name(content: bytes, suffix: str) -> str:
    """Return the name of a small picture in the folder of a page's files."""
    return f"{hashlib.sha256(content).hexdigest()[:_KEY_LENGTH]}.{suffix}"


def remove_unnamed(page: Folder, named: Iterable[str]) -> None:
    """Remove the files and pictures that no version of a page names; under the root's lock.

    Args:
        page: The folder of the page.
        named: The names of pictures, and the keys of files, that stay.
    """
    if OWN_FOLDER not in page.names():
        return
    kept = frozenset(named)
    with page.enter(OWN_FOLDER) as own:
        own.sweep()
        for name in own.names():
            if PICTURE.fullmatch(name) and name not in kept:
                own.remove(name)
            elif FILE_KEY.fullmatch(name) and name not in kept:
                with own.enter(name, create=False) as place:
                    for file in place.names():
                        place.remove(file)
                os.rmdir(name, dir_fd=own.fd)


def _open_regular(file: str, flags: int) -> int:
    fd = os.open(file, flags | os.O_NONBLOCK)  # it may have become a pipe since it was named
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(errno.EINVAL, "it is no regular file any more")
    return fd
