"""What is launched: everything that a supervision needs to know, and the start itself."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from taskgrove.analysis.channel.connection import (
    CHANNEL_VARIABLE,
    TOKEN_VARIABLE,
    Connection,
    Listener,
    listen,
    open_channel,
)
from taskgrove.analysis.channel.messages import Start
from taskgrove.analysis.running.leftovers import MARK_VARIABLE, stat_fields
from taskgrove.analysis.running.output import OutputBudget, OutputStream
from taskgrove.analysis.running.process import find_program, mark_members, spawn


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One analysis, ready to be launched.

    Attributes:
        analysis: Its name.
        argv: The command line, the launcher included.
        environment: The exact environment, but for what tells of the channel and the mark.
        cwd: The folder in which it runs, or None: where we are.
        mark: What its environment holds, and that of nothing else.
        start: The order for a first-party analysis; None: a third-party program.
        buffers: The buffers of the order.
        by_launcher: Whether a launcher such as ``mpirun`` starts it.
        output_stem: Files of stdout and stderr are called this with ``.out`` and ``.err``; None
            keeps nothing on disk.
        output_limit_bytes: How much of both is kept on disk.
        timeout_s: Its limit, in seconds; None: none.
        grace_s: From SIGTERM to SIGKILL, in seconds.
        heartbeat_timeout_s: How long it may be silent, in seconds; None: as long as it likes.
        poll_interval_s: Period of the reconciling poll, in seconds.
    """

    analysis: str
    argv: tuple[str, ...]
    environment: dict[str, str]
    cwd: Path | None
    mark: str
    start: Start | None
    buffers: Sequence[memoryview] = ()
    by_launcher: bool = False
    output_stem: Path | None = None
    output_limit_bytes: int = 0
    timeout_s: float | None = None
    grace_s: float = 5.0
    heartbeat_timeout_s: float | None = None
    poll_interval_s: float = 0.5


@dataclass(slots=True)
class Launched:
    """A process that runs, and our ends of what leads to it.

    Attributes:
        process: The process; nobody else may wait for it.
        pidfd: Its descriptor, or -1 where it is gone already.
        streams: stdout and stderr.
        connections: The channels to it.
        listener: Where its programs connect, or None.
        argv: The command line with which it was started.
        environment: The exact environment.
    """

    process: subprocess.Popen[bytes]
    pidfd: int
    streams: list[OutputStream]
    connections: list[Connection] = field(default_factory=list)
    listener: Listener | None = None
    argv: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def identity(self) -> str:
        """``pid:starttime`` of the process, also when it has ended and was not waited for."""
        fields = stat_fields(self.process.pid)
        return f"{self.process.pid}:{fields[19].decode() if fields else 0}"

    def discard(self) -> None:
        """Kill the process that was just started, and close everything."""
        _kill(self.process)
        if self.pidfd >= 0:
            os.close(self.pidfd)
            self.pidfd = -1
        for stream in self.streams:
            stream.close()
        for connection in self.connections:
            connection.close()
        if self.listener is not None:
            self.listener.socket.close()


class _Pieces:
    """Descriptors that belong to a launch, closed if it fails."""

    def __init__(self) -> None:
        self.ours: list[Any] = []
        self.theirs: list[Any] = []

    def pipe(self) -> tuple[int, int]:
        read, write = os.pipe2(os.O_CLOEXEC)
        self.ours.append(read)
        self.theirs.append(write)
        return read, write


def launch(plan: Plan) -> Launched:
    """Start a process as planned.

    Raises:
        AnalysisError: It cannot be started; nothing is left open.
        OSError: There are no more descriptors.
    """
    pieces = _Pieces()
    try:
        launched = _launch(plan, pieces)
    except BaseException:
        for piece in pieces.ours:
            _close(piece)
        raise
    finally:
        for piece in pieces.theirs:
            _close(piece)
    return launched


def _launch(plan: Plan, pieces: _Pieces) -> Launched:
    environment = {**plan.environment, MARK_VARIABLE: plan.mark}
    what = "launcher" if plan.by_launcher else "program"
    program = find_program(plan.argv[0], environment, plan.cwd, what=what)
    argv = (program, *plan.argv[1:])
    inherit: list[int] = []
    connections: list[Connection] = []
    listener = None
    if plan.start is not None and plan.by_launcher:
        listener = listen()
        pieces.ours.append(listener.socket)
        environment |= {CHANNEL_VARIABLE: listener.address, TOKEN_VARIABLE: listener.token}
    elif plan.start is not None:
        connection, theirs = open_channel()
        pieces.ours.append(connection)
        pieces.theirs.append(theirs)
        connection.send(plan.start, plan.buffers)
        connections.append(connection)
        inherit.append(theirs.fileno())
        environment[CHANNEL_VARIABLE] = f"fd:{theirs.fileno()}"
    (out, out_theirs), (err, err_theirs) = pieces.pipe(), pieces.pipe()
    process = spawn(
        argv,
        environment=environment,
        folder=plan.cwd,
        inherit=inherit,
        stdout=out_theirs,
        stderr=err_theirs,
    )
    try:
        mark_members(plan.mark, process.pid)
        try:
            pidfd = os.pidfd_open(process.pid)
        except ProcessLookupError:  # where SIGCHLD is ignored, the kernel reaps
            pidfd = -1
    except BaseException:
        _kill(process)
        raise
    stem = plan.output_stem
    budget = OutputBudget(plan.output_limit_bytes)
    streams = [
        OutputStream(name, descriptor, _path(stem, suffix), budget)
        for name, descriptor, suffix in (("stdout", out, ".out"), ("stderr", err, ".err"))
    ]
    return Launched(process, pidfd, streams, connections, listener, argv, environment)


def _kill(process: subprocess.Popen[bytes]) -> None:
    with suppress(OSError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _path(stem: Path | None, suffix: str) -> Path | None:
    return None if stem is None else stem.with_name(stem.name + suffix)


def _close(piece: int | socket.socket | Connection) -> None:
    with suppress(OSError):
        if isinstance(piece, int):
            os.close(piece)
        else:
            piece.close()
