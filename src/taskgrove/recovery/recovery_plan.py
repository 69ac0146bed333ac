"""The plan of a recovery: for each leaf of a run whose runner was lost, what is done with it.

An end on record is kept. Work that was recorded with an id is followed: the device, or the
process, knows how it ended. A leaf that was in flight without an id becomes FAILED, with a cause
that says that its end is not known. A leaf that waited for a decision becomes FAILED, too: its
failure stands. A leaf that never began becomes ABORTED; a recovery starts nothing. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from taskgrove.commands.prior import Prior, PriorEnd, PriorWork
from taskgrove.commands.replay import rebuild, recorded_prior
from taskgrove.commands.task import BaseTask, LeafTask, Task, TaskExecutionType
from taskgrove.control_model import ResultCode, TaskStatus
from taskgrove.errors import UsageError
from taskgrove.events import Cause, LeftOut, NoteDetail, SteeringRequest
from taskgrove.recovery.doubts import DOUBT, MAY_HAVE_BEGUN, WAS_HELD, doubt_of_lost
from taskgrove.story.node_note import NodeNote
from taskgrove.story.node_wait import NodeWait, Waiting, is_about_to_retry, pause_in
from taskgrove.story.run_node import RunNode, RunNodes

#: The kind of leaf whose work runs outside under an id of this kind.
KIND_OF_OUTSIDE: Final = {
    "command": TaskExecutionType.DEVICE,
    "process": TaskExecutionType.ANALYSIS,
}

_IN_FLIGHT: Final = {
    TaskExecutionType.INTERNAL: "it was running in the process that was lost",
    TaskExecutionType.DEVICE: "its device was being called, but the id of the command is not on"
    " record: the device may still execute it",
    TaskExecutionType.ANALYSIS: "it was being started, but its process is not on record: it may"
    " still run",
}

#: The same of the steps on an attribute.
_STEPS_IN_FLIGHT: Final = {
    "write": "its attribute was being written: the device may have taken the value",
    "wait": "it was waiting, and only reads",
    "expect": "it was looking, and only reads",
}

#: How a leaf is treated.
Fate: TypeAlias = Literal["kept", "followed", "held", "unknown", "not_started", "clean_up"]
_WAITED: Final[dict[Waiting, str]] = {
    "held": "an operator's decision",
    "undecided": "the ends of its group",
    "delayed": "its next attempt",
    "parked": "the end of a pause",
}
_WORDS: Final[dict[Fate, str]] = {
    "kept": "ended on record",
    "followed": "followed to their end",
    "held": "waiting for a decision, their failures stand",
    "unknown": "in flight, their fate not known",
    "not_started": "not started",
    "clean_up": "of the clean-up, which runs now",
}


@dataclass(frozen=True, slots=True)
class RecoveryPlan:
    """The plan of a recovery.

    Attributes:
        run_id: The run.
        root: Its tree, rebuilt from the record, not yet run.
        nodes: Its nodes as the record has them, by path.
        reason: Why nothing is started, as words: when the runner was lost.
        prior: The recorded ends and works of its nodes, as the executor takes them.
        fates: How each leaf is treated, by path. ``kept``: its end is on record; ``followed``:
            its work runs, or ran, outside, and its end is asked for; ``held``: it waited for a
            decision, and its failure stands; ``unknown``: it was in flight without an id;
            ``not_started``: it never began; ``clean_up``: the same, and the recovery runs it.
    """

    run_id: str
    root: Task
    nodes: Mapping[str, RunNode]
    reason: str
    prior: dict[str, Prior] = field(default_factory=dict)
    fates: dict[str, Fate] = field(default_factory=dict)

    def of(self, fate: Fate) -> tuple[str, ...]:
        """Return the leaves of one fate, by path."""
        return tuple(path for path, found in self.fates.items() if found == fate)

    @property
    def kinds(self) -> dict[TaskExecutionType, str]:
        """The kinds of leaves to follow, each with the path of one of them."""
        found: dict[TaskExecutionType, str] = {}
        for path in self.of("followed"):
            found.setdefault(self.root.find(path).task_type, path)
        return found

    @property
    def line(self) -> str:
        """The plan in one line, for people."""
        told = [f"{len(self.of(fate))} {words}" for fate, words in _WORDS.items() if self.of(fate)]
        return ", ".join(told) or "nothing is known of any leaf"

    def forget(self, path: str, why: str) -> None:
        """Give up following a leaf: its end is FAILED, and says that the true end is not known.

        Args:
            path: A leaf that is followed.
            why: Why it cannot be followed.
        """
        work = self.prior[path]
        assert isinstance(work, PriorWork)
        text = f"{why}; how {work.outside_kind} {work.outside_id} ended is not known"
        node = self.nodes[path]
        self.prior[path] = _lost(text, node, "it may still run, or have run", node.outside_id)


def plan_recovery(
    facts: RunNodes,
    *,
    run_id: str,
    lost_at: str,
    lost_ns: int | None = None,
    asked: Iterable[SteeringRequest] = (),
) -> RecoveryPlan:
    """Return the plan of a recovery.

    Args:
        facts: The nodes of the run, from its events.
        run_id: The run.
        lost_at: When its runner was last heard of, as words.
        lost_ns: Until when its runner may have lived, UTC, nanoseconds since the epoch, or None.
        asked: The requests of operators that the runner has not answered: it may have begun to
            carry them out.

    Raises:
        UsageError: Nothing of its tree is on record.
    """
    root = rebuild(facts).root
    if root is None:
        raise UsageError(
            f"run {run_id} cannot be recovered: nothing but its beginning is on record",
            hint="whether anything was started is not known; look at the devices",
        )
    plan = RecoveryPlan(run_id, root, facts.nodes, f"the runner of this run was lost at {lost_at}")
    last = _last_moments(facts, lost_ns, asked)
    next_in_line = set(_next_in_line(root, facts, last))
    for path, node in root.walk():
        known_node = facts.nodes.get(path)
        known = None if known_node is None else recorded_prior(known_node)
        if isinstance(node, LeafTask):
            node.retries = 0  # nothing is started again
            known = _decide(plan, path, node, known, last, may_have_begun=path in next_in_line)
        if known is not None:
            plan.prior[path] = known
    return plan


class _LastMoments(NamedTuple):
    """What may have happened in the last moments of a runner, and is not on record.

    Attributes:
        is_paused: Whether the run certainly was paused.
        retries: Whether held leaves may have been tried again.
        lost_ns: Until when the runner may have lived, or None.
    """

    is_paused: bool
    retries: bool
    lost_ns: int | None

    def may_have_begun(self, wait: NodeWait) -> bool:
        """Return whether an attempt may have begun for which a node waited."""
        if wait.how == "parked":
            return not self.is_paused
        if wait.how == "delayed":
            until_ns, lost_ns = wait.until_ns, self.lost_ns
            return self.retries or None in (until_ns, lost_ns) or until_ns <= lost_ns  # type: ignore[operator]
        return self.retries


def _last_moments(
    facts: RunNodes, lost_ns: int | None, asked: Iterable[SteeringRequest]
) -> _LastMoments:
    verbs = {request.verb for request in asked}
    root = facts.root
    pause = None if root is None else pause_in(root.notes)
    return _LastMoments(pause is not None and "continue" not in verbs, "retry" in verbs, lost_ns)


def _decide(
    plan: RecoveryPlan,
    path: str,
    leaf: LeafTask,
    known: Prior | None,
    last: _LastMoments,
    *,
    may_have_begun: bool,
) -> Prior | None:
    """Decide the fate of a leaf, and return its end or its work."""
    if isinstance(known, PriorEnd):
        plan.fates[path] = "kept"
        return known
    node = plan.nodes.get(path)
    wait = None if node is None else node.wait
    if node is not None and wait is not None and wait.failure is not None:
        plan.fates[path] = "held"  # its id is that of an attempt that has ended
        return _stands(leaf, node, wait, wait.failure, may_have_begun=last.may_have_begun(wait))
    is_new = node is not None and is_about_to_retry(
        node.notes, node.attempt, node.attempt_started_ns
    )
    if isinstance(known, PriorWork) and known.outside_id and not is_new:
        plan.fates[path] = "followed"
        return known
    if known is not None:
        plan.fates[path] = "unknown"
        text = f"{_in_flight(leaf)}; {plan.reason}, and how it ended is not known"
        outside_id = None if is_new else plan.nodes[path].outside_id
        return _lost(text, plan.nodes[path], doubt_of_lost(leaf, "it began"), outside_id)
    plan.fates[path] = "not_started"
    return _not_started(plan, path, leaf, may_have_begun=may_have_begun)


def _in_flight(leaf: LeafTask) -> str:
    """Return what a leaf was doing when the run lost its runner."""
    return _STEPS_IN_FLIGHT.get(leaf.step, _IN_FLIGHT[leaf.task_type])


def _not_started(
    plan: RecoveryPlan, path: str, leaf: LeafTask, *, may_have_begun: bool
) -> PriorEnd | None:
    """Return the end of a leaf of which nothing was heard; None: it has none yet."""
    asked = _skip_of(plan.nodes, path)
    if asked is not None:
        return _left_out(leaf, path, asked)
    if not may_have_begun:
        return None
    text = f"not started according to the record: {plan.reason}; a start in its last moments"
    text += " would not be on record"
    return PriorEnd(
        TaskStatus.ABORTED,
        (ResultCode.ABORTED, text),
        doubt_of_lost(leaf, "it was next in line"),
        {"cause": Cause(kind="never_begun")},
        facts=NoteDetail(DOUBT),
    )


def _skip_of(nodes: Mapping[str, RunNode], path: str) -> SteeringRequest | None:
    """Return the request to leave out a node, or one above it, whose turn had not come."""
    part = path
    while part:
        notes = nodes[part].notes if part in nodes else ()
        asked = (note.request for note in notes if note.topic == "asked")
        found = next((it for it in asked if it is not None and it.verb == "skip"), None)
        if found is not None:
            return found
        part = part.rpartition("/")[0]
    return None


def _left_out(leaf: LeafTask, path: str, asked: SteeringRequest) -> PriorEnd:
    """Return the end of a leaf that an operator left out: the runner had said that it would be."""
    reason = f"left out by {asked.who or asked.user}"
    told = LeftOut(leaf.name, leaf.device_name, "operator", reason, path, asked.why)
    message = f"{reason}: {asked.why}" if asked.why else reason
    fields = {"skipped": True, "left_out": (told,), "request": asked}
    return PriorEnd(TaskStatus.REJECTED, (ResultCode.REJECTED, message), fields=fields)


def _stands(
    leaf: LeafTask, node: RunNode, wait: NodeWait, failure: NodeNote, *, may_have_begun: bool
) -> PriorEnd:
    """Return the end of a leaf that waited for a decision: its failure stands."""
    fields: dict[str, Any] = {"cause": failure.cause}
    if node.attempt > 1:
        fields["attempt"] = node.attempt
    text = f"was held: it waited for {_WAITED[wait.how]} when the runner was lost"
    data: dict[str, str] = {"waiting": wait.how}
    if may_have_begun:
        data[MAY_HAVE_BEGUN] = "yes"
        text = f"was held; {doubt_of_lost(leaf, 'its next attempt was about to begin')}"
    facts = NoteDetail(WAS_HELD, data, failure.cause)
    result = (ResultCode.FAILED, failure.words)
    return PriorEnd(TaskStatus.FAILED, result, text, fields, facts=facts)


def _lost(text: str, node: RunNode, doubt: str, outside_id: str | None) -> PriorEnd:
    """Return the end of a leaf that was at work when the runner was lost."""
    cause = Cause(
        kind="lost",
        outside_id=outside_id,
        last_answer_ns=node.last_ns,
        device=next(iter(node.devices), None),
    )
    fields: dict[str, Any] = {"cause": cause}
    if node.attempt > 1:
        fields["attempt"] = node.attempt
    result = (ResultCode.FAILED, text)
    return PriorEnd(TaskStatus.FAILED, result, doubt, fields, facts=NoteDetail(DOUBT))


def _next_in_line(root: Task, facts: RunNodes, last: _LastMoments) -> Iterator[str]:
    """Yield the leaves that could have been started when the record breaks off."""
    still_open: list[tuple[str, BaseTask]] = [(root.path, root)]
    while still_open:
        path, node = still_open.pop()
        if _is_final(facts, path) or _is_kept_back(facts, path, last):
            continue
        if not isinstance(node, Task):
            if path in facts.nodes:
                yield path
            continue
        children = [(f"{path}/{child.name}", child) for child in node.subtasks]
        if node.task_type is TaskExecutionType.SEQUENTIAL:
            children = [item for item in children if not _is_final(facts, item[0])][:1]
        still_open.extend(children)


def _is_kept_back(facts: RunNodes, path: str, last: _LastMoments) -> bool:
    """Return whether a pause certainly kept a node from starting."""
    known = facts.nodes.get(path)
    wait = None if known is None else known.wait
    return wait is not None and wait.failure is None and not last.may_have_begun(wait)


def _is_final(facts: RunNodes, path: str) -> bool:
    known = facts.nodes.get(path)
    return known is not None and known.is_final
