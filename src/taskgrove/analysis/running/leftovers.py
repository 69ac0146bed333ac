"""The processes that a killed executor has left: found, and ended.

An executor that is killed (``kill -9``) can end nothing itself. Its guardian
(:mod:`taskgrove.analysis.running.guardian`) then runs this module as a program; if the guardian
was killed too, the next executor on the host does the same. A process is found

- if its environment holds the executor's mark, which every descendant of an analysis inherits,
  also one that has detached itself;
- or if it bears the mark as its limit of file locks, which a process keeps when it wipes its
  environment, closes its files and leaves its session.

That limit (``RLIMIT_LOCKS``) limits nothing: the kernel has not read it since Linux 2.4.25. Only
the soft limit is set, so nothing is taken from a process for good. Nobody else has its value by
chance: 40 of its bits are random. Not found is a process that somebody else started on request
(a daemon, a scheduler, another host), and a process that sets this limit anew *and* wipes its
environment.

Only the standard library is used, so the program starts quickly.
"""

from __future__ import annotations

import os
import resource
import select
import signal
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Final, NamedTuple

#: Environment variable of every process of an analysis: the executor's mark and a number.
MARK_VARIABLE: Final = "TASKGROVE_ANALYSIS"
#: How long what was left may take to end after SIGTERM, in seconds.
GRACE_S: Final = 2.0
_FIRST_WORD: Final = "taskgrove-ledger-1"
#: The number of ``RLIMIT_LOCKS``, which Python does not name.
_LIMIT_OF_LOCKS: Final = 10
_ANALYSIS_BITS: Final = 20
_MARK_DIGITS: Final = 10
_PAUSE_S: Final = 0.02


class Owner(NamedTuple):
    """The executor that a ledger belongs to.

    Attributes:
        boot_id: The boot of the host.
        host: The host's name.
        pid: The executor's process.
        start: The start time of that process, in clock ticks since the boot.
        mark: The environment of its analyses holds this mark.
    """

    boot_id: str
    host: str
    pid: int
    start: int
    mark: str

    def line(self) -> str:
        """Return the first line of the ledger."""
        words = (self.boot_id, self.host, str(self.pid), str(self.start), self.mark)
        return f"{_FIRST_WORD} {' '.join(words)}\n"


def boot_id() -> str:
    """Return the id of the host's current boot."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return "unknown"


def start_time(pid: int) -> int | None:
    """Return the start time of a process in clock ticks since the boot; None: it has ended.

    A zombie has ended.
    """
    fields = stat_fields(pid)
    return None if fields is None or fields[0] in {b"Z", b"X"} else int(fields[19])


def stat_fields(pid: int) -> list[bytes] | None:
    """Return what the kernel tells of a process from its state on, or None: there is none."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            text = file.read()
    except OSError:
        return None
    return text[text.rindex(b")") + 2 :].split()


def processes() -> Iterator[int]:
    """Yield the pids of all processes that can be seen."""
    for name in os.listdir("/proc"):
        if name.isdecimal():
            yield int(name)


def is_marked(pid: int, mark: bytes) -> bool:
    """Return whether a process' environment holds ``mark`` (``NAME=value``, or its beginning)."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            environment = file.read()
    except OSError:
        return False
    return environment.startswith(mark) or b"\0" + mark in environment


def mark_limit(pid: int, mark: str) -> None:
    """Have a process, and all that it starts from now on, bear a mark as a limit.

    Nothing happens where that is not possible: the process has ended, or is another user's.

    Args:
        pid: The process.
        mark: The mark of the executor in hex digits, a dot, and the number of the analysis.
    """
    executor, number = _numbers_of(mark)
    value = executor << _ANALYSIS_BITS | (number or 0)
    with suppress(OSError, ValueError):
        _, hard = resource.prlimit(pid, _LIMIT_OF_LOCKS)
        resource.prlimit(pid, _LIMIT_OF_LOCKS, (value, hard))


def _numbers_of(mark: str) -> tuple[int, int | None]:
    """Return the number of an executor's mark, and that of its analysis if it has one."""
    executor, _, number = mark.rstrip("\0").partition(".")
    try:
        upper = int(executor[:_MARK_DIGITS], 16) | 1 << 4 * _MARK_DIGITS
        return upper, int(number) % (1 << _ANALYSIS_BITS) if number else None
    except ValueError:  # another version's mark
        return -2, None


def _bears_limit(pid: int, executor: int, number: int | None) -> bool:
    try:
        value = resource.prlimit(pid, _LIMIT_OF_LOCKS)[0]
    except OSError:
        return False
    if number is None:
        return value >> _ANALYSIS_BITS == executor
    return value == executor << _ANALYSIS_BITS | number


def cgroup_of(pid: int | str) -> bytes:
    """Return the control groups of a process; empty where that cannot be told."""
    try:
        with open(f"/proc/{pid}/cgroup", "rb") as file:
            return file.read()
    except OSError:
        return b""


def marked_processes(mark: str, pids: Iterable[int] | None = None) -> list[int]:
    """Return the running processes that hold a mark and belong to our control group.

    A batch job that an analysis has submitted inherits its environment, too, but is no part
    of it: the batch system runs it in a control group of its own.

    Args:
        mark: The value of :data:`MARK_VARIABLE`, or the beginning of it.
        pids: Where to look; None: at all processes.
    """
    wanted = f"{MARK_VARIABLE}={mark}".encode()
    numbers = _numbers_of(mark)
    own = os.getpid()
    found = [
        pid
        for pid in (processes() if pids is None else pids)
        if pid != own
        and (_bears_limit(pid, *numbers) or is_marked(pid, wanted))
        and start_time(pid) is not None
    ]
    if not found:
        return []
    ours = cgroup_of("self")
    return [pid for pid in found if cgroup_of(pid) == ours]


def read_ledger(path: str) -> Owner | None:
    """Return the owner of a ledger; None: the file is no ledger, or is gone."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            words = file.readline().split()
    except OSError:
        return None
    if len(words) != 6 or words[0] != _FIRST_WORD or not (words[3] + words[4]).isdecimal():
        return None
    return Owner(words[1], words[2], int(words[3]), int(words[4]), words[5])


def end_leftovers(path: str, *, grace_s: float = GRACE_S) -> list[int]:
    """End the processes of an executor that is gone, and remove its ledger.

    Args:
        path: The ledger.
        grace_s: How long the processes may take to end after SIGTERM, in seconds.

    Returns:
        The processes that were ended.
    """
    owner = read_ledger(path)
    if owner is None:
        return []
    if owner.boot_id != boot_id():
        if owner.host == os.uname().nodename:  # its processes ended with that boot
            _remove(path)
        return []
    if start_time(owner.pid) == owner.start:
        return []
    mark = f"{owner.mark}."
    left = ended = marked_processes(mark)
    _signal(left, signal.SIGTERM, signal.SIGCONT)
    for number in (None, signal.SIGKILL):
        deadline = time.monotonic() + grace_s
        while left and time.monotonic() < deadline:
            if number is not None:
                _signal(left, number)
            time.sleep(_PAUSE_S)
            left = marked_processes(mark)
    _remove(path)
    return sorted(ended)


def _signal(pids: Iterable[int], *numbers: int) -> None:
    for pid in pids:
        for number in numbers:
            with suppress(OSError):  # it has ended in the meantime
                if os.getpgid(pid) == pid:
                    os.killpg(pid, number)
                else:
                    os.kill(pid, number)


def _remove(path: str) -> None:
    with suppress(OSError):  # the other one that looks has removed it
        os.unlink(path)


def main(arguments: list[str]) -> int:
    """Be the guardian whose pipe has ended: ``leftovers.py LEDGER``."""
    owner = read_ledger(arguments[0])
    if owner is None:
        return 0
    if start_time(owner.pid) == owner.start:  # it closes its files before it has ended
        with suppress(ProcessLookupError):
            select.select([os.pidfd_open(owner.pid)], [], [])
    end_leftovers(arguments[0])
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
