"""One analysis as its supervisor sees it: from its order to the end of all of it.

How the end comes about:

1. The process ends (its pidfd tells). What it wrote is in our pipes by then, and is read.
2. Processes of the analysis that still run get a moment to end by themselves; then SIGTERM, then
   SIGKILL. So one that holds a pipe open holds nobody up.
3. The process is reaped, and :func:`taskgrove.analysis.running.end_verdict.decide` says what it all
   means.

Threads: any thread may call ``cancel``, ``stop``, ``resume``, ``ask_to_end``, ``begin`` and
``never_ran``. They move the stage, and post the rest to the supervisor's thread, both under the
lock of the machine; so what is done comes in the order of the moves. Everything else belongs to
the supervisor's thread.
"""

from __future__ import annotations

import logging
import os
import selectors
import signal
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from typing import Final

from taskgrove.analysis.batch import allocation_of
from taskgrove.analysis.child import max_rss_bytes
from taskgrove.analysis.results import TaskStatus
from taskgrove.analysis.running.end_verdict import AskedBy, EndFacts
from taskgrove.analysis.running.handle import AnalysisHandle
from taskgrove.analysis.running.intake import Intake
from taskgrove.analysis.running.launch import Launched, Plan
from taskgrove.analysis.running.leftovers import stat_fields
from taskgrove.analysis.running.outcome import ProcessEnd
from taskgrove.analysis.running.process import find_members, name_of
from taskgrove.analysis.running.spec import AnalysisSpec
from taskgrove.analysis.running.stages import AnalysisRequest, AnalysisStage, StageMachine
from taskgrove.analysis.running.supervisor import SupervisorLoop
from taskgrove.events import Cause
from taskgrove.loops.loop import TimerEntry

#: How long processes that outlive their leader may take to end by themselves, in seconds.
STRAY_PAUSE_S: Final = 0.5
#: How long they may take after SIGTERM, at most, in seconds.
STRAY_GRACE_S: Final = 1.0
#: How long a process may take to end after SIGKILL, in seconds; then it is given up.
KILL_WAIT_S: Final = 10.0
_LOOK_AGAIN_S: Final = 0.02
_FIRST_POLL_S: Final = 0.05


class Supervision:
    """Follows one analysis to its end.

    Args:
        loop: The supervisor's loop.
        spec: The analysis.
        handle: Told of everything.
        on_end: Called once, with what became of it, when nothing is left.
    """

    def __init__(
        self,
        loop: SupervisorLoop,
        spec: AnalysisSpec,
        handle: AnalysisHandle,
        on_end: Callable[[ProcessEnd], object],
    ) -> None:
        self._loop = loop
        self._spec = spec
        self._handle = handle
        self._on_end = on_end
        self._machine = StageMachine(spec.name)
        self._asked: tuple[AskedBy, str, float] | None = None
        self._limit: TimerEntry | None = None
        self._limit_left_s = spec.timeout_s
        self._ladder: TimerEntry | None = None
        self._return_code: int | None = None
        self._strays: dict[int, str] = {}
        self._notes: list[str] = []
        #: How the process is launched, once that is settled.
        self.plan: Plan | None = None

    @property
    def stage(self) -> AnalysisStage:
        """Where the analysis stands."""
        return self._machine.stage

    @property
    def is_called_off(self) -> bool:
        """Whether no process is to be started any more."""
        return self.stage is AnalysisStage.CALLED_OFF

    def cancel(self, reason: str, *, at_limit: bool, within_s: float | None = None) -> None:
        """End the analysis; see :class:`taskgrove.analysis.running.handle.Controls`."""
        self._end("timeout" if at_limit else "cancel", reason, within_s)

    def ask_to_end(self, reason: str, within_s: float | None = None) -> None:
        """End the analysis because its executor's process ends."""
        self._end("cancel", reason, within_s)

    def stop(self) -> None:
        """Suspend it."""
        with self._machine.lock:
            if self._machine.move(AnalysisRequest.STOP) is AnalysisStage.RUNNING:
                self._loop.post(self._suspend)

    def resume(self) -> None:
        """Let it go on."""
        with self._machine.lock:
            before = self._machine.move(AnalysisRequest.RESUME)
            if before in {AnalysisStage.RUNNING, AnalysisStage.SUSPENDED}:
                self._loop.post(self._continue)

    def begin(self, plan: Plan, launched: Launched) -> None:
        """Follow a process that was started."""
        with self._machine.lock:
            before = self._machine.move(AnalysisRequest.START)
            if before is not None:
                self._loop.post(self._begin, plan, launched, before)

    def never_ran(self, end: ProcessEnd) -> None:
        """End an analysis that has no process, unless it has one after all."""
        with self._machine.lock:
            before = self._machine.move(AnalysisRequest.FINISH)
        if before is AnalysisStage.CALLED_OFF and self._asked is not None:
            why = Cause(kind="not_started", said=self._asked[1])
            end = ProcessEnd(cause=self._asked[1], why=why, cancelled=True)
        if before is not None:
            self._loop.post(self._loop.discard, self)
            self._on_end(replace(end, plan=self.plan))

    def _begin(self, plan: Plan, launched: Launched, before: AnalysisStage) -> None:
        """Watch the process and all that leads to it."""
        loop, spec = self._loop, self._spec
        self._plan, self._launched, self._pid = plan, launched, launched.process.pid
        self._intake = Intake(loop, plan, launched, self._handle, self._on_broken)
        self._intake.begin()
        self._began = self._ended = now = time.monotonic()
        if launched.pidfd >= 0:
            loop.watch(launched.pidfd, selectors.EVENT_READ, self._on_exit)
        else:
            loop.at(now, self._on_exit)
        if before is AnalysisStage.CALLED_OFF:
            self._terminate()
        else:
            self._arm_limit()
        if before is AnalysisStage.HELD:
            self._suspend()
        if spec.heartbeat_s is not None and plan.start is not None:
            loop.at(now + spec.heartbeat_s, self._check_heartbeat)
        loop.at(now + min(_FIRST_POLL_S, spec.poll_interval_s), self._reconcile)

    # -- time ---------------------------------------------------------------------------------

    def _arm_limit(self) -> None:
        if self._limit_left_s is not None:
            self._limit = self._loop.at(time.monotonic() + self._limit_left_s, self._on_limit)

    def _on_limit(self) -> None:
        self._end("timeout", f"timed out after {self._spec.timeout_s:g} s")

    def _check_heartbeat(self) -> None:
        limit_s = self._spec.heartbeat_s
        assert limit_s is not None
        if self.stage >= AnalysisStage.ENDING:
            return
        if self._intake.is_paused or self.stage is AnalysisStage.SUSPENDED:
            self._intake.heard_at = time.monotonic()
        if time.monotonic() - self._intake.heard_at < limit_s:
            self._loop.at(self._intake.heard_at + limit_s, self._check_heartbeat)
            return
        fields = stat_fields(self._pid)
        state = fields[0].decode() if fields else "?"
        text = f"unresponsive: no heartbeat for {limit_s:g} s"
        said = f"{text}; its process is alive (state {state})"
        self._handle.tell("log", said, level=logging.WARNING, source="executor")
        self._end("unresponsive", text)

    def _reconcile(self) -> None:
        """Find out what no event tells: stopped by somebody else, continued, memory held."""
        if self.stage >= AnalysisStage.SETTLING:
            return
        self._look_at_stops()
        self._intake.note_rss(max_rss_bytes(self._pid))
        self._intake.tell_hidden()
        self._loop.at(time.monotonic() + self._spec.poll_interval_s, self._reconcile)

    # -- stop and resume ----------------------------------------------------------------------

    def _suspend(self) -> None:
        if self.stage is not AnalysisStage.SUSPENDED:
            return
        if self._limit is not None:
            self._limit_left_s = max(0.0, self._limit.at - time.monotonic())
            self._limit.cancel()
            self._limit = None
        self._signal(signal.SIGSTOP, everywhere=True)
        self._look_soon(AnalysisStage.SUSPENDED, TaskStatus.STOPPED)

    def _continue(self) -> None:
        if self.stage is not AnalysisStage.RUNNING:
            return
        if self._limit is None:
            self._intake.heard_at = time.monotonic()
            self._arm_limit()
        self._signal(signal.SIGCONT, everywhere=True)
        self._look_soon(AnalysisStage.RUNNING, TaskStatus.RUNNING)

    def _look_soon(self, stage: AnalysisStage, wanted: TaskStatus) -> None:
        self._look_at_stops()
        if self.stage is stage and self._handle.status is not wanted:
            again = time.monotonic() + _LOOK_AGAIN_S
            self._loop.at(again, lambda: self._look_soon(stage, wanted))

    def _look_at_stops(self) -> None:
        flags = os.WSTOPPED | os.WCONTINUED | os.WNOHANG
        while self._launched.pidfd >= 0:
            try:
                seen = os.waitid(os.P_PIDFD, self._launched.pidfd, flags)
            except ChildProcessError:
                return
            if seen is None:
                return
            if seen.si_code in {os.CLD_STOPPED, os.CLD_TRAPPED}:
                self._handle.set_stopped(stopped=True)
            elif seen.si_code == os.CLD_CONTINUED:
                self._handle.set_stopped(stopped=False)

    # -- ending it ----------------------------------------------------------------------------

    def _end(self, by: AskedBy, text: str, within_s: float | None = None) -> None:
        """Begin the ladder: SIGTERM, the grace period, SIGKILL."""
        grace_s = self._spec.grace_s if within_s is None else min(self._spec.grace_s, within_s)
        with self._machine.lock:
            before = self._machine.move(AnalysisRequest.END)
            if before is None:
                return
            if before is AnalysisStage.ENDING:
                self._loop.post(self._climb, time.monotonic() + grace_s)
                return
            self._asked = by, text, grace_s
            if before >= AnalysisStage.RUNNING:
                self._loop.post(self._terminate)

    def _on_broken(self, text: str) -> None:
        self._end("channel", text)

    def _terminate(self) -> None:
        if self.stage is not AnalysisStage.ENDING:
            return
        assert self._asked is not None
        if self._limit is not None:
            self._limit.cancel()
        self._intake.hurry()
        self._signal(signal.SIGTERM)
        self._signal(signal.SIGCONT, everywhere=True)  # a stopped one hears nothing
        self._climb(time.monotonic() + self._asked[2])

    def _climb(self, kill_at: float) -> None:
        """Have SIGKILL sent at an instant, unless it is to be sent sooner."""
        if self.stage is not AnalysisStage.ENDING:
            return
        if self._ladder is not None:
            kill_at = min(kill_at, self._ladder.at)
            self._ladder.cancel()
        self._ladder = self._loop.at(kill_at, self._kill)

    def _kill(self) -> None:
        if self._machine.move(AnalysisRequest.KILL) is None:
            return
        self._signal(signal.SIGKILL, everywhere=True)
        self._ladder = self._loop.at(time.monotonic() + KILL_WAIT_S, self._give_up)

    def _give_up(self) -> None:
        if self._machine.move(AnalysisRequest.GIVE_UP) is not None:
            self._ended = time.monotonic()
            self._finish(abandoned=True)

    def _signal(self, number: int, *, everywhere: bool = False) -> None:
        """Send a signal to the group; ``everywhere``: also to members that have left it."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._pid, number)
        if everywhere:
            _signal_all(self._members() or (), number)

    def _members(self, ran_s: float | None = None) -> list[int] | None:
        """Return the processes of the analysis besides its first one; None: it cannot be told."""
        try:
            if ran_s is None:
                return find_members(self._plan.mark, self._pid)
            return find_members(self._plan.mark, self._pid, ran_s=ran_s)
        except OSError:
            return None

    # -- the end ------------------------------------------------------------------------------

    def _on_exit(self) -> None:
        """The process has ended; it is not reaped yet, so its number still names its group."""
        if self._machine.move(AnalysisRequest.EXIT) is None:
            return
        self._ended = time.monotonic()
        for timer in (self._limit, self._ladder):
            if timer is not None:
                timer.cancel()
        if self._launched.pidfd >= 0:
            self._loop.unwatch(self._launched.pidfd)
        self._settle()

    def _settle(self) -> None:
        """Wait for what the process left behind, or end it; then finish."""
        self._intake.drain()
        ran_s, waited_s = self._ended - self._began, time.monotonic() - self._ended
        members = self._members(ran_s)
        if members is None:
            if waited_s < KILL_WAIT_S:
                self._loop.at(time.monotonic() + _LOOK_AGAIN_S, self._settle)
                return
            self._notes.append("processes that it left behind could not be looked for")
            members = []
        if not members:
            self._intake.drain()  # the last of them may have ended since, and let go of it
        if members or self._intake.is_open:
            if waited_s < STRAY_PAUSE_S or (members and self._end_strays(members, waited_s)):
                self._loop.at(time.monotonic() + _LOOK_AGAIN_S, self._settle)
                return
            if members:
                self._notes.append(f"processes that it left behind do not end: {members}")
            else:
                self._notes.append("an unknown process still holds its output open")
        self._machine.move(AnalysisRequest.FINISH)
        self._finish()

    def _end_strays(self, members: list[int], waited_s: float) -> bool:
        """Signal what is left; False when that has led nowhere for too long."""
        is_first = not self._strays
        for pid in members:
            self._strays.setdefault(pid, name_of(pid))
        grace_s = min(STRAY_GRACE_S, self._spec.grace_s)
        if is_first:
            _signal_all(members, signal.SIGTERM, signal.SIGCONT)
        elif waited_s > STRAY_PAUSE_S + grace_s:
            _signal_all(members, signal.SIGKILL)
        return waited_s < STRAY_PAUSE_S + grace_s + KILL_WAIT_S

    def _finish(self, *, abandoned: bool = False) -> None:
        cpu_s = self._reap(abandoned)
        output = self._intake.close()
        if self._strays:
            names = ", ".join(f"{name} ({pid})" for pid, name in sorted(self._strays.items()))
            self._notes.append(f"processes that it left behind were ended: {names}")
        self._notes += [f"{item.name}: {item.trouble}" for item in output if item.trouble]
        self._loop.discard(self)
        self._on_end(
            ProcessEnd(
                facts=self._facts(abandoned),
                duration_s=self._ended - self._began,
                cpu_s=cpu_s,
                max_rss_bytes=self._intake.max_rss_bytes or None,
                output=output,
                notes=tuple(self._notes),
                result=self._intake.result,
                versions=self._intake.versions,
                plan=self._plan,
                launched=self._launched,
            )
        )

    def _facts(self, abandoned: bool) -> EndFacts:
        intake = self._intake
        asked = self._asked
        given = intake.result[0] if intake.result is not None else None
        return EndFacts(
            first_party=self._plan.start is not None,
            return_code=self._return_code,
            asked=None if asked is None else asked[0],
            ask_text="" if asked is None else asked[1],
            result_status=TaskStatus[given.status] if given is not None else None,
            result_summary=given.summary if given and isinstance(given.summary, str) else "",
            failed_cause=intake.failed.cause if intake.failed is not None else None,
            failed_chain=intake.failed.chain if intake.failed is not None else (),
            cancelled=intake.cancelled,
            channel_trouble=intake.trouble,
            unfinished=intake.unfinished,
            by_launcher=bool(self._spec.launcher),
            allocation=allocation_of(self._launched.environment),
            abandoned=abandoned,
        )

    def _reap(self, abandoned: bool) -> float | None:
        """Take the exit status and close the pidfd; return the processor time used."""
        process, pidfd = self._launched.process, self._launched.pidfd
        cpu_s = None
        if abandoned and pidfd >= 0:
            self._loop.unwatch(pidfd)
        elif not abandoned:
            try:
                _, status, usage = os.wait4(self._pid, 0)
            except ChildProcessError:
                process.returncode = 0  # somebody else has taken it: nothing is left to wait for
            else:
                self._return_code = process.returncode = os.waitstatus_to_exitcode(status)
                cpu_s = usage.ru_utime + usage.ru_stime
        if pidfd >= 0:
            os.close(pidfd)
            self._launched.pidfd = -1
        return cpu_s


def _signal_all(pids: Iterable[int], *numbers: int) -> None:
    for pid in pids:
        for number in numbers:
            with suppress(OSError):  # it has ended in the meantime
                os.kill(pid, number)
