"""Running the command line as a user does: as a process of its own."""

from __future__ import annotations

import atexit
import functools
import inspect
import os
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.cli.warm_interpreter import WarmInterpreter

ROOT = Path(__file__).resolve().parents[2]
#: A guard against hangs, in seconds; nothing is measured with it.
PATIENCE_S = 200

#: A component manager for maps of internal steps.
MANAGER = """
import time
from pathlib import Path


class Manager:
    def well(self):
        return 0, "fine"

    def badly(self):
        return 3, "no [red]lock[/red] \\x1b[31m here"

    def refuses(self):
        from taskgrove import TaskStatus

        return TaskStatus.REJECTED, "queue is full"

    def until_aborted(self, task_callback=None, task_abort_event=None):
        task_callback(progress=10)
        Path("begun").touch()
        task_abort_event.wait()
        return 7, "stopped"

    def deaf(self):
        Path("begun").touch()
        time.sleep(600)
"""

MAP = """
good:
  type: sequential
  tasks:
    first: {handler: internal, command_name: well}
    second: {handler: internal, command_name: well}
bad:
  type: sequential
  skip_subtasks: true
  tasks:
    first: {handler: internal, command_name: badly}
    second: {handler: internal, command_name: well}
half:
  type: parallel
  rule: {quorum: 1}
  tasks:
    first: {handler: internal, command_name: badly}
    second: {handler: internal, command_name: well}
refused:
  type: sequential
  skip_subtasks: true
  tasks:
    first: {handler: internal, command_name: refuses}
    second: {handler: internal, command_name: well}
guarded:
  type: sequential
  allowed_states: {attr_name: obsState, attr_value: [IDLE]}
  tasks:
    first: {handler: internal, command_name: well}
long:
  type: parallel
  tasks:
    listens: {handler: internal, command_name: until_aborted}
deaf:
  type: parallel
  tasks:
    never: {handler: internal, command_name: deaf, timeout: 500}
"""


def environment(**changes: str) -> dict[str, str]:
    """Return an environment in which ``taskgrove`` is found and nothing else steers it."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("TASKGROVE_", "LC_", "LANG", "PYTHON")) and name != "TANGO_HOST"
    }
    kept |= {"PYTHONPATH": str(ROOT / "src"), "PYTHONUTF8": "1", "COLUMNS": "80"}
    return kept | changes


def command(*arguments: str) -> list[str]:
    """Return the words of a command line."""
    return [sys.executable, "-m", "taskgrove", *arguments]


def taskgrove(
    *arguments: str,
    cwd: Path,
    env: dict[str, str] | None = None,
    input: str | None = None,  # noqa: A002 - as subprocess names it
    fresh: bool = False,
) -> subprocess.CompletedProcess[str]:
    """Run the command line to its end and return what it said and its exit code.

    Args:
        *arguments: The words behind ``taskgrove``.
        cwd: Where.
        env: The whole environment; None is ``environment()``.
        input: What it reads from its standard input; None is that of the tests.
        fresh: In an interpreter of its own, where the start of one matters; otherwise the
            process is forked from one that has imported what every command line imports.
    """
    env = environment() if env is None else env
    given = None if input is None else input.encode()
    done = None
    if not fresh:
        done = _warm().run(arguments, cwd.absolute(), env, given, PATIENCE_S)
    if done is None:
        process = subprocess.run(
            command(*arguments),
            cwd=cwd,
            env=env,
            input=given,
            capture_output=True,
            timeout=PATIENCE_S,
            check=False,
        )
        done = process.returncode, process.stdout, process.stderr
    code, output, errors = done
    said = (_text(data) for data in (output, errors))
    return subprocess.CompletedProcess(command(*arguments), code, *said)


def _text(data: bytes) -> str:
    return data.decode().replace("\r\n", "\n")


@functools.cache
def _warm() -> WarmInterpreter:
    interpreter = WarmInterpreter(ROOT, environment())
    atexit.register(interpreter.close)
    return interpreter


class Started(subprocess.Popen[str]):
    """A process that ends with the test that started it, also where that fails."""

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if exc_type is not None:
            self.kill()
        super().__exit__(exc_type, value, traceback)


class Forked(Started):
    """A command line that the warm interpreter forks, when it can.

    Args:
        words: Those of ``command``, or of another module in place of ``taskgrove``.
        ignoring: As of ``WarmInterpreter.start``.
        **options: As of a process, its environment and folder among them.
    """

    def __init__(
        self, words: list[str], *, ignoring: tuple[int, ...] | None = None, **options: Any
    ) -> None:
        self._ignoring = ignoring
        super().__init__(words, **options)

    def _execute_child(self, *given: Any) -> None:
        # In place of fork and exec; everything else is as of any other process.
        start_child = subprocess.Popen._execute_child  # type: ignore[attr-defined]
        named = inspect.signature(start_child).bind(self, *given).arguments
        ends = [named[end] for end in ("p2cread", "c2pwrite", "errwrite")]
        standard = tuple(number if end == -1 else int(end) for number, end in enumerate(ends))
        place = Path(named["cwd"]).absolute()
        python, _, module, *words = named["args"]
        assert python == sys.executable
        pid = _warm().start(tuple(words), place, named["env"], standard, self._ignoring, module)
        if pid is None:
            assert self._ignoring is None, "the interpreter is busy, and has the terminals"
            start_child(self, *given)
            return
        self.pid, self._child_created = pid, True
        pipes = ("p2cread", "p2cwrite", "c2pread", "c2pwrite", "errread", "errwrite")
        self._close_pipe_fds(*(named[pipe] for pipe in pipes))  # type: ignore[attr-defined]


def start(
    *arguments: str,
    cwd: Path,
    env: dict[str, str] | None = None,
    fresh: bool = False,
    **options: Any,
) -> Started:
    """Start the command line; the caller waits for it, as its context or by itself.

    Args:
        *arguments: As of ``taskgrove``, and so are the next three.
        cwd: Where.
        env: The whole environment.
        fresh: In an interpreter of its own.
        **options: More of a process; any but ``stdin`` needs an interpreter of its own, too.
    """
    kind = Started if fresh or set(options) - {"stdin"} else Forked
    return kind(
        command(*arguments),
        cwd=cwd,
        env=env or environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        **options,
    )


def begun(place: Path, name: str = "begun") -> None:
    """Wait until a step of a manager has begun, which makes a file of this name.

    The words of its run come before that.
    """
    deadline = time.monotonic() + PATIENCE_S
    while not (place / name).exists():
        assert time.monotonic() < deadline, "no step has begun"
        time.sleep(0.01)


def read_until(stream: Any, word: str) -> str:
    """Read lines until one holds ``word``; return what was read."""
    read = ""
    for line in stream:
        read += line
        if word in line:
            return read
    raise AssertionError(f"{word!r} never came; there was: {read}")
