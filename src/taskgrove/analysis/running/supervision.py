"""One analysis as its supervisor sees it: from the start of its process to the end of all of it.

How the end comes about:

1. The process ends (its pidfd tells). What it wrote is in our pipes by then, and is read.
2. Processes of the analysis that still run get a moment to end by themselves; then SIGTERM, then
   SIGKILL. So one that holds a pipe open holds nobody up.
3. The process is reaped, and :func:`taskgrove.analysis.running.verdict.decide` says what it all
   means.

Threads: ``cancel``, ``stop`` and ``resume`` may be called by any thread, everything else belongs
to the supervisor's.
"""

from __future__ import annotations

import logging
import os
import selectors
import signal
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Final

from taskgrove.analysis.batch import allocation_of
from taskgrove.analysis.child import max_rss_bytes
from taskgrove.analysis.results import TaskStatus
from taskgrove.analysis.running.handle import AnalysisHandle
from taskgrove.analysis.running.intake import Intake
from taskgrove.analysis.running.launch import Launched, Plan
from taskgrove.analysis.running.leftovers import stat_fields
from taskgrove.analysis.running.outcome import ProcessEnd
from taskgrove.analysis.running.process import find_members, name_of
from taskgrove.analysis.running.supervisor import SupervisorLoop
from taskgrove.analysis.running.verdict import Asked, EndFacts
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
    """Follows one launched process to its end.

    Args:
        loop: The supervisor's loop.
        plan: What was launched.
        launched: The process.
        handle: Who is told.
        on_end: Called once, with what became of it, when nothing is left.
    """

    def __init__(
        self,
        loop: SupervisorLoop,
        plan: Plan,
        launched: Launched,
        handle: AnalysisHandle,
        on_end: Callable[[ProcessEnd], object],
    ) -> None:
        self._loop = loop
        self._plan = plan
        self._launched = launched
        self._handle = handle
        self._on_end = on_end
        self._intake = Intake(loop, plan, launched, handle, lambda text: self._ask("channel", text))
        self._pid = launched.process.pid
        self._began = time.monotonic()
        self._ended: float | None = None
        self._stopped_by_us = False
        self._limit: TimerEntry | None = None
        self._limit_left_s = plan.timeout_s
        self._ladder: TimerEntry | None = None
        self._killed = False
        self._asked: Asked | None = None
        self._ask_text = ""
        self._return_code: int | None = None
        self._strays: dict[int, str] = {}
        self._strays_asked = False
        self._notes: list[str] = []
        self._abandoned = False

    @property
    def _is_ending(self) -> bool:
        return self._ended is not None or self._asked is not None

    def cancel(self, reason: str, *, at_limit: bool, within_s: float | None = None) -> None:
        """End the analysis; see :class:`taskgrove.analysis.running.handle.Controls`."""
        kind: Asked = "timeout" if at_limit else "cancel"
        self._loop.post(lambda: self._ask(kind, reason, within_s))

    def stop(self) -> None:
        """Suspend it."""
        self._loop.post(self._stop)

    def resume(self) -> None:
        """Let it go on."""
        self._loop.post(self._resume)

    def begin(self) -> None:
        """Watch the process and all that leads to it."""
        loop, plan, pidfd = self._loop, self._plan, self._launched.pidfd
        loop.add(self)
        self._intake.begin()
        now = time.monotonic()
        if pidfd >= 0:
            loop.watch(pidfd, selectors.EVENT_READ, self._on_exit)
        else:
            loop.at(now, self._on_exit)
        self._arm_limit()
        if plan.heartbeat_timeout_s is not None and plan.start is not None:
            loop.at(now + plan.heartbeat_timeout_s, self._check_heartbeat)
        loop.at(now + min(_FIRST_POLL_S, plan.poll_interval_s), self._reconcile)

    def ask_to_end(self, reason: str, within_s: float | None = None) -> None:
        """End the analysis because its executor's process ends."""
        self._ask("cancel", reason, within_s)

    # -- time ---------------------------------------------------------------------------------

    def _arm_limit(self) -> None:
        if self._limit_left_s is not None and self._asked is None:
            self._limit = self._loop.at(time.monotonic() + self._limit_left_s, self._on_limit)

    def _on_limit(self) -> None:
        self._ask("timeout", f"timed out after {self._plan.timeout_s:g} s")

    def _check_heartbeat(self) -> None:
        limit_s = self._plan.heartbeat_timeout_s
        assert limit_s is not None
        if self._is_ending:
            return
        if self._intake.is_paused or self._stopped_by_us:
            self._intake.heard_at = time.monotonic()
        if time.monotonic() - self._intake.heard_at < limit_s:
            self._loop.at(self._intake.heard_at + limit_s, self._check_heartbeat)
            return
        fields = stat_fields(self._pid)
        state = fields[0].decode() if fields else "?"
        text = f"unresponsive: no heartbeat for {limit_s:g} s"
        said = f"{text}; its process is alive (state {state})"
        self._handle.tell("log", said, level=logging.WARNING, source="executor")
        self._ask("unresponsive", text)

    def _reconcile(self) -> None:
        """Find out what no event tells: stopped by somebody else, continued, memory held."""
        if self._ended is not None:
            return
        self._look_at_stops()
        self._intake.note_rss(max_rss_bytes(self._pid))
        self._intake.tell_hidden()
        self._loop.at(time.monotonic() + self._plan.poll_interval_s, self._reconcile)

    # -- stop and resume ----------------------------------------------------------------------

    def _stop(self) -> None:
        if self._is_ending or self._stopped_by_us:
            return
        self._stopped_by_us = True
        if self._limit is not None:
            self._limit_left_s = max(0.0, self._limit.at - time.monotonic())
            self._limit.cancel()
        self._signal(signal.SIGSTOP, everywhere=True)
        self._look_soon(TaskStatus.STOPPED)

    def _resume(self) -> None:
        if self._is_ending:
            return
        if self._stopped_by_us:
            self._stopped_by_us = False
            self._intake.heard_at = time.monotonic()
            self._arm_limit()
        self._signal(signal.SIGCONT, everywhere=True)
        self._look_soon(TaskStatus.RUNNING)

    def _look_soon(self, wanted: TaskStatus) -> None:
        self._look_at_stops()
        asked = TaskStatus.STOPPED if self._stopped_by_us else TaskStatus.RUNNING
        if self._handle.status is not wanted and wanted is asked and not self._is_ending:
            self._loop.at(time.monotonic() + _LOOK_AGAIN_S, lambda: self._look_soon(wanted))

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
                self._now(TaskStatus.STOPPED)
            elif seen.si_code == os.CLD_CONTINUED:
                self._now(TaskStatus.RUNNING)

    def _now(self, status: TaskStatus) -> None:
        if self._handle.status is not status and self._handle.move(status):
            self._handle.tell("stopped" if status is TaskStatus.STOPPED else "resumed")

    # -- ending it ----------------------------------------------------------------------------

    def _ask(self, kind: Asked, text: str, within_s: float | None = None) -> None:
        """Begin the ladder: SIGTERM, the grace period, SIGKILL.

        Asked again, it keeps to the first reason, and to the shorter time.
        """
        grace_s = self._plan.grace_s if within_s is None else min(self._plan.grace_s, within_s)
        if self._is_ending:
            if self._ladder is not None and not self._killed and self._ended is None:
                self._climb(min(self._ladder.at, time.monotonic() + grace_s))
            return
        self._asked = kind
        self._ask_text = text
        if self._limit is not None:
            self._limit.cancel()
        self._intake.hurry()
        self._signal(signal.SIGTERM)
        self._signal(signal.SIGCONT, everywhere=True)  # a stopped one hears nothing
        self._climb(time.monotonic() + grace_s)

    def _climb(self, kill_at: float) -> None:
        if self._ladder is not None:
            self._ladder.cancel()
        self._ladder = self._loop.at(kill_at, self._kill)

    def _kill(self) -> None:
        self._killed = True
        self._signal(signal.SIGKILL, everywhere=True)
        self._ladder = self._loop.at(time.monotonic() + KILL_WAIT_S, self._abandon)

    def _abandon(self) -> None:
        self._abandoned = True
        self._ended = time.monotonic()
        self._finish()

    def _signal(self, number: int, *, everywhere: bool = False) -> None:
        """Send a signal to the group; ``everywhere``: also to members that have left it."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._pid, number)
        if everywhere:
            _signal_all(self._members() or (), number)

    def _members(self, ran_s: float | None = None) -> list[int] | None:
        """Return the processes of the analysis besides its first one; None: it cannot be told.

        That is so where no descriptor is left to look with. What is done besides must go on.
        """
        try:
            if ran_s is None:
                return find_members(self._plan.mark, self._pid)
            return find_members(self._plan.mark, self._pid, ran_s=ran_s)
        except OSError:
            return None

    # -- the end ------------------------------------------------------------------------------

    def _on_exit(self) -> None:
        """The process has ended; it is not reaped yet, so its number still names its group."""
        self._ended = time.monotonic()
        for timer in (self._limit, self._ladder):
            if timer is not None:
                timer.cancel()
        if self._launched.pidfd >= 0:
            self._loop.unwatch(self._launched.pidfd)
        self._settle()

    def _settle(self) -> None:
        """Wait for what the process left behind, or end it; then finish."""
        assert self._ended is not None
        self._intake.drain()
        ran_s, waited_s = self._ended - self._began, time.monotonic() - self._ended
        members = self._members(ran_s)
        if members is None:
            if waited_s < KILL_WAIT_S:
                self._loop.at(time.monotonic() + _LOOK_AGAIN_S, self._settle)
                return
            self._notes.append("what it left behind could not be looked for")
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
                self._notes.append("something that is not known still holds its output open")
        self._finish()

    def _end_strays(self, members: list[int], waited_s: float) -> bool:
        """Signal what is left; False when that has led nowhere for too long."""
        for pid in members:
            self._strays.setdefault(pid, name_of(pid))
        grace_s = min(STRAY_GRACE_S, self._plan.grace_s)
        if not self._strays_asked:
            self._strays_asked = True
            _signal_all(members, signal.SIGTERM, signal.SIGCONT)
        elif waited_s > STRAY_PAUSE_S + grace_s:
            _signal_all(members, signal.SIGKILL)
        return waited_s < STRAY_PAUSE_S + grace_s + KILL_WAIT_S

    def _finish(self) -> None:
        assert self._ended is not None
        cpu_s = self._reap()
        output = self._intake.close()
        if self._strays:
            names = ", ".join(f"{name} ({pid})" for pid, name in sorted(self._strays.items()))
            self._notes.append(f"processes that it left behind were ended: {names}")
        self._notes += [f"{item.name}: {item.trouble}" for item in output if item.trouble]
        self._loop.discard(self)
        self._on_end(
            ProcessEnd(
                facts=self._facts(),
                duration_s=self._ended - self._began,
                cpu_s=cpu_s,
                max_rss_bytes=self._intake.max_rss_bytes or None,
                output=output,
                notes=tuple(self._notes),
                result=self._intake.result,
            )
        )

    def _facts(self) -> EndFacts:
        intake = self._intake
        given = intake.result[0] if intake.result is not None else None
        return EndFacts(
            first_party=self._plan.start is not None,
            return_code=self._return_code,
            asked=self._asked,
            ask_text=self._ask_text,
            result_status=TaskStatus[given.status] if given is not None else None,
            result_summary=given.summary if given and isinstance(given.summary, str) else "",
            failed_cause=intake.failed.cause if intake.failed is not None else None,
            failed_chain=intake.failed.chain if intake.failed is not None else (),
            cancelled=intake.cancelled,
            channel_trouble=intake.trouble,
            unfinished=intake.unfinished,
            by_launcher=self._plan.by_launcher,
            allocation=allocation_of(self._launched.environment),
            abandoned=self._abandoned,
        )

    def _reap(self) -> float | None:
        """Take the exit status and close the pidfd; return the processor time used."""
        process, pidfd = self._launched.process, self._launched.pidfd
        cpu_s = None
        if self._abandoned and pidfd >= 0:
            self._loop.unwatch(pidfd)
        elif not self._abandoned:
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
