"""Processes of the command line that the page starts: dry runs, and runners that outlive it.

A runner is ``taskgrove run``, ``resume`` or ``recover`` in a session of its own. It reads its
argument from a file without a name, writes to a log of its own, and needs nothing of the server:
it goes on when the server or its terminal is killed. No code of a map is executed in the server.

Threads: any thread may call any method; ``_lock`` guards the processes that are known. Runners
that have ended are reaped on the thread of a loop.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final, NamedTuple

from taskgrove.errors import StoreError, TaskgroveError
from taskgrove.loops.loop import Loop
from taskgrove.private_files import make_private_folder, open_new_private

#: How long a dry run may take, in seconds, and how many are made at once.
DRY_RUN_S: Final = 120.0
_DRY_RUNS: Final = 4
#: How often it is looked whether a runner has ended, in seconds.
_LOOK_S: Final = 0.2
_STOP_S: Final = 5.0
#: So many logs are kept, the newest.
_LOGS: Final = 500
#: So many lines of a log are told, from its end, and so many bytes of it are read.
_LINES: Final = 60
_TAIL_BYTES: Final = 64 * 1024
#: Where a document may begin: it is indented, so no part of one begins so.
_BEGINS: Final = re.compile(r"^\{$", re.MULTILINE)
_DECODER: Final = json.JSONDecoder()
#: Settings of the server that would change the words of a runner.
_NOT_FOR_RUNNERS: Final = ("TASKGROVE_DEBUG", "FORCE_COLOR", "TTY_COMPATIBLE")


class RunnerError(TaskgroveError):
    """A dry run was refused, or a runner cannot be started.

    Attributes:
        facts: The error as plain data: ``error``, ``code``, ``lines`` and more.
    """

    code = "runner"

    def __init__(self, facts: dict[str, Any]) -> None:
        super().__init__(str(facts.get("error", "")), hint=facts.get("hint"))
        self.facts = facts


class Dried(NamedTuple):
    """The answer of a dry run.

    Attributes:
        data: The document that it wrote.
        said: What it said besides, as lines.
    """

    data: dict[str, Any]
    said: list[str]


class _StartedRunner(subprocess.Popen[bytes]):
    """A process that may outlive this one on purpose, which Popen would warn of."""

    def __del__(self) -> None:
        """Leave the process alone."""


@dataclass(slots=True)
class _Runner:
    process: _StartedRunner
    exit_code: int | None = None


class RunnerProcesses:
    """Starts processes of the command line, and knows those that it started.

    Args:
        folder: Where the logs are; it is made, private to the user.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._loop = Loop("taskgrove-page-runners")
        self._lock = threading.Lock()
        self._slots = threading.BoundedSemaphore(_DRY_RUNS)
        self._runners: dict[str, _Runner] = {}
        self._drying: set[_StartedRunner] = set()
        self._is_looking = False
        self._is_closed = False

    def dry_run(self, words: Sequence[str], given: bytes = b"") -> Dried:
        """Run a command line that starts nothing to its end, and return what it wrote.

        Args:
            words: The words behind ``taskgrove``; the last result is one JSON document.
            given: Its standard input.

        Raises:
            RunnerError: It refused, or took too long.
        """
        if not self._slots.acquire(blocking=False):  # reading must not wait for them
            words = f"{_DRY_RUNS} dry runs are under way already; try again in a moment"
            raise RunnerError({"error": words, "code": "busy"})
        try:
            code, output, words_said = self._dried(words, given)
        finally:
            self._slots.release()
        said = words_said.decode("utf-8", "replace").splitlines()
        data = _document(output)
        if code == 0 and data is not None:
            return Dried(data, said)
        told = data or {"error": said[0] if said else "the dry run ended without words"}
        raise RunnerError({"code": "runner", "lines": said, **told, "exit_code": code})

    def _dried(self, words: Sequence[str], given: bytes) -> tuple[int, bytes, bytes]:
        """Return the exit code of a dry run, and what it wrote."""
        process = _started(words, subprocess.PIPE, subprocess.PIPE, subprocess.PIPE)
        with self._lock:
            self._drying.add(process)
            if self._is_closed:
                process.kill()
        try:
            output, said = process.communicate(given, DRY_RUN_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            told = f"the dry run took longer than {DRY_RUN_S:g} s"
            raise RunnerError({"error": told, "code": "too-slow"}) from None
        finally:
            with self._lock:
                self._drying.discard(process)
        return process.returncode, output, said

    def start(self, run_id: str, words: Sequence[str], given: bytes = b"") -> bool:
        """Start a runner; False: one was started for this run already.

        Args:
            run_id: The run that it makes or goes on with.
            words: The words behind ``taskgrove``.
            given: Its standard input.

        Raises:
            StoreError: Its log cannot be made.
            RunnerError: The system starts no process.
        """
        try:
            make_private_folder(self._folder, share=False)
            log = open_new_private(self._log(run_id), os.O_WRONLY | os.O_APPEND, share=False)
        except FileExistsError:
            return False
        except OSError as exc:
            raise StoreError(
                f"the log of the run cannot be made in {self._folder}: {exc.strerror or exc}"
            ) from exc
        try:
            with tempfile.TemporaryFile() as file:  # no other process sees it, whatever happens
                file.write(given)
                file.seek(0)
                process = _started(words, file, log, log)
        except OSError as exc:
            self._log(run_id).unlink(missing_ok=True)
            raise RunnerError(
                {"error": f"no process can be started: {exc.strerror or exc}", "code": "runner"}
            ) from exc
        finally:
            os.close(log)
        with self._lock:
            self._runners[run_id] = _Runner(process)
            while len(self._runners) > _LOGS:
                self._runners.pop(next(iter(self._runners)))
            begins = not self._is_looking
            self._is_looking = True
        if begins:
            self._loop.post(self._look)
        self._prune()
        return True

    def knows(self, run_id: str) -> bool:
        """Return whether a runner was started for a run, also by an earlier server."""
        return self._log(run_id).exists()

    def exit_code(self, run_id: str) -> int | None:
        """Return the exit code of a runner; None: it runs, or an earlier server started it."""
        with self._lock:
            runner = self._runners.get(run_id)
            return None if runner is None else _ended(runner)

    def is_running(self, run_id: str) -> bool:
        """Return whether a runner that this server started still runs."""
        with self._lock:
            runner = self._runners.get(run_id)
            return runner is not None and _ended(runner) is None

    def log_lines(self, run_id: str) -> list[str]:
        """Return the last lines that a runner said; none where there is no log."""
        try:
            with self._log(run_id).open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - _TAIL_BYTES))
                text = file.read().decode("utf-8", "replace")
        except OSError:
            return []
        return list(deque(text.splitlines(), _LINES))

    def close(self) -> None:
        """Forget the runners, which go on, and end the dry runs."""
        with self._lock:
            self._is_closed = True
            drying = list(self._drying)
        for process in drying:
            process.kill()
        self._loop.stop(_STOP_S)

    # -- the loop's thread ----------------------------------------------------------------------

    def _look(self) -> None:
        """Reap what has ended, as long as something runs."""
        with self._lock:
            left = [runner for runner in self._runners.values() if _ended(runner) is None]
            self._is_looking = bool(left) and not self._is_closed
            if self._is_looking:
                self._loop.after(_LOOK_S, self._look)

    # -- files ----------------------------------------------------------------------------------

    def _log(self, run_id: str) -> Path:
        return self._folder / f"{run_id}.log"

    def _prune(self) -> None:
        logs = sorted(self._folder.glob("*.log"))  # ids sort as the runs began
        for file in logs[:-_LOGS]:
            if not self.is_running(file.stem):
                with suppress(OSError):
                    file.unlink()


def _ended(runner: _Runner) -> int | None:
    if runner.exit_code is None:
        runner.exit_code = runner.process.poll()
    return runner.exit_code


def _started(
    words: Sequence[str], stdin: int | IO[bytes], stdout: int, stderr: int
) -> _StartedRunner:
    """Start a command line in a session of its own.

    Raises:
        OSError: The system starts no process.
    """
    environment = {
        name: value for name, value in os.environ.items() if name not in _NOT_FOR_RUNNERS
    }
    here = os.getcwd()
    is_here = any(place in ("", here) for place in sys.path)  # else no module of this folder
    return _StartedRunner(
        [sys.executable, *(() if is_here else ("-P",)), "-m", "taskgrove", *words],
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        env=environment,
        start_new_session=True,
    )


def _document(output: bytes) -> dict[str, Any] | None:
    """Return the document in an output; modules of an operator may print before and after it."""
    text = output.decode("utf-8", "replace")
    for begin in _BEGINS.finditer(text):
        with suppress(ValueError, RecursionError):
            found, _ = _DECODER.raw_decode(text, begin.start())
            return found if isinstance(found, dict) else None
    return None
