"""TaskAggregationPolicy: many subtasks, one truthful outcome.

Pure: no locks, clocks or I/O; the same subtasks give the same outcome, whatever their
order. Any thread may use a policy.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Final

from msgspec.structs import replace

from taskgrove.commands.aggregation import causes as cause_lines
from taskgrove.commands.aggregation.base import (
    DEGRADED,
    AggregationOutcome,
    CauseLine,
    Decision,
    SubtaskResult,
)
from taskgrove.commands.aggregation.default_rules import DEFAULT_RULES, is_cbf_associated
from taskgrove.commands.aggregation.rules import (
    AggregationRule,
    RuleContext,
    RuleLike,
    Verdict,
    parse_rule,
)
from taskgrove.commands.aggregation.tally import (
    DEVICE_KINDS,
    Tally,
    device_kind,
    failed_devices_of,
    is_final_problem,
    is_problem,
)
from taskgrove.control_model import IS_FINAL, ResultCode, TaskStatus
from taskgrove.events import LeftOut, RuleKind

_WORDS: Final = {
    TaskStatus.STAGING: "queued",
    TaskStatus.QUEUED: "queued",
    TaskStatus.IN_PROGRESS: "in progress",
    TaskStatus.NOT_FOUND: "in progress",
    TaskStatus.ABORTED: "aborted",
    TaskStatus.COMPLETED: "completed",
    TaskStatus.REJECTED: "rejected",
    TaskStatus.FAILED: "failed",
}
#: The verdicts that tell no cause.
_WITHOUT_CAUSES: Final = ("OK", "QUEUED", "IN_PROGRESS")
#: The code that fits a final status, where a rule leaves it UNKNOWN.
_FITTING_CODES: Final = {
    TaskStatus.ABORTED: ResultCode.ABORTED,
    TaskStatus.COMPLETED: ResultCode.FAILED,
    TaskStatus.REJECTED: ResultCode.REJECTED,
    TaskStatus.FAILED: ResultCode.FAILED,
}


class TaskAggregationPolicy:
    """Aggregate the subtasks of one task into one outcome.

    Args:
        task_name: Name of the task; it decides whether this is a PST group, unless
            ``pst_group`` does.
        operation: Operation, handed to the rules.
        obs_mode: Observation mode, handed to the rules.
        is_root: Whether messages begin with a summary line.
        rule: An explicit rule in place of the default ones, in any form that
            :func:`~taskgrove.commands.aggregation.rules.parse_rule` takes.
        pst_group: Whether this is a group of PST beams; None decides by the name.
        left_out: The steps that the composer left out of the task.
        finally_name: The name of the subtask that is the clean-up, or None. The rules judge the
            others. Where those ended well, a failing clean-up counts as one failing step; else
            it only adds its causes. It never counts as a success.

    Raises:
        UsageError: ``rule`` names no rule.
    """

    def __init__(
        self,
        task_name: str,
        operation: str | None = None,
        obs_mode: str | None = None,
        is_root: bool = False,
        *,
        rule: RuleLike | None = None,
        pst_group: bool | None = None,
        left_out: Iterable[LeftOut] = (),
        finally_name: str | None = None,
    ) -> None:
        self.task_name = task_name
        self.operation = operation
        self.obs_mode = obs_mode
        self.is_root = is_root
        self.rule: AggregationRule | None = parse_rule(rule)
        self.pst_group = pst_group
        self.left_out = tuple(left_out)
        self.finally_name = finally_name

    def with_context(
        self, operation: str | None, obs_mode: str | None, is_root: bool
    ) -> TaskAggregationPolicy:
        """Return the policy of the same task in another context."""
        return TaskAggregationPolicy(
            self.task_name,
            operation,
            obs_mode,
            is_root,
            rule=self.rule,
            pst_group=self.pst_group,
            left_out=self.left_out,
            finally_name=self.finally_name,
        )

    def aggregate(self, subs: Sequence[SubtaskResult]) -> AggregationOutcome:
        """Return the outcome of the subtasks, with the decision that made it.

        Args:
            subs: The latest result of each subtask; their order settles that of the causes.
        """
        tally = self._tally(subs)
        kind, label, verdict = self._judge(tally)
        decision = Decision(
            label,
            tally.succeeded,
            verdict.needed,
            tally.total,
            verdict.word,
            reason=verdict.reason,
            severe=verdict.severe,
            kind=kind,
        )
        accepted, message = False, ""
        causes: list[CauseLine] = []
        if decision.verdict == "OK" and not tally.marked:  # the usual end
            if self.is_root:
                message = self._message(tally, verdict, [])
        else:
            if tally.marked and verdict.result == ResultCode.OK:
                accepted = any(sub.accepted for sub in tally.marked)
            causes = self._causes(tally, verdict)
            message = self._message(tally, verdict, [str(cause) for cause in causes])
        return AggregationOutcome(
            verdict.status,
            verdict.result,
            message,
            verdict.health_state,
            decision=decision,
            left_out=(
                (*self.left_out, *chain.from_iterable(tally.below))
                if tally.below
                else self.left_out
            ),
            causes=tuple(causes),
            accepted=accepted,
            accepted_by=tally.accepted_by if accepted else (),
        )

    def _tally(self, subs: Sequence[SubtaskResult]) -> Tally:
        """Return the count of the steps, without the clean-up."""
        if self.finally_name is None:
            return Tally(subs, self.left_out)
        steps = [sub for sub in subs if sub.name != self.finally_name]
        cleanup = next((sub for sub in subs if sub.name == self.finally_name), None)
        return Tally(steps, self.left_out, cleanup)

    def is_problem(self, sub: SubtaskResult) -> bool:
        """Return whether :meth:`aggregate` counts the subtask as a problem.

        Besides the problems of :meth:`_is_final_problem`, a COMPLETED subtask with code
        REJECTED, NOT_ALLOWED, ABORTED or UNKNOWN is one; a casualty is none.
        """
        return is_problem(sub)

    # -- deciding -----------------------------------------------------------------------

    def _judge(self, tally: Tally) -> tuple[RuleKind, str, Verdict]:
        """Return the rule that decides, its label, and its verdict."""
        decided = _before_rules(tally)
        if decided is None:
            decided = self._by_rules(tally)
            if tally.cleanup_end and decided[2].result == ResultCode.OK:
                tally.count_cleanup()
                decided = self._by_rules(tally)
        kind, label, verdict = decided
        return kind, label, _completed(verdict, tally, of_leaf=kind == "leaf")

    def _by_rules(self, tally: Tally) -> tuple[RuleKind, str, Verdict]:
        """Return the rule that decides on steps that have ended, its label, and its verdict."""
        context = RuleContext(
            self.task_name, self.operation, self.obs_mode, self._is_pst_group_task()
        )
        rules = DEFAULT_RULES if self.rule is None else (self.rule, *DEFAULT_RULES)
        for rule in rules:
            verdict = rule.decide(tally, context)
            if verdict is not None:
                if verdict.result == ResultCode.UNKNOWN and IS_FINAL[verdict.status]:
                    verdict = replace(verdict, result=_FITTING_CODES[verdict.status])
                return rule.kind, rule.label, verdict
        raise AssertionError("the last default rule always decides")

    @property
    def is_pst_group(self) -> bool:
        """Whether this is a group of PST beams: as told, else by its name (``configure_pst``)."""
        return self._is_pst_group_task()

    def _is_pst_group_task(self) -> bool:
        """Return whether this is a PST group: as told, else by its name (``configure_pst``)."""
        if self.pst_group is not None:
            return self.pst_group
        name = self.task_name.lower()
        return name == "pst" or name.endswith("_pst")

    def _find_cbf_subtask(self, subs: Iterable[SubtaskResult]) -> SubtaskResult | None:
        """Return the first subtask that reports a CBF device, problem or not; None: there is none.

        Args:
            subs: The subtasks.
        """
        return next((sub for sub in subs if is_cbf_associated(sub)), None)

    @staticmethod
    def _kind(dev: str) -> str:
        """Return ``CBF``, ``PST``, ``PSS`` or ``OTHER`` for a device, by its name."""
        return device_kind(dev)

    @staticmethod
    def _devices(sub: SubtaskResult) -> list[str]:
        """Return the devices to report as failed: ``failed_devices``, else ``device_name``."""
        return failed_devices_of(sub)

    @staticmethod
    def _is_final_problem(s: SubtaskResult) -> bool:
        """Return whether the status is FAILED or REJECTED, or the code FAILED."""
        return is_final_problem(s)

    # -- causes and messages ------------------------------------------------------------

    @staticmethod
    def _already_prefixed(line: str, name: str) -> bool:
        """Return whether a cause line begins with the subtask's name as its prefix.

        ``name: …``, ``name - …``, ``[name - …]`` and ``- name - …`` do.
        """
        return cause_lines.is_prefixed(line, name)

    @staticmethod
    def _strip_outer_causes_header(msg: str) -> str:
        """Return the message without a leading ``Causes:`` header and without outer newlines."""
        return cause_lines.without_header(msg)

    @staticmethod
    def _flatten_bullets(msg: str) -> list[str]:
        """Return the non-empty lines of a message, trimmed and without bullet markers."""
        return cause_lines.flatten(msg)

    def _extract_causes_from_subtask(self, s: SubtaskResult) -> list[str]:
        """Return the cause lines of a subtask, without duplicates; none without a message.

        A structured message (a ``Causes:`` header, bullets, several lines) gives its own
        lines. Any other is one line, with its origin before it, once.
        """
        return cause_lines.lines_of(s)

    def _gather_failed_devices_and_causes(
        self, subs: Iterable[SubtaskResult]
    ) -> tuple[dict[str, list[str]], list[str]]:
        """Return the failed devices by kind and the causes of those subtasks that failed.

        Args:
            subs: The subtasks; those count of which :meth:`_is_final_problem` holds.
        """
        problems = [sub for sub in subs if self._is_final_problem(sub)]
        causes = cause_lines.merged(self._extract_causes_from_subtask(sub) for sub in problems)
        return _failed_by_kind(problems), causes

    def _causes(self, tally: Tally, verdict: Verdict) -> list[CauseLine]:
        """Return the causes of an outcome, as its message tells them."""
        cleanup = tally.bad_cleanup
        if verdict.word == "ABORTED":
            ends = [*tally.aborted, *tally.problems, *cleanup]
            return cause_lines.counted(cause_lines.causes_of(ends))
        if verdict.word in _WITHOUT_CAUSES:  # but for a leaf whose failure was accepted
            marked = tally.marked if verdict.word == "OK" else []
            return cause_lines.counted(cause_lines.causes_told(marked))
        causes = cause_lines.counted(
            chain(
                cause_lines.causes_of(sub for sub in tally.problems if sub is not tally.cleanup),
                cause_lines.causes_of_faults(self.left_out),
                cause_lines.causes_told([*tally.marked, *tally.left_out]),
                cause_lines.causes_of(tally.casualties),
                cause_lines.causes_of(cleanup),
            )
        )
        told = verdict.reason if verdict.tells_sum else ""
        if told and not self.is_root and (verdict.word == DEGRADED or not causes):
            causes = cause_lines.counted([CauseLine(f"{self.task_name} - {told}"), *causes])
        return causes

    def _message(self, tally: Tally, verdict: Verdict, causes: list[str]) -> str:
        """Return the message for people."""
        title = f"Task {self.task_name} {_WORDS[verdict.status]}"
        if verdict.word in _WITHOUT_CAUSES and not causes:
            return title if self.is_root else ""
        tells_sum = verdict.tells_sum or tally.acts_told
        told = verdict.reason if tells_sum and verdict.word != "ABORTED" else ""
        if verdict.word == DEGRADED:
            return self._message_degraded(_failed_by_kind(tally.problems), causes, summary=told)
        return self._message_failed(f"{title}: {told}." if told else title, causes)

    def _message_degraded(
        self, failed_by_kind: dict[str, list[str]], causes: list[str], *, summary: str = ""
    ) -> str:
        """Return the message of a task that completed in DEGRADED state.

        Args:
            failed_by_kind: Failed devices by kind; they are named when there are no causes.
            causes: Cause lines.
            summary: The sum, for the summary line of a root.
        """
        title = f"Task {self.task_name} completed in DEGRADED state"
        if not causes:
            causes = [
                f"{device}: failed" for devices in failed_by_kind.values() for device in devices
            ]
        return self._message_failed(f"{title}: {summary}." if summary else title, causes)

    def _message_failed(self, title: str, causes: list[str]) -> str:
        """Return ``title`` (of a root only), then a ``Causes:`` block when there are causes.

        Args:
            title: The summary line.
            causes: Cause lines.
        """
        block = cause_lines.causes_block(causes)
        if not self.is_root:
            return block
        return f"{title}\n{block}" if block else title


def _before_rules(tally: Tally) -> tuple[RuleKind, str, Verdict] | None:
    """Decide the cases that no rule changes: nothing to do, aborted, not at its end."""
    total, pending = tally.total, tally.cleanup_is_pending
    if not total and not tally.cleanup_end and not pending:
        reason = "no subtasks"
        verdict = Verdict(status=TaskStatus.COMPLETED, result=ResultCode.OK, reason=reason)
        return "empty", reason, verdict
    if tally.aborted or tally.cleanup_end == "aborted":
        reason = f"{len(tally.aborted)} of {total} aborted"
        verdict = Verdict(status=TaskStatus.ABORTED, result=ResultCode.ABORTED, reason=reason)
        return "aborted", "aborted", verdict
    unfinished = tally.waiting + tally.running
    if not unfinished and not pending:
        return None
    status, code = TaskStatus.IN_PROGRESS, ResultCode.STARTED
    if tally.waiting + len(tally.faults) == total:
        status, code = TaskStatus.QUEUED, ResultCode.QUEUED
    reason = f"{total - unfinished} of {total} ended"
    return "progress", "progress", Verdict(status=status, result=code, reason=reason)


def _completed(verdict: Verdict, tally: Tally, *, of_leaf: bool) -> Verdict:
    """Return the verdict with the acts of operators, and with a clean-up that failed.

    A task is at best DEGRADED where a person accepted a failure, or left out a step.
    """
    if not IS_FINAL[verdict.status]:
        return verdict
    acts, more, health = tally.acts_told, "", verdict.health_state
    if tally.cleanup is not None and tally.cleanup_end:
        told = f"{tally.cleanup.name} {tally.cleanup_end}"
        more = "" if verdict.reason.endswith(told) else f", {told}"
    if not acts and not more:
        return verdict
    if verdict.result == ResultCode.OK and not of_leaf:
        health = DEGRADED
    reason = verdict.reason or f"{tally.succeeded} of {tally.total} succeeded"
    return replace(verdict, reason=f"{reason}{more}{acts}", health_state=health)


def _failed_by_kind(subs: Iterable[SubtaskResult]) -> dict[str, list[str]]:
    """Return the devices that failed, by kind, without duplicates and in order."""
    by_kind: dict[str, dict[str, None]] = {kind: {} for kind in DEVICE_KINDS}
    for sub in subs:
        for device in failed_devices_of(sub):
            by_kind[device_kind(device)][device] = None
    return {kind: list(devices) for kind, devices in by_kind.items()}
