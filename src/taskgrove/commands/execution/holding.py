"""The time after a failed attempt: a further one follows, a decision is awaited, or it stands.

In a sequence, and in a parallel task without a rule, a leaf that failed is held at once. In a
group that is judged as a whole it is undecided until all of its siblings have ended: then the
failures stand where the rule is met, else all of them are held.

Threads: any thread may call any method. ``WaitingSteps.move`` settles which of several requests
counts; whoever made the move carries it out, without a lock.
"""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable
from typing import Any, Final

from taskgrove.commands.execution.attempts import Attempt, packed, told_of
from taskgrove.commands.execution.composite import Composite
from taskgrove.commands.execution.hold_settings import hold_timeout_of, holds
from taskgrove.commands.execution.leaf_run import LeafOwner, LeafRun
from taskgrove.commands.execution.waiting_steps import (
    ABORT,
    ACCEPT,
    DELAY,
    DELAYED,
    DOUBT,
    FAIL,
    HELD,
    HOLD,
    MISS,
    OPEN,
    SKIP,
    STAND,
    UNDECIDED,
    Stage,
    StageRequest,
    WaitingStep,
    WaitingSteps,
    now_and_in,
)
from taskgrove.commands.task import LeafTask
from taskgrove.control_model import ResultCode, TaskStatus
from taskgrove.events import Cause, NoteDetail
from taskgrove.events.steering_request import SteeringRequest, SteeringVerb

#: The longest pause before a further attempt, in seconds.
_LONGEST_DELAY_S: Final = 1e8
#: How many different failures are remembered, to keep equal ones once.
_FAILURES_KEPT: Final = 100
_DECISIONS: Final[dict[SteeringVerb, StageRequest]] = {
    "accept": ACCEPT,
    "fail": FAIL,
    "skip": SKIP,
}
_WHILE: Final[dict[Stage, str]] = {
    HELD: "while it was held",
    UNDECIDED: "while its group was undecided",
    DELAYED: "before its next attempt",
}


class Holding:
    """Failed attempts, and the decisions on them.

    Args:
        run: The run that the leaves belong to.
        waiting: The steps that wait.
        again: Launches the attempt that follows the given ones.
        idle: Takes an attempt that has ended from those under way.
        holds: Whether a leaf is held where no setting of the tree says so.
    """

    def __init__(
        self,
        run: LeafOwner,
        waiting: WaitingSteps,
        *,
        again: Callable[[LeafRun, tuple[Attempt, ...], int, SteeringRequest | None], None],
        idle: Callable[[LeafRun], None],
        holds: bool,
    ) -> None:
        self._run = run
        self._waiting = waiting
        self._again = again
        self._idle = idle
        self._holds = holds
        # An exception holds the frames of its traceback: only one of many is kept.
        self._exception: tuple[WaitingStep, BaseException] | None = None
        self._failures: dict[bytes, bytes] = {}

    # -- a failed attempt -------------------------------------------------------------------

    def take(self, leaf_run: LeafRun, ended: Attempt, exception: BaseException | None) -> bool:
        """Take a failed attempt that is not the end of its leaf; False: it is."""
        leaf, composite = leaf_run.leaf, leaf_run.composite
        limit = composite.limit
        expired = limit is not None and limit.at <= time.monotonic()
        round_number = leaf_run.attempt - leaf_run.before_round
        if leaf_run.may_retry and leaf.retries >= round_number and not expired:
            leaf_run.drop_timer()
            delay_s = pause_before(leaf, round_number)
            if delay_s or self._waiting.pauses(composite):
                self._delay(self._step(leaf_run, ended, exception), delay_s)
            else:
                self._idle(leaf_run)
                attempts = (*leaf_run.earlier, ended)
                self._again(leaf_run, attempts, leaf_run.before_round, None)
            return True
        if not self._is_held(leaf_run, ended):
            return False
        leaf_run.drop_timer()
        step = self._step(leaf_run, ended, exception)
        if step.is_of_group:
            self._waiting.move(step, DOUBT)
            leaf_run.tell(*ended.note("undecided", leaf_run.last_attempt))
            self._await_decision(step)
            self.judge(composite)
        else:
            self._hold(step, HOLD)
            self._await_decision(step)
        return True

    def _step(
        self, leaf_run: LeafRun, ended: Attempt, exception: BaseException | None
    ) -> WaitingStep:
        step = WaitingStep(
            leaf_run.leaf,
            leaf_run.composite,
            leaf_run=leaf_run,
            attempts=self._small((*leaf_run.earlier, ended)),
        )
        kept = self._exception
        if exception is not None and (kept is None or kept[0].stage not in OPEN):
            self._exception = step, exception
        return step

    def _small(self, attempts: tuple[Attempt, ...]) -> tuple[Attempt, ...] | bytes:
        """Return failures in little room; many leaves fail alike, which is kept once."""
        small = packed(attempts)
        if small is None:
            return attempts
        if len(self._failures) >= _FAILURES_KEPT:
            self._failures.clear()
        return self._failures.setdefault(small, small)

    def _is_held(self, leaf_run: LeafRun, ended: Attempt) -> bool:
        """Return whether a failure is held: not one by a limit from above."""
        cause = ended.fields.get("cause")
        owner = cause.limit_owner if type(cause) is Cause else None
        if owner is not None and leaf_run.path.startswith(f"{owner}/"):
            return False
        return holds(leaf_run.leaf, default=self._holds)

    def _await_decision(self, step: WaitingStep) -> None:
        leaf_run = step.leaf_run
        assert leaf_run is not None
        self._idle(leaf_run)
        if self._run.stop_reason(step.composite) is not None:
            self.abort(step)  # the abort came in between, and may have missed it

    def _hold(self, step: WaitingStep, request: StageRequest) -> None:
        """Hold a failed leaf, and have the failure stand when the hold has a limit."""
        leaf_run, ended = step.leaf_run, step.attempts[-1]
        assert leaf_run is not None
        length_s = hold_timeout_of(leaf_run.leaf)
        data: dict[str, str] = {"attempt": str(ended.number)}
        at = 0.0
        if length_s is not None:
            at, until_ns = now_and_in(length_s)
            data["until_ns"] = str(until_ns)
        if self._waiting.move(step, request) is None:
            return
        leaf_run.tell(*ended.note("held", leaf_run.last_attempt, data=data))
        if length_s is not None:
            expire = functools.partial(self._hold_expired, step, length_s)
            step.timer = self._run.engine.at(at, expire)

    def _hold_expired(self, step: WaitingStep, length_s: float) -> None:
        if self._waiting.move(step, STAND) is not None:
            assert step.leaf_run is not None
            text = f"no decision came within {length_s:g} s: the failure stands"
            step.leaf_run.note("hold-expired", text, limit_s=f"{length_s:g}")
            self._stand(step, None)

    # -- further attempts -------------------------------------------------------------------

    def _delay(self, step: WaitingStep, delay_s: float) -> None:
        """Have the next attempt begin later; the failure stands where a limit expires before."""
        leaf_run, ended = step.leaf_run, step.attempts[-1]
        assert leaf_run is not None
        at, until_ns = now_and_in(delay_s)
        self._waiting.move(step, DELAY)
        data = {"until_ns": str(until_ns)}
        leaf_run.tell(*ended.note("delayed", leaf_run.last_attempt, data=data))
        limit = step.composite.limit
        over: Callable[[], object] = functools.partial(self._delay_over, step)
        if limit is not None and limit.at < at:
            at, over = limit.at, functools.partial(self._limit_came_first, step)
        step.timer = self._run.engine.at(at, over)
        self._await_decision(step)

    def _delay_over(self, step: WaitingStep) -> None:
        if self._waiting.delay_over(step):
            self.launch(step)
        elif step.is_due:
            self.tell_parked(step)

    def go_on(self, step: WaitingStep) -> None:
        """Launch an attempt that is due, unless the run is paused."""
        if self._waiting.delay_over(step):
            self.launch(step)

    def _limit_came_first(self, step: WaitingStep) -> None:
        if self._waiting.move(step, STAND) is not None:
            self._stand(step, None)

    def park(self, leaf_run: LeafRun) -> None:
        """Keep a further attempt, of which nothing has begun, until the pause is over."""
        leaf_run.may_go_on = False  # those before it have ended, too
        step = WaitingStep(
            leaf_run.leaf, leaf_run.composite, leaf_run=leaf_run, attempts=leaf_run.earlier
        )
        step.is_due = True
        self._waiting.move(step, DELAY)
        self.tell_parked(step)
        if self._run.stop_reason(step.composite) is not None:
            self.abort(step)
        else:
            self.go_on(step)  # the pause may have ended in between

    def tell_parked(self, step: WaitingStep) -> None:
        """Tell that the pause of the run keeps an attempt from starting."""
        assert step.leaf_run is not None
        detail = NoteDetail(topic="parked", request=step.request)
        step.leaf_run.tell(detail, "the next attempt waits for the end of the pause")

    def launch(self, step: WaitingStep) -> None:
        """Launch the next attempt of a step whose move has been made."""
        leaf_run = step.leaf_run
        assert leaf_run is not None
        step.drop_timer()
        # An operator's attempt has all automatic ones after it anew.
        asked = step.request is not None
        base = step.attempts[-1].number if asked else leaf_run.before_round
        self._again(leaf_run, step.attempts, base, step.request)

    def ended_late(self, leaf_run: LeafRun) -> None:
        """Take note that the work of an attempt has ended, after the end of the attempt."""
        step = self._waiting.find(leaf_run.leaf)
        if step is not None and step.leaf_run is leaf_run and step.on_late_end is not None:
            step.on_late_end()

    # -- the rule of a group ------------------------------------------------------------------

    def judge(self, composite: Composite) -> None:
        """Judge a group when all members have ended or failed: the failures stand, or are held."""
        with self._run.lock:
            open_count = len(composite.undecided)
            if not open_count or open_count != composite.remaining:
                return
            if self._run.stop_reason(composite) is not None:
                return  # each of them is aborted
            steps = list(composite.undecided.values())
        is_met = (
            composite.tracker.outcome_if({step.node.name: _told(step)[1:] for step in steps}).status
            is TaskStatus.COMPLETED
        )
        for step in steps:
            if is_met:
                if self._waiting.move(step, STAND) is not None:
                    self._stand(step, None)
            elif step.stage is UNDECIDED:
                self._hold(step, MISS)

    # -- decisions ------------------------------------------------------------------------------

    def decide(self, step: WaitingStep, request: SteeringRequest) -> bool:
        """Make the move of a decision; False where another one came first."""
        if request.verb == "retry":
            return self._waiting.ask_again(step, request)
        return self._waiting.move(step, _DECISIONS[request.verb]) is not None

    def carry_out(self, step: WaitingStep, request: SteeringRequest) -> None:
        """Carry out a decision whose move has been made; it may call foreign code."""
        step.drop_timer()
        if request.verb == "retry":
            if step.stage is DELAYED:
                self.tell_parked(step)
                self.go_on(step)
            else:
                self.launch(step)
        elif request.verb == "accept":
            self._accept(step, request)
        else:
            if request.verb == "skip":
                step.composite.forgive(step.node)
            self._stand(step, request)

    def _stand(self, step: WaitingStep, request: SteeringRequest | None) -> None:
        assert step.leaf_run is not None
        step.drop_timer()
        kept = self._exception
        if kept is not None and kept[0] is step:
            self._run.remember(kept[1])
        step.leaf_run.stand(step.attempts, request)

    def _accept(self, step: WaitingStep, request: SteeringRequest) -> None:
        assert step.leaf_run is not None
        told = _told(step)
        why = f": {request.why}" if request.why else ""
        who = request.who or request.user
        text = f"accepted by {who}{why}; {told.words}"
        fields: dict[str, Any] = {
            "cause": told.fields.get("cause"),
            "accepted": True,
            "accepted_by": (who,),
            "request": request,
        }
        if "devices" in told.fields:
            fields["devices"] = told.fields["devices"]
        result = (ResultCode.OK, text)
        step.leaf_run.decided(step.attempts, TaskStatus.COMPLETED, result, fields)

    def abort(self, step: WaitingStep) -> None:
        """End a leaf ABORTED on which a decision is open, or whose next attempt is delayed."""
        before = self._waiting.move(step, ABORT)
        if before is None:
            return
        assert step.leaf_run is not None
        step.drop_timer()
        told = _told(step)
        text = f"aborted {_WHILE[before]}; attempt {told.number}: {told.words}"
        fields = {"cause": told.fields.get("cause")}
        result = (ResultCode.ABORTED, text)
        step.leaf_run.decided(step.attempts, TaskStatus.ABORTED, result, fields)


def _told(step: WaitingStep) -> Attempt:
    return told_of(step.attempts[:-1], step.attempts[-1])


def pause_before(leaf: LeafTask, attempts: int) -> float:
    """Return how long to wait after so many attempts of a round, in seconds."""
    try:
        delay_s = leaf.retry_delay * leaf.retry_backoff ** (attempts - 1)
    except OverflowError:
        delay_s = math.inf
    return min(delay_s, _LONGEST_DELAY_S)
