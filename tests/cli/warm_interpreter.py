"""A Python that has imported taskgrove, and forks a process for each command line.

A command line that starts from nothing spends most of its time with imports. Here each one is
still a process of its own: its working directory, environment, descriptors, signals and exit are
its own, and nothing that it does can reach the next. What decides how an interpreter starts (its
flags, its encoding) is the same for all: whoever tests that starts a fresh one.

The orders come as lines of JSON. The answers are two lines: the process id, once the child holds
its descriptors, and the exit code. The child ends as every program does: it waits for threads,
runs ``atexit``, and tells a traceback. Only the modules of one that has done its work are not
taken apart: that would take ten times as long as the fork.

A process that a test starts, and goes on beside, is forked twice: the process between ends at
once, and the system makes the test its parent. The second answer then tells only that.
"""

from __future__ import annotations

import atexit
import ctypes
import fcntl
import gc
import importlib
import json
import os
import runpy
import selectors
import signal
import subprocess
import sys
import tempfile
import termios
import threading
import time
from pathlib import Path
from typing import Any

from taskgrove.store import Store
from tests.leak_guard import SHARED_PROCESSES
from tests.store.ready_tables import use_ready_tables

#: What verbs import when they need it, and no import of which has an effect of its own.
_PRELOADED = (
    *(f"taskgrove.cli.{name}" for name in ("app", "compose", "demo", "doctor", "recover")),
    *(f"taskgrove.cli.{name}" for name in ("resume", "run", "runs_list", "runs_show", "why")),
    *(f"taskgrove.cli.{name}" for name in ("notifier", "steering_verbs", "watch")),
    "taskgrove.analysis.configuration",
    "taskgrove.steering.asking",
    "taskgrove.store.recorder",
    "taskgrove.recovery.lost_run_recovery",
    "taskgrove.recovery.resuming",
    "taskgrove.store.history",
    "taskgrove.store.queries.estimate",
    "taskgrove.store.record_desk",
    "alembic.command",
    "platformdirs",
    "psutil",
    "rich.live",
    "sqlalchemy.dialects.sqlite",
)
#: Of ``prctl``: orphans among the descendants become children of this process.
_SET_CHILD_SUBREAPER = 36
#: So much input a pipe holds before anybody reads it, in bytes.
PIPE_HOLDS = 65536


class WarmInterpreter:
    """Runs command lines, one at a time.

    Args:
        folder: That of ``tests``, for the server; each command line has its own.
        env: Its environment; likewise.
    """

    def __init__(self, folder: Path, env: dict[str, str]) -> None:
        self._starts_with = _heeded_at_start(env)
        self._busy = threading.Lock()
        self._server = subprocess.Popen(
            [sys.executable, "-m", __name__],
            cwd=folder,
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._orders, self._answers = self._server.stdin, self._server.stdout
        SHARED_PROCESSES.add(self._server.pid)

    def run(
        self,
        arguments: tuple[str, ...],
        cwd: Path,
        env: dict[str, str],
        given: bytes | None,
        limit_s: float,
    ) -> tuple[int, bytes, bytes] | None:
        """Run ``python -m taskgrove`` to its end, and until nobody holds its output.

        Args:
            arguments: The words behind it.
            cwd: Where.
            env: The whole environment.
            given: Its standard input; None is that of this process.
            limit_s: A guard against hangs, in seconds.

        Returns:
            The exit code (negative: by a signal), output and errors; None when only a fresh
            interpreter can do this: another command line runs, or it would start differently.

        Raises:
            subprocess.TimeoutExpired: It did not end; it was killed.
        """
        if _heeded_at_start(env) != self._starts_with or len(given or b"") > PIPE_HOLDS:
            return None
        if not self._busy.acquire(blocking=False):
            return None
        try:
            return self._run(arguments, cwd, env, given, limit_s)
        finally:
            self._busy.release()

    def _run(
        self,
        arguments: tuple[str, ...],
        cwd: Path,
        env: dict[str, str],
        given: bytes | None,
        limit_s: float,
    ) -> tuple[int, bytes, bytes]:
        stdin = 0
        if given is not None:
            stdin, feed = os.pipe()
            os.write(feed, given)
            os.close(feed)
        ours, theirs = zip(os.pipe(), os.pipe(), strict=True)
        pid = self._order(arguments, cwd, env, (stdin, *theirs))
        for descriptor in theirs if given is None else (stdin, *theirs):
            os.close(descriptor)
        try:
            output = _read_to_end(ours, limit_s)
        except TimeoutError:
            os.kill(pid, signal.SIGKILL)
            self._answers.readline()
            raise subprocess.TimeoutExpired(["taskgrove", *arguments], limit_s) from None
        finally:
            for descriptor in ours:
                os.close(descriptor)
        return int(self._answers.readline()), *output

    def start(
        self,
        arguments: tuple[str, ...],
        cwd: Path,
        env: dict[str, str],
        descriptors: tuple[int, int, int],
        ignoring: tuple[int, ...] | None = None,
        module: str = "taskgrove",
    ) -> int | None:
        """Start ``python -m taskgrove`` as a child of this process, which waits for it.

        Args:
            arguments: The words behind it.
            cwd: Where.
            env: The whole environment.
            descriptors: Those of this process that are its standard input, output and errors.
            ignoring: None without a terminal; otherwise the descriptors are a terminal that
                becomes its own, and these signals are ignored.
            module: Another module to run.

        Returns:
            Its process id; None as of ``run``.
        """
        if _heeded_at_start(env) != self._starts_with or not self._busy.acquire(blocking=False):
            return None
        prctl = ctypes.CDLL(None, use_errno=True).prctl
        try:
            assert prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
            more = {"beside": True, "ignoring": ignoring, "module": module}
            pid = self._order(arguments, cwd, env, descriptors, **more)
            self._answers.readline()
            return pid
        finally:
            prctl(_SET_CHILD_SUBREAPER, 0, 0, 0, 0)
            self._busy.release()

    def _order(
        self,
        arguments: tuple[str, ...],
        cwd: Path,
        env: dict[str, str],
        descriptors: tuple[int, ...],
        **more: Any,
    ) -> int:
        order = {
            "arguments": arguments,
            "cwd": str(cwd),
            "env": env,
            "umask": _umask(),
            "descriptors": descriptors,
            **more,
        }
        self._orders.write(json.dumps(order).encode() + b"\n")
        self._orders.flush()
        return int(self._answers.readline())

    def close(self) -> None:
        """End the server."""
        SHARED_PROCESSES.discard(self._server.pid)
        self._orders.close()
        self._server.wait()
        self._answers.close()


def _heeded_at_start(env: dict[str, str]) -> dict[str, str]:
    return {name: env[name] for name in env if name.startswith(("PYTHON", "LC_", "LANG"))}


def _umask() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("Umask:")).split()[1], 8)


def _read_to_end(descriptors: tuple[int, ...], limit_s: float) -> list[bytes]:
    deadline = time.monotonic() + limit_s
    read: dict[int, list[bytes]] = {descriptor: [] for descriptor in descriptors}
    with selectors.DefaultSelector() as open_ones:
        for descriptor in descriptors:
            open_ones.register(descriptor, selectors.EVENT_READ)
        while open_ones.get_map():
            ready = open_ones.select(max(0.0, deadline - time.monotonic()))
            if not ready:
                raise TimeoutError
            for key, _ in ready:
                data = os.read(key.fd, 65536)
                read[key.fd].append(data)
                if not data:
                    open_ones.unregister(key.fd)
    return [b"".join(parts) for parts in read.values()]


def _serve() -> str:
    """Fork a process for each order; return in a child the module that it is to run."""
    # Read and written without Python's own streams, which are the child's.
    unread = b""
    while True:
        while b"\n" not in unread:
            data = os.read(0, 65536)
            if not data:
                os._exit(0)
            unread += data
        line, _, unread = unread.partition(b"\n")
        order = json.loads(line)
        ignoring = order.get("ignoring")
        modes = (os.O_RDONLY, os.O_WRONLY, os.O_WRONLY)
        if ignoring is not None:
            modes = (os.O_RDWR | os.O_NOCTTY,) * 3
        descriptors = [
            os.open(f"/proc/{os.getppid()}/fd/{number}", mode)
            for number, mode in zip(order["descriptors"], modes, strict=True)
        ]
        pid = os.fork()
        if pid == 0 and order.get("beside"):
            between = os.getpid()
            if (child := os.fork()) != 0:
                os.write(1, f"{child}\n".encode())
                os._exit(0)
            while os.getppid() == between:
                time.sleep(0.001)
        if pid == 0:
            for number, descriptor in enumerate(descriptors):
                os.dup2(descriptor, number)
        for descriptor in descriptors:
            os.close(descriptor)
        if pid == 0:
            break
        if not order.get("beside"):
            os.write(1, f"{pid}\n".encode())
        _, status = os.waitpid(pid, 0)
        os.write(1, f"{os.waitstatus_to_exitcode(status)}\n".encode())
    if ignoring is not None:
        os.setsid()
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        for number in ignoring:
            signal.signal(number, signal.SIG_IGN)
    os.chdir(order["cwd"])
    os.umask(order["umask"])
    os.environ.clear()
    os.environ.update(order["env"])
    tempfile.tempdir = None  # that of the order's environment
    time.tzset()
    sys.argv[1:] = order["arguments"]
    sys.path[0] = order["cwd"]  # as `python -m` does
    importlib.invalidate_caches()
    return str(order.get("module", "taskgrove"))


def _prepare_new_records() -> None:
    """Make a record once, so that no child needs Alembic for one."""
    use_ready_tables()
    with tempfile.TemporaryDirectory(prefix="taskgrove-tests-") as folder:
        Store.open(Path(folder) / "runs.db").close()


def _end(code: object) -> None:
    """End this child at once, where nothing but its memory is left; otherwise return."""
    if not isinstance(code, int | None) or "tango" in sys.modules:  # which ends its own threads
        return
    try:
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
    except (OSError, ValueError, KeyboardInterrupt):  # Python tells of it
        return
    os._exit((code or 0) & 0xFF)


if __name__ == "__main__":
    for _module in _PRELOADED:
        importlib.import_module(_module)
    _prepare_new_records()
    gc.collect()
    gc.freeze()  # or the collector would copy every page of every child
    _ordered = _serve()
    try:
        runpy.run_module(_ordered, run_name="__main__", alter_sys=True)
    except SystemExit as _exit:
        _end(_exit.code)
        raise
    _end(None)
