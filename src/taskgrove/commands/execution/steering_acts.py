"""The requests of operators to a live run: each is carried out, and answered once.

Threads: any thread may hand over a request. Its moves are made at once, on that thread: of two
requests that do not fit together the first one counts. The acts that follow from the moves may
call foreign code. They run on a control thread, and the answer comes after them.
"""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Final, TypeAlias

from taskgrove.commands.execution.aborts import call_abort
from taskgrove.commands.execution.leaf_run import LeafRun
from taskgrove.commands.execution.run_machine import (
    ABORTED_EARLY,
    ABORTING,
    ABORTING_ALL,
    ENDED,
    FINAL,
    PAUSED,
    WITHDRAWN,
)
from taskgrove.commands.execution.steering_reply import SteeringReply
from taskgrove.commands.execution.steering_scope import SteeringScope, is_clean_up, step_in_need
from taskgrove.commands.execution.waiting_steps import WaitingStep
from taskgrove.commands.task import BaseTask
from taskgrove.events import NoteDetail, exception_line
from taskgrove.events.cause import CauseKind
from taskgrove.events.steering_request import (
    SteeringAnswer,
    SteeringReason,
    SteeringRequest,
    SteeringVerb,
    TakeAnswer,
)
from taskgrove.foreign_code import guarded

if TYPE_CHECKING:
    from taskgrove.commands.execution.live_run import Run

_OVER: Final = (ENDED, FINAL, WITHDRAWN)
_STOPS: Final = (ABORTED_EARLY, ABORTING, ABORTING_ALL)
#: The note on a node before which the run pauses.
PAUSES_BEFORE: Final = "the run pauses when this is about to start"
#: The kinds of ends after which a runner does not follow the work any more.
_NOT_FOLLOWED: Final[frozenset[CauseKind]] = frozenset(("silent", "forgotten"))
#: How many answers are remembered, for requests that come again.
_ANSWERS_KEPT: Final = 1000
#: An act that follows from a move.
_Act: TypeAlias = Callable[[], object]
#: Makes the moves of a request, and returns the acts that follow.
_Verb: TypeAlias = Callable[[SteeringRequest, SteeringReply], list[_Act]]


class Steering:
    """Carries out the requests of operators to one run.

    Args:
        run: The run.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._scope = SteeringScope(run)
        self._lock = threading.Lock()
        #: Those who wait for the answer to a request, by its id.
        self._takers: dict[str, list[TakeAnswer]] = {}
        #: The newest answers, by the request's id.
        self._answers: dict[str, SteeringAnswer] = {}
        #: The requests that came before the run began; None from then on.
        self._early: list[SteeringRequest] | None = []
        #: What answers the requests that wait for the end of an earlier attempt.
        self._stopping: set[_Act] = set()
        #: The last request that acted on a node, by path.
        self._acts: dict[str, SteeringRequest] = {}
        self._verbs: Mapping[SteeringVerb, _Verb] = {
            "abort": self._abort,
            "pause": self._pause,
            "continue": self._continue,
            **dict.fromkeys(("retry", "accept", "fail", "skip"), self._decide),
        }

    def steer(self, request: SteeringRequest, take_answer: TakeAnswer) -> None:
        """Carry out a request, and hand over its answer once, on any thread.

        A request that comes again is not carried out again: it gets the same answer, unless
        ``_ANSWERS_KEPT`` others were answered since.
        """
        with self._lock:
            answer = self._answers.get(request.id)
            if answer is None:
                takers = self._takers.setdefault(request.id, [])
                takers.append(take_answer)
                if len(takers) > 1:
                    return
                if self._early is not None and request.verb != "abort":
                    self._early.append(request)
                    return
        if answer is not None:
            guarded(take_answer, answer)
        else:
            self._carry_out(request)

    def begin(self) -> None:
        """Carry out what was asked before the run began; from now on nothing waits."""
        with self._lock:
            early, self._early = self._early or [], None
        for request in early:
            self._carry_out(request)

    def end(self) -> None:
        """Answer the requests that still wait for the end of an attempt: the run has ended."""
        with self._lock:
            stopping, self._stopping = self._stopping, set()
        for ended in stopping:
            guarded(ended)

    def _carry_out(self, request: SteeringRequest) -> None:
        reply = SteeringReply(request, self._give)
        acts: list[_Act] = []
        try:
            acts = self._verbs[request.verb](request, reply)
        except BaseException as exc:  # noqa: BLE001 - whoever asked is told
            reply.object("fault", said=exception_line(exc))
        control = self._run.engine.control
        if not acts or control.current_worker is not None:
            _act(acts, reply)
            return
        once = _Once()

        def act() -> None:
            if once.is_first():
                _act(acts, reply)

        try:
            control.submit(act)
        except RuntimeError:  # the machine has no thread for it, and may have one later
            act()

    def _give(self, answer: SteeringAnswer) -> None:
        with self._lock:
            takers = self._takers.pop(answer.request_id, [])
            self._answers[answer.request_id] = answer
            if len(self._answers) > _ANSWERS_KEPT:
                del self._answers[next(iter(self._answers))]
        for take_answer in takers:
            guarded(take_answer, answer)

    # -- the run as a whole -------------------------------------------------------------------

    def _abort(self, request: SteeringRequest, reply: SteeringReply) -> list[_Act]:
        run = self._run
        reason = request.why or "abort was asked for"
        if request.who:
            reason = f"{reason} (asked by {request.who})"
        if run.abort(reason, stop_finally=request.stop_finally, steering=request):
            reply.acted(run.root.path)
        elif run.state in _STOPS:
            self._object_before(reply, "already", run.abort_request)
        else:
            reply.object("run_ended")
        return []

    def _pause(self, request: SteeringRequest, reply: SteeringReply) -> list[_Act]:
        run = self._run
        if self._is_over(reply):
            return []
        if request.path:
            self._pause_before(request, reply)
        elif run.pause(request):
            reply.acted(run.root.path)
        elif run.state is PAUSED:
            self._object_before(reply, "already", run.pause_request)
        elif not self._is_over(reply):
            reply.object("not_begun")
        return []

    def _pause_before(self, request: SteeringRequest, reply: SteeringReply) -> None:
        found = self._scope.nodes(request.path, reply)
        for path, node in found:
            if is_clean_up(node):
                reply.object("in_finally", path)
            elif self._scope.has_begun(path, node) or not self._run.schedule.gate.pause_before(
                path, request
            ):
                self._object_begun(reply, path, node)
            else:
                self._run.tell(PAUSES_BEFORE, NoteDetail("pause-before", request=request), path)
                reply.acted(path)

    def _continue(self, request: SteeringRequest, reply: SteeringReply) -> list[_Act]:
        if not self._is_over(reply):
            if self._run.go_on(request):
                reply.acted(self._run.root.path)
            else:
                reply.object("not_paused")
        return []

    # -- decisions on nodes ---------------------------------------------------------------------

    def _decide(self, request: SteeringRequest, reply: SteeringReply) -> list[_Act]:
        if self._is_over(reply):
            return []
        nodes = self._scope.nodes(request.path, reply)
        steps = self._scope.open_steps(nodes)
        if not steps and request.verb == "skip":
            return self._leave_out(nodes, request, reply)
        if not steps:
            for path, node in nodes:
                self._object_closed(reply, path, node, request)
        acts: list[_Act] = []
        holding = self._run.schedule.holding
        reply.is_kept_by_pause = request.verb == "retry" and self._run.state is PAUSED
        for step in steps:
            if request.verb == "retry" and self._is_kept_from_retry(step, request, reply):
                continue
            if request.verb == "skip" and (later := step_in_need(step.node)) is not None:
                reply.object("needed_later", step.path, because_of=later)
                continue
            if holding.decide(step, request):
                self._acts[step.path] = request
                reply.acted(step.path)
                acts.append(functools.partial(holding.carry_out, step, request))
            else:
                self._object_closed(reply, step.path, step.node, request)
        return acts

    def _is_kept_from_retry(
        self, step: WaitingStep, request: SteeringRequest, reply: SteeringReply
    ) -> bool:
        """Object to a further attempt, or have the earlier one stopped first."""
        leaf_run, limit = step.leaf_run, step.composite.limit
        assert leaf_run is not None
        if limit is not None and limit.at <= time.monotonic():
            reply.object("limit_expired", step.path, because_of=limit.owner)
        elif leaf_run.may_go_on and not request.abort_first:
            reply.object("may_be_at_work", step.path, outside_id=leaf_run.told_id)
        elif leaf_run.may_go_on:
            self._stop_first(step, request, reply)
        else:
            return False
        return True

    def _stop_first(
        self, step: WaitingStep, request: SteeringRequest, reply: SteeringReply
    ) -> None:
        """Have the earlier attempt stopped, then retry; object where it does not end in time."""
        leaf_run, engine = step.leaf_run, self._run.engine
        assert leaf_run is not None
        once = _Once()
        reply.wait_for_more()

        def ended() -> None:
            with self._lock:
                self._stopping.discard(ended)
            if once.is_first():
                acts: list[_Act] = []
                holding = self._run.schedule.holding
                if holding.decide(step, request):
                    self._acts[step.path] = request
                    reply.acted(step.path)
                    acts.append(functools.partial(holding.carry_out, step, request))
                else:
                    self._object_closed(reply, step.path, step.node, request)
                _act(acts, reply)

        def too_slow() -> None:
            with self._lock:
                self._stopping.discard(ended)
            if once.is_first():
                reply.object("still_at_work", step.path, outside_id=leaf_run.told_id)
                reply.done()

        with self._lock:
            self._stopping.add(ended)
        step.on_late_end = lambda: engine.control.submit(ended)
        text = "asked to stop, so that it can be tried again"
        detail = NoteDetail("abort-asked", {"reason": request.why}, request=request)
        leaf_run.tell(detail, text)
        engine.at(time.monotonic() + engine.grace_s, too_slow)
        leaf_run.ask_to_stop()
        kind = step.attempts[-1].cause.kind
        if kind in _NOT_FOLLOWED and leaf_run.told_id is not None:
            # On the pool: attaching may wait for the device.
            engine.pool.submit(functools.partial(_follow_and_abort, leaf_run, text))
        else:
            engine.control.submit(functools.partial(call_abort, leaf_run, text))
        # It has ended in between, or the run has.
        if not leaf_run.may_go_on or self._run.state in _OVER:
            engine.control.submit(ended)

    def _leave_out(
        self, nodes: Iterable[tuple[str, BaseTask]], request: SteeringRequest, reply: SteeringReply
    ) -> list[_Act]:
        """Leave out steps that have not begun."""
        schedule = self._run.schedule
        acts: list[_Act] = []
        for path, node in nodes:
            if is_clean_up(node):
                reply.object("in_finally", path)
                continue
            if (later := step_in_need(node)) is not None and not self._scope.has_begun(path, node):
                reply.object("needed_later", path, because_of=later)
                continue
            composite = schedule.gate.take_unbegun(node)
            if composite is not None:
                acts.append(functools.partial(schedule.gate.leave_out, node, composite, request))
                reply.acted(path)
            elif path in schedule.waiting.left_out:
                self._object_before(reply, "already", schedule.waiting.left_out[path], path)
            elif (
                node is self._run.root
                or self._scope.has_begun(path, node)
                or not schedule.gate.leave_out_later(path, request)
            ):
                self._object_begun(reply, path, node)
            else:
                text = "it is left out when its turn comes"
                self._run.tell(text, NoteDetail("asked", request=request), path)
                reply.acted(path)
        return acts

    # -- objections -----------------------------------------------------------------------------

    def _is_over(self, reply: SteeringReply) -> bool:
        """Object where the run has ended, or is being aborted."""
        run = self._run
        if run.state in _OVER:
            reply.object("run_ended")
        elif run.state in _STOPS:
            self._object_before(reply, "aborting", run.abort_request)
        else:
            return False
        return True

    def _object_before(
        self,
        reply: SteeringReply,
        reason: SteeringReason,
        before: SteeringRequest | None,
        path: str = "",
    ) -> None:
        """Object because of an earlier request."""
        who = before.who if before is not None else ""
        since_ns = before.asked_ns if before is not None else self._run.changed_ns
        reply.object(reason, path, who=who, since_ns=since_ns or None)

    def _object_begun(self, reply: SteeringReply, path: str, node: BaseTask) -> None:
        status = self._scope.status_of(node)
        ended = status is not None and status.is_final
        reply.object("node_ended" if ended else "has_begun", path, status=status)

    def _object_closed(
        self, reply: SteeringReply, path: str, node: BaseTask, request: SteeringRequest
    ) -> None:
        """Object because no decision on the node is open."""
        status = self._scope.status_of(node)
        before = self._acts.get(path)
        reason: SteeringReason = "not_held"
        if status is not None and status.is_final:
            reason = "node_ended"
        elif before is not None and before.verb == request.verb:
            reason = "already"
        who, since_ns = ("", None) if before is None else (before.who, before.asked_ns or None)
        reply.object(reason, path, status=status, who=who, since_ns=since_ns)


class _Once:
    """Lets the first of several callers through."""

    def __init__(self) -> None:
        self._free = threading.Lock()

    def is_first(self) -> bool:
        return self._free.acquire(blocking=False)


def _follow_and_abort(leaf_run: LeafRun, reason: str) -> None:
    """Follow work again that its runner has given up, and have it asked to stop."""
    try:
        leaf_run.runner.attach(leaf_run, leaf_run.told_id or "")
    except BaseException as exc:  # noqa: BLE001 - the runner's own code; the abort is tried all the same
        leaf_run.note("abort-unheard", f"it cannot be followed again: {exception_line(exc)}")
    call_abort(leaf_run, reason)


def _act(acts: Iterable[_Act], reply: SteeringReply) -> None:
    for act in acts:
        try:
            act()
        except BaseException as exc:  # noqa: BLE001 - the others must be carried out, too
            reply.object("fault", said=exception_line(exc))
    reply.done()
