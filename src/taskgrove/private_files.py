"""Files and folders that belong to the user alone, or to one group, whatever the umask.

A record, and the files beside it, hold facts of runs (arguments, environments, texts of maps) that
are private to their user. ``TASKGROVE_GROUP`` names a group that shares it.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from pathlib import Path
from typing import Final

#: The environment variable that names the group that shares these files.
GROUP_VARIABLE: Final = "TASKGROVE_GROUP"


def shared_group() -> int | None:
    """Return the number of the group that shares private files, or None.

    Raises:
        OSError: ``TASKGROVE_GROUP`` names no group.
    """
    name = os.environ.get(GROUP_VARIABLE, "").strip()
    if not name:
        return None
    import grp  # noqa: PLC0415 - rarely needed

    try:
        return grp.getgrnam(name).gr_gid
    except (KeyError, ValueError):
        # The same error as the system's own, which callers expect.
        raise OSError(errno.EINVAL, f"{GROUP_VARIABLE} names no group {name!r}") from None


def file_mode() -> int:
    """Return the mode of a private file."""
    return 0o600 if shared_group() is None else 0o660


def folder_mode() -> int:
    """Return the mode of a private folder; what a group shares hands the group on."""
    return 0o700 if shared_group() is None else 0o2770


def make_private_file(path: Path) -> None:
    """Make an empty file that is private from its first moment; one that is there stays as it is.

    Raises:
        OSError: It cannot be made, or not be given to the group.
    """
    with suppress(FileExistsError):
        os.close(open_new_private(path, os.O_WRONLY))


def open_new_private(path: Path | str, flags: int, *, share: bool = True) -> int:
    """Make a private file and return its descriptor; ``O_CREAT`` and ``O_EXCL`` are added.

    Args:
        path: The file.
        flags: As ``os.open``.
        share: Whether ``TASKGROVE_GROUP`` counts.

    Raises:
        FileExistsError: Something of that name is there.
        OSError: It cannot be made, or not be given to the group.
    """
    group, mode = (shared_group(), file_mode()) if share else (None, 0o600)
    fd = os.open(path, flags | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        if group is not None:
            os.fchown(fd, -1, group)
        os.fchmod(fd, mode)
    except BaseException:
        os.close(fd)
        raise
    return fd


def make_private_folder(path: Path, *, share: bool = True) -> None:
    """Make a folder, and those above it that are missing, private; what is there stays as it is.

    Args:
        path: The folder.
        share: Whether ``TASKGROVE_GROUP`` counts.

    Raises:
        OSError: It cannot be made, or not be given to the group.
    """
    if path.is_dir():
        return
    if path.parent != path:
        make_private_folder(path.parent, share=share)
    group, mode = (shared_group(), folder_mode()) if share else (None, 0o700)
    try:
        path.mkdir(mode=0o700)
    except FileExistsError:  # another process was quicker, or it is no folder
        if not path.is_dir():
            raise
        return
    if group is not None:
        os.chown(path, -1, group)
    path.chmod(mode)


def give_to_group(path: Path) -> None:
    """Give a file of this user to the group that shares it; others' files stay as they are.

    Args:
        path: The file; it need not be there.
    """
    group = shared_group()
    if group is None:
        return
    # It may go at any time, and whose it is decides who may change it.
    with suppress(FileNotFoundError, PermissionError):
        if path.stat().st_gid != group:
            os.chown(path, -1, group)
