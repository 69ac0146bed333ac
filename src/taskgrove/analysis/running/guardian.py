"""The guardian: ends the analyses of this process if it is killed, as nothing here could.

The guardian is a shell that waits on a pipe from this process, so it costs next to no processor
time. When the pipe ends without a word, the shell becomes
:mod:`taskgrove.analysis.running.leftovers`. A file, the ledger, names this process and the mark
of its analyses; if the guardian was killed too, the next executor on the host finds the ledger.

Threads: the supervisor's thread opens and closes a guardian.
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
_END_S: Final = 2.0
#: A line on standard input ends the shell; the end of the input makes it the program of "$@".
_WAIT: Final = "trap '' INT TERM HUP; read -r _ || exec \"$@\""
#: The pipes to guardians; a fork of this process must not hold them open.
_PIPES: Final[set[int]] = set()


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


class Guardian:
    """The guardian of this process' analyses, and its ledger.

    Args:
        folder: The folder of the ledger; None: :func:`ledger_folder`.

    Attributes:
        mark: The environment of every analysis holds this mark, a dot and a number.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.mark = secrets.token_hex(12)
        self._folder = folder
        self._ledger: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """The guardian's process; None: there is none."""
        return self._process.pid if self._process is not None else None

    def open(self) -> None:
        """Write the ledger and start the guardian; a failure is logged."""
        own = os.getpid()
        owner = Owner(boot_id(), os.uname().nodename or "-", own, start_time(own) or 0, self.mark)
        try:
            ledger = (self._folder or ledger_folder()) / f"{own}-{self.mark}{_SUFFIX}"
            descriptor = open_new_private(ledger, os.O_WRONLY, share=False)
            self._ledger = ledger
            with open(descriptor, "w", encoding="utf-8") as file:
                file.write(owner.line())
            program = [sys.executable, "-I", "-S", leftovers.__file__, str(ledger)]
            self._process = subprocess.Popen(  # noqa: S603 - our own module
                ["/bin/sh", "-c", _WAIT, "taskgrove-guardian", *program],
                bufsize=0,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C in a terminal is not for it
                cwd="/",
            )
        except OSError as exc:
            _LOGGER.warning(
                "analyses would outlive this process if it were killed: no guardian: %s", exc
            )
            return
        assert self._process.stdin is not None
        _PIPES.add(self._process.stdin.fileno())

    def close(self) -> None:
        """End the guardian and remove the ledger; all analyses have ended."""
        process, self._process = self._process, None
        if process is not None:
            assert process.stdin is not None
            _PIPES.discard(process.stdin.fileno())
            with suppress(OSError):  # it has been killed
                process.stdin.write(b"\n")
            process.stdin.close()
            try:
                process.wait(_END_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if self._ledger is not None:
            self._ledger.unlink(missing_ok=True)
            self._ledger = None


def end_all_leftovers(folder: Path | None = None) -> list[int]:
    """End the processes that killed executors of this user have left on this host.

    Returns:
        The processes that were ended.
    """
    ended: list[int] = []
    try:
        ledgers = sorted((folder or ledger_folder()).glob(f"*{_SUFFIX}"))
    except OSError as exc:
        _LOGGER.warning("processes of earlier executors are not looked for: %s", exc)
        return ended
    for ledger in ledgers:
        found = leftovers.end_leftovers(str(ledger))
        if found:
            _LOGGER.warning("ended processes that an earlier executor had left: %s", found)
        ended += found
    return ended


def _close_pipes() -> None:
    for descriptor in _PIPES:
        with suppress(OSError):
            os.close(descriptor)
    _PIPES.clear()


os.register_at_fork(after_in_child=_close_pipes)
