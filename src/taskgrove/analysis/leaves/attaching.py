"""What became of an analysis whose executor was lost.

Its result went to that executor and nowhere else, so it cannot be known. A first-party analysis
ends itself when its executor is gone; a guardian ends all others; what has outlived both is ended
here (:mod:`taskgrove.analysis.running.leftovers`). Only a process whose executor still runs
somewhere is followed to its end. The leaf then fails, says all this, and may be tried again,
because its process has certainly ended.

Threads: :meth:`AttachedProcess.begin` runs on a thread that may wait a few seconds; the end is
heard by the supervisor's thread; :meth:`AttachedProcess.cancel` and :meth:`AttachedProcess.end`
may be called by any thread, also before there is anything to end. ``_lock`` guards ``_loop`` and
what was asked before there was one.
"""

from __future__ import annotations

import os
import selectors
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from taskgrove.analysis.running.guardian import end_all_leftovers
from taskgrove.analysis.running.process import is_alive, parse_identity
from taskgrove.commands.leaf_runner import LeafContext
from taskgrove.control_model import ResultCode, TaskStatus
from taskgrove.events import Cause

if TYPE_CHECKING:
    from taskgrove.analysis.running.supervisor import AnalysisSupervisor, SupervisorLoop

#: When to look again at a process that could not be watched, in seconds.
_LOOK_AGAIN_S: Final = 0.2


class AttachedProcess:
    """One process that was started by another executor.

    Args:
        context: The attempt at its leaf.
        identity: ``pid:starttime``.
        supervisor: Whose thread waits for its end.
        grace_s: From SIGTERM to SIGKILL, in seconds.
        ended: Called once, with the context, when the process is over.

    Raises:
        AnalysisError: ``identity`` is none.

    Attributes:
        context: The attempt.
    """

    def __init__(
        self,
        context: LeafContext,
        identity: str,
        supervisor: AnalysisSupervisor,
        grace_s: float,
        ended: Callable[[LeafContext], object],
    ) -> None:
        self.context = context
        self._identity = identity
        self._pid = parse_identity(identity)[0]
        self._supervisor = supervisor
        self._grace_s = grace_s
        self._when_ended = ended
        self._lock = threading.Lock()
        self._loop: SupervisorLoop | None = None
        self._asked_to_end = False
        self._descriptor = -1
        self._over = False

    def begin(self) -> None:
        """Look for the process; end it if nobody supervises it, follow it if somebody does."""
        if not is_alive(self._identity):
            self._finish("had ended while nobody watched it")
            return
        end_all_leftovers()
        if not is_alive(self._identity):
            self._finish("still ran and was ended, because its executor is gone")
            return
        loop = self._supervisor.lease()
        with self._lock:
            self._loop = loop
            asked_to_end = self._asked_to_end or self.context.abort_event.is_set()
        self.context.update(status=TaskStatus.IN_PROGRESS)
        self.context.note("reconciled", f"process {self._pid} still runs; its end is waited for")
        loop.post(self._watch)
        if asked_to_end:
            loop.post(self._terminate)

    def cancel(self, reason: str, within_s: float | None = None) -> None:  # noqa: ARG002 - as a LeafFollower
        """Have the process ended; returns at once."""
        self.context.note("abort-acknowledged", "SIGTERM is sent to its processes, then SIGKILL")
        self.end(reason, at_limit=False)

    def end(self, reason: str, *, at_limit: bool, within_s: float | None = None) -> None:  # noqa: ARG002 - as a LeafFollower
        """Have the process ended, without a note; returns at once."""
        with self._lock:
            self._asked_to_end = True
            loop = self._loop
        if loop is not None:
            loop.post(self._terminate)

    # -- on the supervisor's thread ------------------------------------------------------------

    def _watch(self) -> None:
        assert self._loop is not None
        self._loop.add(self)
        try:
            self._descriptor = os.pidfd_open(self._pid)
        except ProcessLookupError:
            self._gone()
            return
        except OSError:  # no descriptor is left: that says nothing of the process
            if is_alive(self._identity):
                self._loop.at(time.monotonic() + _LOOK_AGAIN_S, self._watch)
            else:
                self._gone()
            return
        self._loop.watch(self._descriptor, selectors.EVENT_READ, self._gone)
        if not is_alive(self._identity):  # the pid is somebody else's by now
            self._gone()

    def ask_to_end(self, reason: str, within_s: float | None = None) -> None:  # noqa: ARG002
        """Begin to end it, because its supervisor ends."""
        self._terminate()

    def _terminate(self) -> None:
        self._signal(signal.SIGTERM)
        self._signal(signal.SIGCONT)
        if self._loop is not None and not self._over:
            self._loop.at(time.monotonic() + self._grace_s, lambda: self._signal(signal.SIGKILL))

    def _signal(self, number: signal.Signals) -> None:
        if self._over or not is_alive(self._identity):
            return
        with suppress(OSError):  # it has ended in the meantime
            if os.getpgid(self._pid) == self._pid:
                os.killpg(self._pid, number)
            else:
                os.kill(self._pid, number)

    def _gone(self) -> None:
        if self._over:
            return
        self._over = True
        loop = self._loop
        assert loop is not None
        loop.discard(self)
        if self._descriptor >= 0:
            loop.unwatch(self._descriptor)
            os.close(self._descriptor)
        loop.workers.submit(lambda: self._finish("has ended"))
        loop.release()

    def _finish(self, what: str) -> None:
        name, aborted = self.context.leaf.name, self.context.abort_event.is_set()
        text = f"{name}: process {self._pid} {what}; what it gave is not known"
        if aborted:
            cause = Cause(kind="aborted", outside_id=self._identity)
            self.context.finish(TaskStatus.ABORTED, (ResultCode.ABORTED, text), cause=cause)
        else:
            cause = Cause(kind="no_result", outside_id=self._identity)  # it has ended
            result = (ResultCode.FAILED, text)
            self.context.finish(TaskStatus.FAILED, result, may_retry=True, cause=cause)
        self._when_ended(self.context)
