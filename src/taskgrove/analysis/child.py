"""The process of a first-party analysis: ``python -m taskgrove.analysis.child MODULE:CLASS``.

It takes its orders from the channel that its executor opened, runs the analysis, sends the
result, and ends when that is acknowledged. The class on the command line is for people who
read the process list; the order names it again.

Exit status: 0 after an acknowledged result; 1 when the analysis raised; 143 (128 + SIGTERM) when
it was cancelled; 70 when the executor was gone.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from taskgrove.analysis.channel.channel_messages import (
    Acknowledged,
    Cancelled,
    Failed,
    Log,
    Progress,
    Result,
    Start,
    Started,
    printable,
)
from taskgrove.analysis.channel.child_channel import ChildChannel
from taskgrove.analysis.channel.frames import ChannelError
from taskgrove.analysis.other_python import find_more
from taskgrove.analysis.task import AnalysisCancelled, AnalysisTask
from taskgrove.errors import AnalysisError
from taskgrove.events import ChainLink, chain_of, exception_line, loggable

if TYPE_CHECKING:
    from types import FrameType

EXIT_FAILED: Final = 1
EXIT_NO_EXECUTOR: Final = 70
EXIT_CANCELLED: Final = 128 + signal.SIGTERM
_LOG_ERROR: Final = 40


class _Child:
    """One analysis in this process."""

    def __init__(self, channel: ChildChannel) -> None:
        self.channel = channel
        self._task: AnalysisTask[Any] | None = None
        self._main_thread = threading.get_ident()
        self._pid = os.getpid()
        self._cancel_reason: str | None = None
        self._cancel_told = False
        self._interruptible = False
        self._sending = False

    def progress(self, percent: float | None, message: str) -> None:
        """Send a report of the analysis (:class:`taskgrove.analysis.task.Reporter`)."""
        if self.channel.rank == 0:
            self._send(Progress(percent, printable(message)))

    def log(self, level: int, text: str) -> None:
        """Send a line of the log."""
        self._send(Log(level, printable(text)))

    def on_signal(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        """Ask the analysis to end: SIGTERM came."""
        if self._cancel_reason is None:
            self._cancel_reason = signal.Signals(number).name
            if not self._sending:
                self._cancel()

    def _cancel(self) -> None:
        if not self._cancel_told and self._task is not None:
            self._cancel_told = True
            self._task.on_cancel()
        if self._interruptible:
            self._interruptible = False  # once: what cleans up is left in peace
            raise AnalysisCancelled(self._cancel_reason)

    def on_lost(self) -> None:
        """End the analysis: its executor is gone. Called by the guard thread."""
        os.kill(os.getpid(), signal.SIGTERM)

    def on_unheard(self) -> None:
        """Have SIGTERM heard by the main thread. Called by the guard thread."""
        if self._cancel_reason is None:
            signal.pthread_kill(self._main_thread, signal.SIGTERM)

    def _on_fork(self) -> None:
        """Be a process like any other in a fork, such as a worker of a pool."""
        self.channel.begin_anew()
        if signal.getsignal(signal.SIGTERM) == self.on_signal:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def run(self, start: Start, buffers: tuple[memoryview, ...]) -> int:
        """Run the analysis and return the exit status."""
        signal.signal(signal.SIGTERM, self.on_signal)
        os.register_at_fork(after_in_child=self._on_fork)
        self.channel.keep_watch(start.heartbeat_s, start.grace_s, self.on_lost, self.on_unheard)
        try:
            self._interruptible = True
            task_class = find_class(start.task)
            task = self._task = task_class(_parameters(start, buffers))
            task.name = start.name
            task.reporter = self
            _log_to(self)
            self._send(Started(os.getpid(), os.uname().nodename, _versions(start)))
            returned = self._run_stages(task)
            if self.channel.rank == 0:
                self._send_result(start, returned)
            self._interruptible = False
        except AnalysisCancelled:
            self._interruptible = False
            self.channel.send(Cancelled(self._cancel_reason or ""))
            return EXIT_CANCELLED
        except BaseException as exc:
            self._interruptible = False
            if isinstance(exc, SystemExit) and exc.code in (None, 0):
                raise  # it wants to end so: without a result, which its executor will say
            _abort_other_ranks()
            self._tell_failure(exc)
            return EXIT_FAILED
        return 0

    def _run_stages(self, task: AnalysisTask[Any]) -> Any:
        try:
            task.before_run()
            return task.run()
        finally:
            if os.getpid() != self._pid:
                _end_fork()
            task.after_run()

    def _send(self, message: Progress | Log | Started | Result, buffers: Any = ()) -> None:
        """Send; a signal that comes in the midst of a frame waits for the end of it."""
        if threading.get_ident() != self._main_thread:
            self.channel.send(message, buffers)
            return
        self._sending = True
        try:
            self.channel.send(message, buffers)
        finally:
            self._sending = False
        if self._cancel_reason is not None:
            self._cancel()

    def _send_result(self, start: Start, returned: Any) -> None:
        from taskgrove.analysis.channel.child_result import (  # noqa: PLC0415
            as_result,
            holds_plots,
            plain_summary,
        )
        from taskgrove.analysis.plain.form import to_plain  # noqa: PLC0415

        result = as_result(start, returned)
        payload, summary = result.payload, result.summary
        if holds_plots((payload, summary)):
            from taskgrove.analysis.summary_plots import convert_payload  # noqa: PLC0415

            payload, summary = convert_payload((payload, summary))
        buffers: list[memoryview] = []
        plain = to_plain(payload, buffers=buffers)
        message = Result(
            result.task_status.name,
            plain_summary(summary, buffers),
            plain,
            result.impl_schemas,
            max_rss_bytes(os.getpid()),
        )
        try:
            self._send(message, buffers)
        except ChannelError as exc:
            raise AnalysisError(
                f"the result is too large to be sent: {exc}",
                hint="give numbers as arrays, or write a file and return its path",
            ) from exc
        self._interruptible = False
        self.channel.wait_for(Acknowledged)

    def _tell_failure(self, exc: BaseException) -> None:
        # A signal from now on changes nothing: `on_cancel` must not be called in the midst of a
        # frame, and what it reports would wait for the end of that for ever.
        self._sending = True
        story = _traceback_of(exc)
        cause = exception_line(exc)
        self.channel.send(Log(_LOG_ERROR, printable(story)))
        chain = tuple(ChainLink(printable(k.type), printable(k.text)) for k in chain_of(exc))
        rss = max_rss_bytes(os.getpid())
        self.channel.send(Failed(printable(cause), printable(story), rss, chain))


def _traceback_of(exc: BaseException) -> str:
    import traceback  # noqa: PLC0415

    exc = loggable(exc)
    return "".join(traceback.format_exception(type(exc), exc, exc.__traceback__))


def _end_fork() -> None:
    """End a fork that came out of ``run``: only the analysis itself has a result to send."""
    raised = sys.exc_info()[1]
    if raised is not None:
        sys.stderr.write(_traceback_of(raised))
    sys.stdout.flush()
    os._exit(EXIT_FAILED)


def max_rss_bytes(pid: int) -> int | None:
    """Return the most memory that a running process has held, in bytes, or None.

    ``getrusage`` would count what the *executor* held when it started the process: a child that
    is made by ``vfork`` begins with its parent's figure.
    """
    try:
        with open(f"/proc/{pid}/status", "rb") as status:
            for line in status:
                if line.startswith(b"VmHWM:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        return None
    return None


def find_class(place: str) -> Any:
    """Import the module of ``package.module:Class`` and return the class."""
    module_name, _, name = place.partition(":")
    found: Any = importlib.import_module(module_name)
    for part in name.split("."):
        found = getattr(found, part)
    return found


def _versions(start: Start) -> dict[str, str]:
    """Return the versions that our executor cannot know: those in another interpreter."""
    if not start.package:
        return {}
    from taskgrove.provenance import versions  # noqa: PLC0415

    return versions([start.package])


def _parameters(start: Start, buffers: tuple[memoryview, ...]) -> Any:
    if not start.parameters_class:
        return None
    from taskgrove.analysis.channel import parameter_transfer  # noqa: PLC0415

    if start.package:  # another interpreter
        kind = _class_of_parameters(start.parameters_class)
    else:
        kind = find_class(start.parameters_class)
    if kind is None:
        return parameter_transfer.unchecked_parameters(start.parameters, buffers)
    return parameter_transfer.receive_parameters(kind, start.parameters, buffers)


def _class_of_parameters(place: str) -> Any:
    """Return the class of the parameters; None where another interpreter lacks what it needs."""
    from taskgrove.analysis.channel.parameter_transfer import can_validate  # noqa: PLC0415

    with suppress(ImportError):
        return find_class(place) if can_validate() else None
    return None


def find_classes(task: str, parameters_class: str) -> None:
    """Import what an analysis needs in another interpreter, to see whether that is possible."""
    find_class(task)
    if parameters_class:
        _class_of_parameters(parameters_class)


def _log_to(child: _Child) -> None:
    """Have every logger's lines from INFO up sent to the executor."""
    from taskgrove.analysis.channel.child_log import install  # noqa: PLC0415

    install(child.log)


def _abort_other_ranks() -> None:
    # The other ranks may wait for this one for ever: what mpi4py's own runner does.
    mpi = sys.modules.get("mpi4py.MPI")
    if mpi is not None and mpi.Is_initialized() and mpi.COMM_WORLD.Get_size() > 1:
        import atexit  # noqa: PLC0415

        atexit.register(mpi.COMM_WORLD.Abort, EXIT_FAILED)


def main() -> int:
    """Run the analysis that the channel tells of; return the exit status."""
    try:
        channel = ChildChannel(os.environ)
    except (ChannelError, OSError) as exc:
        sys.stderr.write(f"taskgrove.analysis.child: {exc}\n")
        return EXIT_NO_EXECUTOR
    try:
        start, buffers = channel.wait_for(Start)
        find_more(start.search_path, start.carried)
        return _Child(channel).run(start, buffers)
    except (EOFError, BrokenPipeError, ConnectionError):
        return EXIT_NO_EXECUTOR
    finally:
        with suppress(OSError):
            channel.close()


if __name__ == "__main__":
    raise SystemExit(main())
