"""The executor's ledger of what it has started, and the guardian that reads it.

Threads: :meth:`Ledger.add` and :meth:`Ledger.remove` may be called by any thread, because a line
is appended by one call of the system; :meth:`Ledger.open` and :meth:`Ledger.close` by the
supervisor's thread.
"""

from __future__ import annotations

import logging
import os
import secrets
import stat
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final

from taskgrove.analysis.running import leftovers
from taskgrove.analysis.running.leftovers import Owner, boot_id, start_time
from taskgrove.private_files import make_private_folder, open_new_private

_LOGGER = logging.getLogger(__name__)

_SUFFIX: Final = ".ledger"
#: How long the guardian may take to end, in seconds.
_GUARDIAN_END_S: Final = 2.0


def ledger_folder() -> Path:
    """Return the folder of this user's ledgers on this host: private, and made if missing.

    Raises:
        OSError: It cannot be made, or belongs to somebody else.
    """
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime and os.path.isabs(runtime) and os.access(runtime, os.W_OK):
        folder = Path(runtime, "taskgrove")
    else:
        folder = Path(tempfile.gettempdir(), f"taskgrove-{os.getuid()}")
    make_private_folder(folder, share=False)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise PermissionError(f"{folder} is not a private folder of this user")
    return folder


class Ledger:
    """What one executor process has started.

    Args:
        folder: Where the file is kept; None: :func:`ledger_folder`.

    Attributes:
        mark: What the environment of every analysis holds, followed by a dot and a number.
        path: The file, or None where none could be written: then there is no guardian either,
            and a warning was logged.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.mark = secrets.token_hex(12)
        self.path: Path | None = None
        self._folder = folder
        self._descriptor = -1
        self._guardian: subprocess.Popen[bytes] | None = None

    @property
    def guardian_pid(self) -> int | None:
        """The guardian's process, or None."""
        return self._guardian.pid if self._guardian is not None else None

    def open(self) -> None:
        """Write the first line and start the guardian."""
        own = os.getpid()
        started = start_time(own) or 0
        owner = Owner(boot_id(), os.uname().nodename or "-", own, started, self.mark)
        try:
            folder = self._folder or ledger_folder()
            path = folder / f"{own}-{self.mark}{_SUFFIX}"
            self._descriptor = open_new_private(path, os.O_WRONLY | os.O_APPEND, share=False)
        except OSError as exc:
            _LOGGER.warning(
                "analyses would outlive this process if it were killed: no ledger can be kept: %s",
                exc,
            )
            return
        self.path = path
        self._write(owner.line())
        self._guardian = _start_guardian(path, own, started)

    def add(self, pid: int, start: int, name: str) -> None:
        """Name a process that was started."""
        self._write(f"+ {pid} {start} {name.encode('ascii', 'replace').decode()}\n")

    def remove(self, pid: int, start: int) -> None:
        """Tell that a process has ended and was reaped."""
        self._write(f"- {pid} {start}\n")

    def close(self) -> None:
        """End the guardian and remove the file; all that it named has ended."""
        guardian, self._guardian = self._guardian, None
        if guardian is not None:
            assert guardian.stdin is not None
            with suppress(OSError):  # it has been killed
                guardian.stdin.write(b"q")
            with suppress(OSError):
                guardian.stdin.close()
            try:
                guardian.wait(_GUARDIAN_END_S)
            except subprocess.TimeoutExpired:
                guardian.kill()
                guardian.wait()
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
        if self.path is not None:
            self.path.unlink(missing_ok=True)
            self.path = None

    def _write(self, line: str) -> None:
        if self._descriptor < 0:
            return
        try:
            os.write(self._descriptor, line.encode())
        except OSError as exc:
            _LOGGER.warning("the ledger %s cannot be written: %s", self.path, exc)


def end_all_leftovers(folder: Path | None = None) -> list[int]:
    """End what executors of this user that are gone have left on this host.

    Returns:
        The processes that were ended.
    """
    ended: list[int] = []
    try:
        paths = sorted((folder or ledger_folder()).glob(f"*{_SUFFIX}"))
    except OSError as exc:
        _LOGGER.warning("what earlier executors have left is not looked for: %s", exc)
        return ended
    for path in paths:
        found = leftovers.end_leftovers(str(path))
        if found:
            _LOGGER.warning("ended processes that an earlier executor had left: %s", found)
        ended += found
    return ended


def _start_guardian(path: Path, pid: int, started: int) -> subprocess.Popen[bytes] | None:
    command = [sys.executable, "-I", "-S", leftovers.__file__, str(path), str(pid), str(started)]
    try:
        return subprocess.Popen(  # noqa: S603 - our own module
            command,
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C in a terminal is not for it
            cwd="/",
        )
    except OSError as exc:
        _LOGGER.warning("analyses would outlive this process if it were killed: %s", exc)
        return None
