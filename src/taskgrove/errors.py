"""The errors of taskgrove, in one tree.

A task that fails is an *outcome*, not an exception: it is raised only where a
caller asks for it (:class:`RunError`, from ``handle.result()``). Every other
class here tells of misuse, bad input or a missing part::

    TaskgroveError
    ├── UsageError (ValueError)            the library was called wrongly
    │   └── SelfWaitError (RuntimeError)   a callback or step waits for its own end
    ├── CommandError (ValueError)          a command was refused before anything ran
    ├── MapError (ValueError)              a command map cannot be read or is not valid
    ├── MissingExtraError (ImportError)    an optional part is not installed
    ├── MissingRunnerError (LookupError)   no runner executes this kind of leaf
    ├── ExecutorClosedError (RuntimeError) work was handed to a closed executor
    ├── WaitTimeoutError (TimeoutError)    waiting ended before the work did
    │   └── NoAnswerError                  a live run did not answer a request in time
    ├── DeviceError (ConnectionError)      a device cannot be reached or used
    ├── StoreError (OSError)               the record cannot be opened, read or written
    ├── UnknownRunError (LookupError)      the record holds no such run
    ├── AnalysisError (ValueError)         an analysis, or its configuration, cannot be used
    └── RunError                           a run ended without success
        ├── TaskFailedError
        ├── TaskRejectedError
        └── TaskAbortedError

Each error has a stable ``code`` (a word that scripts may match), the ``path``
of the node that it concerns, where there is one, and a ``hint``: the next step.
"""

from __future__ import annotations

import difflib
import errno
import os
from collections.abc import Iterable
from typing import Any, ClassVar


def nearest(name: str, allowed: Iterable[str]) -> str | None:
    """Return the allowed name most like ``name``, or None when none is near."""
    matches = difflib.get_close_matches(str(name), [str(item) for item in allowed], n=1, cutoff=0.6)
    return matches[0] if matches else None


def did_you_mean(name: str, allowed: Iterable[str], otherwise: str | None = None) -> str | None:
    """Return the hint that names the allowed name most like ``name``, or ``otherwise``."""
    near = nearest(name, allowed)
    return otherwise if near is None else f"did you mean {near!r}?"


def errno_name(exc: BaseException) -> str | None:
    """Return why the system refused something (``ENOENT``), or None where it does not say."""
    number = exc.errno if isinstance(exc, OSError) else None
    return None if number is None else errno.errorcode.get(number)


class TaskgroveError(Exception):
    """The root of every error that taskgrove raises.

    Attributes:
        message: The problem in one sentence.
        path: The path of the node concerned (``configure/configure_pst``), or None.
        hint: The next step, or None.
    """

    code: ClassVar[str] = "taskgrove"

    def __init__(self, message: str, *, path: str | None = None, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.path = path
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class UsageError(TaskgroveError, ValueError):
    """The library was called with a value that it cannot accept."""

    code = "usage"


class CommandError(TaskgroveError, ValueError):
    """A command was refused while it was composed; nothing was started.

    Attributes:
        command: The name of the refused command.
        result_code: The ResultCode to answer a client with, as an integer (this is the lowest
            room); REJECTED unless told otherwise.
        reasons: One line for each thing that stood in the way.
        summary: The message without the reasons.
        by_faults: Whether devices stood in the way that do not answer.
    """

    code = "command-rejected"

    def __init__(
        self,
        message: str,
        *,
        command: str | None = None,
        result_code: int = 5,
        reasons: Iterable[str] = (),
        summary: str | None = None,
        path: str | None = None,
        hint: str | None = None,
        by_faults: bool = False,
    ) -> None:
        super().__init__(message, path=path, hint=hint)
        self.command = command
        self.by_faults = by_faults
        self.result_code = int(result_code)
        self.reasons = tuple(reasons)
        self.summary = message if summary is None else summary


class MapError(TaskgroveError, ValueError):
    """A command map cannot be read or is not valid.

    Attributes:
        file: The file that was read, or None for a map given as a dict.
        map_path: The path inside the map, such as ``configure.tasks.pst.timeout``.
        line: The line in the file, counted from 1, or None.
        found: The value there.
        allowed: The allowed values.
        nearest: The name that was probably meant, or None.
        problem: The problem, without its place and the allowed values.
        problems: Every problem of the map; this error itself describes the first.
    """

    code = "map-invalid"

    def __init__(
        self,
        message: str,
        *,
        file: str | os.PathLike[str] | None = None,
        map_path: str | None = None,
        line: int | None = None,
        found: Any = None,
        allowed: Iterable[str] = (),
        nearest: str | None = None,
        problem: str | None = None,
        problems: Iterable[str] = (),
        hint: str | None = None,
    ) -> None:
        super().__init__(message, path=map_path, hint=hint)
        self.file = str(file) if file is not None else None
        self.map_path = map_path
        self.line = line
        self.found = found
        self.allowed = tuple(allowed)
        self.nearest = nearest
        self.problem = message if problem is None else problem
        self.problems = tuple(problems) or (message,)


class MissingExtraError(TaskgroveError, ImportError):
    """An optional part of taskgrove is not installed.

    Attributes:
        extra: The name of the extra, as in ``pip install 'taskgrove[tango]'``.
    """

    code = "missing-extra"

    def __init__(self, extra: str, what: str) -> None:
        super().__init__(
            f"{what} needs the extra '{extra}', which is not installed",
            hint=f"pip install 'taskgrove[{extra}]'",
        )
        self.extra = extra


class MissingRunnerError(TaskgroveError, LookupError):
    """A tree holds a kind of leaf that no runner of the executor executes."""

    code = "missing-runner"


class ExecutorClosedError(TaskgroveError, RuntimeError):
    """Work was handed to an executor after its shutdown began."""

    code = "executor-closed"


class SelfWaitError(UsageError, RuntimeError):
    """A callback or step waits for what cannot end before it goes on: it would wait for ever."""

    code = "self-wait"


class WaitTimeoutError(TaskgroveError, TimeoutError):
    """Waiting for a run ended at its limit; the run itself goes on."""

    code = "wait-timeout"


class NoAnswerError(WaitTimeoutError):
    """A live run did not answer a request of an operator in time; the request stands.

    Attributes:
        run_id: The run.
        request_id: The request.
    """

    code = "no-answer"

    def __init__(
        self, message: str, *, run_id: str, request_id: str, hint: str | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.run_id = run_id
        self.request_id = request_id


class DeviceError(TaskgroveError, ConnectionError):
    """A device cannot be reached, or does not speak the protocol.

    Attributes:
        device: The device's name.
    """

    code = "device"

    def __init__(
        self, message: str, *, device: str, path: str | None = None, hint: str | None = None
    ) -> None:
        super().__init__(message, path=path, hint=hint)
        self.device = device


class StoreError(TaskgroveError, OSError):
    """The record cannot be opened, read or written.

    Attributes:
        location: The file or the URL (without its password), as text, or None.
    """

    code = "store"

    def __init__(
        self,
        message: str,
        *,
        location: str | None = None,
        path: str | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message, path=path, hint=hint)
        self.location = location


class UnknownRunError(TaskgroveError, LookupError):
    """The record holds no run of that id, or several that begin with it."""

    code = "run-unknown"


class AnalysisError(TaskgroveError, ValueError):
    """An analysis, its parameters or its configuration cannot be used; nothing was started.

    Attributes:
        file: The file that was read, or None.
        key: The path inside it, such as ``FindPeaks.n_peaks``, or None.
        line: The line in the file, counted from 1, or None.
        problems: Every problem found; this error itself describes the first.
        nearest: The name that was probably meant, or None.
        program: The program that cannot be started, or None.
        errno_name: Why the system refuses it (``ENOENT``, ``EACCES``), or None.
    """

    code = "analysis"

    def __init__(
        self,
        message: str,
        *,
        file: str | os.PathLike[str] | None = None,
        key: str | None = None,
        line: int | None = None,
        problems: Iterable[str] = (),
        nearest: str | None = None,
        program: str | None = None,
        errno_name: str | None = None,
        path: str | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message, path=path, hint=hint)
        self.file = None if file is None else str(file)
        self.key = key
        self.line = line
        self.problems = tuple(problems)
        self.nearest = nearest
        self.program = program
        self.errno_name = errno_name


class RunError(TaskgroveError):
    """A run ended without success; raised by ``handle.result()`` only.

    Attributes:
        outcome: The AggregationOutcome of the run.
    """

    code = "run"

    def __init__(self, message: str, *, outcome: Any, path: str | None = None) -> None:
        super().__init__(message, path=path)
        self.outcome = outcome


class TaskFailedError(RunError):
    """The run ended FAILED."""

    code = "run-failed"


class TaskRejectedError(RunError):
    """The run ended REJECTED: its request was refused."""

    code = "run-rejected"


class TaskAbortedError(RunError):
    """The run ended ABORTED: an operator asked for it, or a device aborted."""

    code = "run-aborted"
