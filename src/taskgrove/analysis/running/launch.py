"""What is launched: everything that a supervision needs to know, and the start itself."""

from __future__ import annotations

import errno
import os
import re
import signal
import socket
import stat
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from taskgrove.analysis.channel.channel_messages import Start
from taskgrove.analysis.channel.connection import (
    CHANNEL_VARIABLE,
    TOKEN_VARIABLE,
    Connection,
    Listener,
    listen,
    open_channel,
)
from taskgrove.analysis.running.interpreter import child_command, interpreter_of, places_for
from taskgrove.analysis.running.leftovers import MARK_VARIABLE, stat_fields
from taskgrove.analysis.running.output import OutputBudget, OutputStream
from taskgrove.analysis.running.process import find_program, mark_members, spawn
from taskgrove.analysis.running.spec import AnalysisSpec
from taskgrove.errors import AnalysisError, errno_name

#: Heartbeats in each period that an analysis may be silent.
_BEATS: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One analysis, ready to be launched.

    Attributes:
        spec: The analysis.
        mark: The environment of the process holds it, and that of nothing else.
        environment: The exact environment, but for what tells of the channel and the mark.
        cwd: The folder in which it runs, or None: where we are.
        argv: The command line, the launcher included.
        start: The order for a first-party analysis; None: a third-party program.
        buffers: The buffers of the order.
    """

    spec: AnalysisSpec
    mark: str
    environment: dict[str, str]
    cwd: Path | None
    argv: tuple[str, ...]
    start: Start | None
    buffers: Sequence[memoryview] = ()


def plan_of(spec: AnalysisSpec, mark: str, environment: dict[str, str]) -> Plan:
    """Return how an analysis is launched.

    Raises:
        AnalysisError: A parameter cannot be sent, or a template cannot be rendered.
    """
    start: Start | None = None
    buffers: Sequence[memoryview] = ()
    if spec.task is None:
        argv = _argv(spec)
    else:
        start, buffers, argv = _order(spec, spec.task, interpreter_of(spec, environment))
    return Plan(
        spec=spec,
        mark=mark,
        environment=environment,
        cwd=spec.folder,
        argv=(*spec.launcher, *argv),
        start=start,
        buffers=buffers,
    )


def _order(
    spec: AnalysisSpec, task: str, python: str | None
) -> tuple[Start, Sequence[memoryview], tuple[str, ...]]:
    from taskgrove.analysis.channel.parameter_transfer import send_parameters  # noqa: PLC0415

    plain: Any = None
    buffers: Sequence[memoryview] = ()
    if spec.parameters is not None:
        plain, buffers = send_parameters(spec.parameters)
    search_path, carried = places_for(python, task, spec.parameters_class)
    start = Start(
        task=task,
        parameters_class=spec.parameters_class,
        parameters=plain,
        name=spec.name,
        impl_schemas=spec.impl_schemas,
        heartbeat_s=None if spec.heartbeat_s is None else spec.heartbeat_s / _BEATS,
        grace_s=spec.grace_s,
        search_path=search_path,
        carried=carried,
        package="" if python is None else spec.package or "",
    )
    return start, buffers, child_command(python, task)


def _argv(spec: AnalysisSpec) -> tuple[str, ...]:
    from taskgrove.analysis.parameters.argv import render_argv  # noqa: PLC0415
    from taskgrove.analysis.parameters.base import ThirdPartyParameters  # noqa: PLC0415
    from taskgrove.analysis.parameters.templates import render_template  # noqa: PLC0415

    if not isinstance(spec.parameters, ThirdPartyParameters):
        return (os.path.expanduser(spec.program),)
    folder = spec.folder or Path.cwd()
    roots = spec.template_dirs or (spec.work_dir or folder,)
    render_template(
        spec.parameters,
        template_root=roots,
        output_root=folder,
        more_output_roots=spec.output_roots,
    )
    return tuple(render_argv(spec.parameters))


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
    what = "launcher" if plan.spec.launcher else "program"
    program = find_program(plan.argv[0], environment, plan.cwd, what=what)
    argv = (program, *plan.argv[1:])
    inherit: list[int] = []
    connections: list[Connection] = []
    listener = None
    if plan.start is not None and plan.spec.launcher:
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
        stdin=_opened(plan, pieces),
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
    work_dir = plan.spec.work_dir
    stem = work_dir and work_dir / _file_stem(plan.spec.name, plan.mark[-12:])
    budget = OutputBudget(plan.spec.output_limit_bytes if work_dir else 0)
    streams = [
        OutputStream(name, descriptor, _path(stem, suffix), budget)
        for name, descriptor, suffix in (("stdout", out, ".out"), ("stderr", err, ".err"))
    ]
    return Launched(process, pidfd, streams, connections, listener, argv, environment)


def _opened(plan: Plan, pieces: _Pieces) -> int | None:
    """Return the descriptor of the file that is the program's standard input, or None."""
    if plan.spec.stdin is None:
        return None
    file = Path(plan.cwd or Path.cwd(), os.path.expanduser(plan.spec.stdin))
    try:
        # A named pipe without a writer would hold this thread up.
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        pieces.theirs.append(descriptor)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "it is no regular file")
    except OSError as exc:
        raise AnalysisError(
            f"the file {str(file)!r} for standard input cannot be read: {exc.strerror}",
            file=file,
            errno_name=errno_name(exc),
        ) from exc
    return descriptor


def _file_stem(analysis: str, identity: str) -> str:
    """Return the beginning of the names of an analysis' files: no other one has the same."""
    words = re.sub(r"[^A-Za-z0-9._-]+", "_", analysis).strip("._")[:80] or "analysis"
    return f"{words}-{identity}"


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
