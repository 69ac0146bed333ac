"""The plan of a recovery: for each leaf of a run whose runner was lost, what is done with it.

An end on record is kept. Work that was recorded with an id is followed: the device, or the
process, knows how it ended. A leaf that was in flight without an id becomes FAILED, with a cause
that says that its end is not known. A leaf that waited for a decision becomes FAILED, too: its
failure stands. A leaf that never began becomes ABORTED; a recovery starts nothing. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias

from taskgrove.commands.prior import Prior, PriorEnd, PriorWork
from taskgrove.commands.replay import rebuild, recorded_prior
from taskgrove.commands.task import BaseTask, LeafTask, Task, TaskExecutionType
from taskgrove.control_model import ResultCode, TaskStatus
from taskgrove.errors import UsageError
from taskgrove.events import Cause, NoteDetail
from taskgrove.recovery.doubts import DOUBT, doubt_of_lost
from taskgrove.story.node_note import NodeNote
from taskgrove.story.node_wait import NodeWait, Waiting
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

#: Topic of the note on a leaf that waited for a decision when the runner was lost.
_WAS_HELD: Final = "was-held"
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
        self.prior[path] = _lost(text, self.nodes[path], "it may still run, or have run")


def plan_recovery(facts: RunNodes, *, run_id: str, lost_at: str) -> RecoveryPlan:
    """Return the plan of a recovery.

    Args:
        facts: The nodes of the run, from its events.
        run_id: The run.
        lost_at: When its runner was last heard of, as words.

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
    next_in_line = set(_next_in_line(root, facts))
    for path, node in root.walk():
        known_node = facts.nodes.get(path)
        known = None if known_node is None else recorded_prior(known_node)
        if isinstance(node, LeafTask):
            node.retries = 0  # nothing is started again
            known = _decide(plan, path, node, known, may_have_begun=path in next_in_line)
        if known is not None:
            plan.prior[path] = known
    return plan


def _decide(
    plan: RecoveryPlan, path: str, leaf: LeafTask, known: Prior | None, *, may_have_begun: bool
) -> Prior | None:
    """Decide the fate of a leaf, and return its end or its work."""
    if isinstance(known, PriorEnd):
        plan.fates[path] = "kept"
        return known
    node = plan.nodes.get(path)
    wait = None if node is None else node.wait
    if node is not None and wait is not None and wait.failure is not None:
        plan.fates[path] = "held"  # its id is that of an attempt that has ended
        return _stands(node, wait, wait.failure)
    if isinstance(known, PriorWork) and known.outside_id:
        plan.fates[path] = "followed"
        return known
    if known is not None:
        plan.fates[path] = "unknown"
        text = f"{_IN_FLIGHT[leaf.task_type]}; {plan.reason}, and how it ended is not known"
        return _lost(text, plan.nodes[path], doubt_of_lost(leaf, "it began"))
    plan.fates[path] = "not_started"
    if not may_have_begun or wait is not None:  # a pause kept it from starting
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


def _stands(node: RunNode, wait: NodeWait, failure: NodeNote) -> PriorEnd:
    """Return the end of a leaf that waited for a decision: its failure stands."""
    fields: dict[str, Any] = {"cause": failure.cause}
    if node.attempt > 1:
        fields["attempt"] = node.attempt
    text = f"was held: it waited for {_WAITED[wait.how]} when the runner was lost"
    facts = NoteDetail(_WAS_HELD, {"waiting": wait.how}, failure.cause)
    result = (ResultCode.FAILED, failure.text)
    return PriorEnd(TaskStatus.FAILED, result, text, fields, facts=facts)


def _lost(text: str, node: RunNode, doubt: str) -> PriorEnd:
    """Return the end of a leaf that was at work when the runner was lost."""
    cause = Cause(
        kind="lost",
        outside_id=node.outside_id,
        last_answer_ns=node.last_ns,
        device=next(iter(node.devices), None),
    )
    fields: dict[str, Any] = {"cause": cause}
    if node.attempt > 1:
        fields["attempt"] = node.attempt
    result = (ResultCode.FAILED, text)
    return PriorEnd(TaskStatus.FAILED, result, doubt, fields, facts=NoteDetail(DOUBT))


def _next_in_line(root: Task, facts: RunNodes) -> Iterator[str]:
    """Yield the leaves that could have been started when the record breaks off."""
    still_open: list[tuple[str, BaseTask]] = [(root.path, root)]
    while still_open:
        path, node = still_open.pop()
        if _is_final(facts, path):
            continue
        if not isinstance(node, Task):
            if path in facts.nodes:
                yield path
            continue
        children = [(f"{path}/{child.name}", child) for child in node.subtasks]
        if node.task_type is TaskExecutionType.SEQUENTIAL:
            children = [item for item in children if not _is_final(facts, item[0])][:1]
        still_open.extend(children)


def _is_final(facts: RunNodes, path: str) -> bool:
    known = facts.nodes.get(path)
    return known is not None and known.is_final
