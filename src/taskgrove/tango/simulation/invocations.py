"""The invocations of simulated devices: each call of a command, its beginning and its end.

A device keeps its newest invocations for the attribute ``invocations``, and appends each change
of one to a file where the simulator was given one. Each line of the file is the whole invocation
as it is known then, as JSON: the first when the command is called, one when it begins to run, one
when it ends. A line is one write in append mode, so that several servers share a file, and what is
written outlives a server that is killed. The last line about an invocation counts.

Threads: any thread may call a :class:`DeviceInvocations`; ``_lock`` guards the invocations and
the order of the lines, and is held while a line is written.
"""

from __future__ import annotations

import hashlib
import logging
import os
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import msgspec

from taskgrove.control_model import ResultCode, TaskStatus
from taskgrove.errors import UsageError
from taskgrove.private_files import make_private_file
from taskgrove.redaction import Redaction
from taskgrove.tango.server.dialect import UNSET, RawText, json_of
from taskgrove.tango.server.job import Job

_LOGGER = logging.getLogger(__name__)

#: How many invocations the attribute of a device holds.
MAX_SHOWN: Final = 200
#: The most characters of an argument and of a message.
_SHORT: Final = 200
#: Commands that run beside others: they abort them.
_ABORTING: Final = frozenset({"Abort", "AbortCommands"})


class Invocation(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One call of a command of a simulated device.

    Attributes:
        device: The device.
        command: The command.
        server: A word that is another one for each server process.
        number: Counts the invocations of the device in this process, from 1.
        called_ns: When it was called, UTC, nanoseconds since the epoch; so are the other instants.
        id: The id of the long-running command; None: it got none.
        argin: Its argument without secrets, short: a longer one ends in its SHA-256.
        begin_ns: When it began to run; None: it has not, or never did.
        end_ns: When it ended; None: it has not, or its server was killed.
        status: Its status by name, such as ``QUEUED`` or ``COMPLETED``.
        result_code: The code of its result by name; None: the result has none.
        message: The text of its result.
    """

    device: str
    command: str
    server: str
    number: int
    called_ns: int
    id: str | None = None
    argin: str = ""
    begin_ns: int | None = None
    end_ns: int | None = None
    status: str = ""
    result_code: str | None = None
    message: str = ""


class DeviceInvocations:
    """The invocations of one device.

    Args:
        device: The device.
        server: A word that is another one for each server process.
        file: Where each change is appended, or None.
    """

    def __init__(self, device: str, server: str, file: str | None = None) -> None:
        self._device = device
        self._server = server
        self._file = file
        self._rule = Redaction.from_environment()
        self._lock = threading.Lock()
        self._count = 0
        self._open: dict[int, tuple[Job, Invocation]] = {}
        self._shown: dict[int, Invocation] = {}

    def change(self, job: Job, status: TaskStatus, result: Any) -> None:
        """Note that a command has a new status; the first one is that of its call.

        Args:
            job: The command.
            status: Its status.
            result: The result that came with the status; UNSET: none.
        """
        now = time.time_ns()
        with self._lock:
            known = self._open.get(id(job))
            before = self._called(job, now) if known is None else known[1]
            after = msgspec.structs.replace(
                before,
                status=status.name,
                begin_ns=now if status is TaskStatus.IN_PROGRESS else before.begin_ns,
                **self._end(now, result) if status.is_final else {},
            )
            if status.is_final:
                self._open.pop(id(job), None)
            else:
                self._open[id(job)] = (job, after)
            self._shown[after.number] = after
            if len(self._shown) > MAX_SHOWN:
                del self._shown[min(self._shown)]
            if status is not TaskStatus.QUEUED:  # its call is in the file already
                self._append(after)

    def as_json(self) -> str:
        """Return the newest invocations as a list in JSON, the newest last."""
        with self._lock:
            return json_of([self._shown[number] for number in sorted(self._shown)]).decode()

    def _called(self, job: Job, now: int) -> Invocation:
        self._count += 1
        return Invocation(
            device=self._device,
            command=job.name,
            server=self._server,
            number=self._count,
            called_ns=now,
            id=job.uid or None,
            argin="" if job.argin is None else _short(self._rule.json(str(job.argin))),
        )

    def _end(self, now: int, result: Any) -> dict[str, Any]:
        """Return the fields of an end."""
        code, text = None, result
        is_pair = isinstance(result, list | tuple) and len(result) == 2
        if is_pair and result[0] in list(ResultCode):  # else it is data
            code, text = ResultCode(result[0]).name, result[1]
        if text is UNSET:
            text = ""
        elif not isinstance(text, str | RawText):
            text = json_of(text).decode()
        message = _short(self._rule.said(str(text)))
        return {"end_ns": now, "result_code": code, "message": message}

    def _append(self, invocation: Invocation) -> None:
        if self._file is None:
            return
        line = json_of(invocation) + b"\n"
        try:
            fd = os.open(self._file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                if os.write(fd, line) != len(line):
                    raise OSError(f"{self._file} took only a part of a line")
            finally:
                os.close(fd)
        except OSError:
            _LOGGER.exception("an invocation of %s is missing in the log", self._device)


def _short(text: str) -> str:
    if len(text) <= _SHORT:
        return text
    digest = hashlib.sha256(text.encode(errors="replace")).hexdigest()
    return f"{text[:_SHORT]}… sha256:{digest}"


def prepare_log(file: str | Path) -> str:
    """Make a log of invocations, unless there is one, and return its absolute path.

    Raises:
        UsageError: It cannot be written, or the file is no such log.
    """
    path = Path(file).absolute()
    try:
        make_private_file(path)
        if not path.is_file():
            raise UsageError(f"{file} is no ordinary file", hint="name another file for the log")
        with path.open("rb+") as opened:
            first = opened.readline()
    except OSError as exc:
        raise UsageError(
            f"{file} cannot be written: {exc.strerror}", hint="name another file for the log"
        ) from exc
    if first and _read(first) is None:
        raise UsageError(
            f"{file} is no log of invocations, and nothing is appended to it",
            hint="name another file for the log",
        )
    return str(path)


def invocations_of(file: str | Path) -> list[Invocation]:
    """Return the invocations in a log of the simulator, in the order of their calls.

    Args:
        file: The log.

    Raises:
        OSError: It cannot be read.
        UsageError: A line is no invocation; the last one may be unfinished.
    """
    found: dict[tuple[str, str, int], Invocation] = {}
    lines = Path(file).read_bytes().split(b"\n")
    for number, line in enumerate(lines[:-1], 1):
        invocation = _read(line)
        if invocation is None:
            raise UsageError(f"{file}, line {number}: not a line of the simulator's log")
        found[invocation.device, invocation.server, invocation.number] = invocation
    return sorted(found.values(), key=lambda item: item.called_ns)


def overlapping(invocations: Iterable[Invocation]) -> list[tuple[Invocation, Invocation]]:
    """Return the pairs of which the later was called before the earlier had ended.

    Only invocations of the same device are compared. Those that were rejected, and those that
    abort others, are left out. A device whose server was killed ends its commands with the server.

    Args:
        invocations: The invocations, in the order of their calls.
    """
    pairs: list[tuple[Invocation, Invocation]] = []
    running: dict[str, list[Invocation]] = {}
    for later in invocations:
        if later.command in _ABORTING or later.status == TaskStatus.REJECTED.name:
            continue
        still = [
            earlier
            for earlier in running.get(later.device, ())
            if earlier.server == later.server
            and (earlier.end_ns is None or earlier.end_ns > later.called_ns)
        ]
        pairs += [(earlier, later) for earlier in still]
        running[later.device] = [*still, later]
    return pairs


def _read(line: bytes) -> Invocation | None:
    try:
        return msgspec.json.decode(line, type=Invocation)
    except msgspec.MsgspecError:
        return None
