"""The rules of a task that carries no explicit one, tried in this order.

Here is decided which failure makes a task FAILED and which leaves it DEGRADED: that of a PST or PSS
beam, for example (:class:`PstGroupRule`, :class:`SeverityRule`).
"""

from __future__ import annotations

from typing import ClassVar, Final

from taskgrove.commands.aggregation.base import DEGRADED, FAILED, SubtaskResult
from taskgrove.commands.aggregation.rules import AggregationRule, RuleContext, Verdict
from taskgrove.commands.aggregation.tally import (
    Tally,
    device_kind,
    failed_devices_of,
    is_degraded,
)
from taskgrove.control_model import ResultCode, TaskStatus
from taskgrove.events import RuleKind

#: Codes that name a problem, the gravest first: the order settles which of several
#: problems lends its code, so that the order of the subtasks does not.
_TELLING_CODES: Final = (
    ResultCode.FAILED,
    ResultCode.ABORTED,
    ResultCode.NOT_ALLOWED,
    ResultCode.REJECTED,
)


def is_cbf_associated(sub: SubtaskResult) -> bool:
    """Return whether the devices that a subtask reports hold one of the correlator (CBF)."""
    return any(device_kind(device) == "CBF" for device in failed_devices_of(sub))


class CbfRule(AggregationRule):
    """A problem of the correlator dominates all others."""

    kind: ClassVar[RuleKind] = "cbf"
    label = "CBF dominates"

    def decide(self, tally: Tally, context: RuleContext) -> Verdict | None:
        """Return REJECTED when every CBF problem is a rejection, FAILED when one is worse."""
        del context
        problems = [sub for sub in tally.problems if is_cbf_associated(sub)]
        if not problems:
            return None
        failures = [sub for sub in problems if not _is_rejection(sub)]
        if failures:
            status, fitting, health = TaskStatus.FAILED, ResultCode.FAILED, FAILED
        else:
            status, fitting, health = TaskStatus.REJECTED, ResultCode.REJECTED, None
        codes = {
            sub.result_code if sub.result_code in _TELLING_CODES else fitting
            for sub in failures or problems
        }
        result = next(code for code in _TELLING_CODES if code in codes)
        return Verdict(
            status=status,
            result=result,
            health_state=health,
            reason="CBF problem dominates",
        )


class PstGroupRule(AggregationRule):
    """The outcome of a group of PST beams depends on its successful beams."""

    kind: ClassVar[RuleKind] = "pst_group"
    label = "PST group"

    def decide(self, tally: Tally, context: RuleContext) -> Verdict | None:
        """Return DEGRADED when some beams work, FAILED when all fail."""
        if not context.pst_group:
            return None
        status, result, health = TaskStatus.COMPLETED, ResultCode.OK, None
        if tally.unsuccessful:
            result, health = ResultCode.FAILED, DEGRADED
            # A DEGRADED child is no success, but the beams below it did not all fail.
            if not tally.succeeded and not tally.degraded:
                status = TaskStatus.FAILED
                if any(sub.status == TaskStatus.FAILED for sub in tally.problems):
                    health = FAILED
        return Verdict(
            status=status,
            result=result,
            health_state=health,
            reason=f"PST success {tally.succeeded}/{tally.total}{tally.faults_told}",
            tells_sum=True,
        )


class RefusalRule(AggregationRule):
    """Where all was refused and nothing has begun, the task was refused."""

    kind: ClassVar[RuleKind] = "refusal"
    label = "nothing begun"

    def decide(self, tally: Tally, context: RuleContext) -> Verdict | None:
        """Return REJECTED when each subtask was refused, or skipped, before it began."""
        del context
        refused = tally.problems
        if not refused or tally.succeeded:
            return None
        ends = [*refused, *tally.casualties]
        if any(sub.begun or sub.status != TaskStatus.REJECTED for sub in ends):
            return None
        codes = {sub.result_code for sub in refused}
        return Verdict(
            status=TaskStatus.REJECTED,
            result=next((code for code in _REFUSALS if code in codes), ResultCode.REJECTED),
            reason=f"0 of {tally.total} succeeded{tally.faults_told}, nothing was begun",
            severe=True,  # every subtask is a problem: a parent must not soften that
        )


class SeverityRule(AggregationRule):
    """Everything else is FAILED when it is severe, else DEGRADED."""

    kind: ClassVar[RuleKind] = "default"
    label = "default"

    def decide(self, tally: Tally, context: RuleContext) -> Verdict:
        """Return OK without problems, FAILED for severe ones, DEGRADED for others."""
        del context
        counted = f"{tally.succeeded} of {tally.total} succeeded{tally.faults_told}"
        if not tally.unsuccessful:
            return Verdict(status=TaskStatus.COMPLETED, result=ResultCode.OK, reason=counted)
        why = _why_severe(tally)
        if why is not None:
            return Verdict(
                status=TaskStatus.FAILED,
                result=ResultCode.FAILED,
                health_state=FAILED,
                reason=f"{counted}{why}",
                severe=bool(tally.problems or tally.casualties),
            )
        why = ""
        if tally.degraded < len(tally.problems):
            why = f", failed devices are {_kinds_that_failed(tally)} only"
        elif tally.degraded:
            why = f", {tally.degraded} DEGRADED"
        return Verdict(
            status=TaskStatus.COMPLETED,
            result=ResultCode.FAILED,
            health_state=DEGRADED,
            reason=f"{counted}{why}",
            tells_sum=bool(tally.faults),
        )


class LeafRule(AggregationRule):
    """For the tracker of a single leaf: it tells the same as the record of the leaf's parent."""

    kind: ClassVar[RuleKind] = "leaf"
    label = "leaf"

    def decide(self, tally: Tally, context: RuleContext) -> Verdict | None:
        """Return the leaf's own end where it was refused or ran; the default rules do the rest."""
        del context
        ends = [*tally.casualties, *tally.problems, *tally.left_out, *tally.marked]
        if tally.total != 1 or not ends:
            return None
        leaf, code = ends[0], ends[0].result_code
        if leaf.skipped or leaf.status == TaskStatus.REJECTED:
            return Verdict(
                status=TaskStatus.REJECTED,
                result=code if code in _REFUSALS else ResultCode.REJECTED,
                reason="the leaf was refused",
            )
        if leaf.status == TaskStatus.COMPLETED and code is not None:
            return Verdict(
                status=TaskStatus.COMPLETED,
                result=code,
                health_state=leaf.health_state,
                reason="the failure was accepted" if leaf.accepted else _RAN_AND_FAILED,
            )
        return None


#: Codes that name a refusal, the more telling one first.
_REFUSALS: Final = (ResultCode.NOT_ALLOWED, ResultCode.REJECTED)
_RAN_AND_FAILED: Final = "the leaf ran to its end and failed"


DEFAULT_RULES: Final[tuple[AggregationRule, ...]] = (
    CbfRule(),
    PstGroupRule(),
    RefusalRule(),
    SeverityRule(),
)


def _is_rejection(sub: SubtaskResult) -> bool:
    return sub.status == TaskStatus.REJECTED or sub.result_code == ResultCode.REJECTED


def _why_severe(tally: Tally) -> str | None:
    """Return why the problems are severe, as the count goes on; None: they are not."""
    if tally.casualties:
        return f", {len(tally.casualties)} skipped"
    if not tally.succeeded and not tally.degraded:
        return ""  # every step is a problem, but for those that an operator left out
    for sub in tally.problems:
        if is_degraded(sub):
            continue
        if sub.severe:  # the failure of a clean-up is told in any case
            return "" if sub is tally.cleanup else f", {sub.name} is severe"
        kinds = {device_kind(device) for device in failed_devices_of(sub)}
        if not kinds or "OTHER" in kinds:  # a correlator's failure is judged before
            return f"; {sub.name} {'rejected' if _is_rejection(sub) else 'failed'}"
    return None


def _kinds_that_failed(tally: Tally) -> str:
    kinds = {
        device_kind(device)
        for sub in tally.problems
        if not is_degraded(sub)
        for device in failed_devices_of(sub)
    }
    return " and ".join(kind for kind in ("PST", "PSS") if kind in kinds)
