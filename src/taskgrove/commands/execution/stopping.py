"""What stops leaves of a run before they end themselves: limits and aborts (SPEC S7.4, S7.5).

An abort is a ladder: what runs is asked, acknowledges, ends, or is abandoned after the grace
period; each rung is a note on the leaf, with its time. What has not begun ends ABORTED at
once. A limit ends a leaf FAILED; whether the work itself ends is up to its runner.

Threads: everything here runs on control threads, except :meth:`StoppableRun.abort`, which
any thread may call. ``lock`` guards the set of active leaves and the flags of the leaves.
"""

from __future__ import annotations

import functools
import logging
import threading
import time
from abc import abstractmethod
from typing import Final

from taskgrove.commands.execution.composite import Limit, limit_from
from taskgrove.commands.execution.engine import Engine
from taskgrove.commands.execution.leaf_run import LeafRun
from taskgrove.commands.leaf_runner import limits_of
from taskgrove.commands.task import Task
from taskgrove.control_model import ResultCode, TaskStatus
from taskgrove.events import Cause, EventBus, NoteDetail, exception_line
from taskgrove.events.cause import AbortFate
from taskgrove.foreign_code import LOGGING

_LOGGER = logging.getLogger(__name__)

#: What became of the Abort that a limit asked for, by the sign that came.
_FATES: Final[dict[str, AbortFate]] = {
    "abort-acknowledged": "acknowledged",
    "not sent": "not sent",
    "not acknowledged": "not acknowledged",
    "grace": "not acknowledged",
}
_FATE_WORDS: Final[dict[AbortFate | None, str]] = {
    "not sent": "; Abort could not be sent",
    "not acknowledged": "; Abort was sent, not acknowledged",
}


class StoppableRun:
    """One submitted tree, as far as stopping it goes.

    Attributes:
        bus: The run's events.
        root: Its tree.
        lock: See the module's docstring.
        abort_reason: Why it was aborted, or None.
        first_exception: The first exception that a leaf ended with, or None.
        abandoned: Paths of leaves that were given up after the grace period.
    """

    def __init__(self, engine: Engine, root: Task, bus: EventBus) -> None:
        self.engine = engine
        self.root = root
        self.bus = bus
        self.lock = threading.Lock()
        self.abort_reason: str | None = None
        self.first_exception: BaseException | None = None
        self.abandoned: tuple[str, ...] = ()
        self._active: set[LeafRun] = set()

    @abstractmethod
    def ended(self, leaf_run: LeafRun) -> None:
        """Go on after an attempt that has ended for good."""

    def remember(self, exc: BaseException) -> None:
        """Keep the first exception, to chain the error of ``handle.result()`` to it."""
        with self.lock:
            if self.first_exception is None:
                self.first_exception = exc

    # -- limits ---------------------------------------------------------------------------

    def set_own_limit(self, leaf_run: LeafRun) -> None:
        """Begin the leaf's own limit, if it expires before the one from above."""
        length_s = leaf_run.leaf.timeout
        assert length_s is not None
        assert leaf_run.started_at is not None
        ends_at = limit_from(leaf_run.started_at, length_s, leaf_run.began_ns)
        own = Limit(ends_at, length_s, leaf_run.path)
        if leaf_run.limit is None or own.at < leaf_run.limit.at:
            leaf_run.drop_timer()
            leaf_run.limit = own
            self._watch(leaf_run)

    def _watch(self, leaf_run: LeafRun) -> None:
        assert leaf_run.limit is not None
        leaf_run.timer = self.engine.at(
            leaf_run.limit.at, functools.partial(self._expire, leaf_run)
        )

    def _expire(self, leaf_run: LeafRun) -> None:
        """End a leaf whose limit has expired (S7.4)."""
        limit = leaf_run.limit
        if limit is None or not leaf_run.decide_end():
            return
        began = leaf_run.is_started
        text = (
            f"timed out after {limit.length_s:g} s (limit set by {limit.owner})"
            if began
            else f"not started: the limit of {limit.length_s:g} s set by {limit.owner} expired"
        )
        leaf_run.note("timeout", text, limit_s=f"{limit.length_s:g}", owner=limit.owner)
        self.remember(TimeoutError(f"{leaf_run.path}: {text}"))
        if began:
            self._stop_expired(leaf_run, text)
        else:
            self._end_expired(leaf_run, text)

    def _stop_expired(self, leaf_run: LeafRun, text: str) -> None:
        """Ask expired work to stop; its end is told when the work has heard, or the grace is over.

        What follows the end, the end of the run with it, may take away what the request needs.
        """
        leaf = leaf_run.leaf
        enforced = limits_of(leaf_run.runner, leaf).timeout == "enforced"
        asks = enforced or leaf.abort_on_timeout
        signs = {"ended", "grace"}
        if leaf.abort_on_timeout:
            signs |= _FATES.keys()
            if leaf_run.outside_id is None:  # else it is asked once more when it is attached to
                signs.add("not needed")
        elif not enforced:
            signs.add("returned")
        leaf_run.when_stopped(
            frozenset(signs), functools.partial(self._expired_stopped, leaf_run, text)
        )
        self.engine.at(
            time.monotonic() + self.engine.grace_s, functools.partial(leaf_run.sign, "grace")
        )
        leaf_run.ask_to_stop()
        if asks:
            self._call_abort(leaf_run, "its limit expired")
        elif not leaf_run.in_call:
            leaf_run.sign("returned")

    def _expired_stopped(self, leaf_run: LeafRun, text: str, sign: str) -> None:
        """Go on after expired work has given a sign, or none within the grace period."""
        asked = leaf_run.leaf.abort_on_timeout
        if sign == "grace" and (leaf_run.in_call or not asked):
            self._give_up_expired(leaf_run)
        fate = _FATES.get(sign) if asked else None
        self._end_expired(leaf_run, text + _FATE_WORDS.get(fate, ""), fate)

    def _give_up_expired(self, leaf_run: LeafRun) -> None:
        grace_s = self.engine.grace_s
        replaced = "; its slot was replaced" if leaf_run.in_call else ""
        leaf_run.note(
            "abandoned",
            f"it goes on {grace_s:g} s after its limit expired{replaced}",
            grace_s=f"{grace_s:g}",
        )
        with self.lock:
            self.abandoned = (*self.abandoned, leaf_run.path)
        self._replace_slot(leaf_run)

    def _end_expired(self, leaf_run: LeafRun, text: str, abort: AbortFate | None = None) -> None:
        cause = leaf_run.limit_cause("timed_out" if leaf_run.is_started else "not_started", abort)
        leaf_run.tell_end(TaskStatus.FAILED, ResultCode.FAILED, text, cause)
        self.ended(leaf_run)

    # -- abort ----------------------------------------------------------------------------

    def abort(self, reason: str) -> bool:
        """Ask everything to stop; returns at once. False when it was asked before."""
        with self.lock:
            if self.abort_reason is not None or self.root.tracker.is_complete:
                return False
            self.abort_reason = reason
        if self.bus.active:
            self.bus.emit(
                self.root.path,
                "note",
                message=f"asked to stop: {reason}",
                detail=NoteDetail(topic="abort-asked", data={"reason": reason}),
            )
        self.engine.control.submit(self._abort_active)
        return True

    def _abort_active(self) -> None:
        with self.lock:
            active = list(self._active)
        # What has not begun goes first, so that nothing starts while others are being asked.
        for leaf_run in sorted(active, key=lambda item: item.is_started):
            self.engine.control.submit(functools.partial(self._abort_leaf, leaf_run))

    def _abort_leaf(self, leaf_run: LeafRun) -> None:
        reason = self.abort_reason or "aborted"
        if not leaf_run.is_started and leaf_run.outside_id is None:
            text = f"not started: {reason}"
            if leaf_run.cut_off(
                TaskStatus.ABORTED,
                ResultCode.ABORTED,
                text,
                Cause(kind="not_started", said=reason),
                if_not_started=True,
            ):
                self.ended(leaf_run)
                return
        if not leaf_run.ask_to_stop(unless_over=True):
            return  # it has ended meanwhile, or another thread asks it
        leaf_run.note("abort-asked", f"asked to stop: {reason}", reason=reason)
        self.engine.at(
            time.monotonic() + self.engine.grace_s, functools.partial(self._abandon, leaf_run)
        )
        if leaf_run.is_started:  # else once it is attached to
            self._call_abort(leaf_run, reason)

    def ask_attached(self, leaf_run: LeafRun) -> None:
        """Ask what was attached to while, or after, it was to be stopped: it may not have heard."""
        self._call_abort(leaf_run, self.abort_reason or "aborted")

    def _call_abort(self, leaf_run: LeafRun, reason: str) -> None:
        try:
            leaf_run.runner.abort(leaf_run, reason)
        except BaseException as exc:
            text = f"its abort could not be sent: {exception_line(exc)}"
            leaf_run.note("abort-unheard", text, fate="not sent")
            with LOGGING:
                _LOGGER.exception("run %s: the abort of %s raised", self.bus.run_id, leaf_run.path)

    def _abandon(self, leaf_run: LeafRun) -> None:
        """Give up on a leaf that did not end within the grace period (S7.5)."""
        grace_s = self.engine.grace_s
        text = f"abandoned: it did not end within {grace_s:g} s of being asked to stop"
        cause = Cause(kind="abandoned", said=self.abort_reason or "", limit_s=grace_s)
        if leaf_run.decide_end():
            leaf_run.note("abandoned", text, grace_s=f"{grace_s:g}")
            with self.lock:
                self.abandoned = (*self.abandoned, leaf_run.path)
            self._replace_slot(leaf_run)
            leaf_run.tell_end(TaskStatus.ABORTED, ResultCode.ABORTED, text, cause)
            self.ended(leaf_run)

    def _replace_slot(self, leaf_run: LeafRun) -> None:
        worker = leaf_run.worker
        if leaf_run.in_call and worker is not None:
            self.engine.pool.replace(worker)
