"""What recovery will do with each leaf of a run whose runner was lost; decided before it begins.

An end on record is kept. Work that was recorded with an id is followed: the device, or the
process, knows how it ended. A leaf that was in flight without an id is FAILED, with what is not
known as its cause. A leaf that never began is ABORTED; recovery starts nothing.

Everything here is pure, but for a look at whether a process lives.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from taskgrove.commands.prior import Prior, PriorEnd, PriorWork
from taskgrove.commands.replay import rebuild, recorded_prior
from taskgrove.commands.task import BaseTask, LeafTask, Task, TaskExecutionType
from taskgrove.control_model import ResultCode, TaskStatus
from taskgrove.errors import UsageError
from taskgrove.events import Cause, NoteDetail
from taskgrove.recovery.doubts import DOUBT, doubt_of_lost
from taskgrove.story.run_node import RunNode, RunNodes

#: What executes work that runs outside under an id of this kind.
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


@dataclass(frozen=True, slots=True)
class RecoveryPlan:
    """What recovery will do.

    Attributes:
        run_id: The run.
        root: Its tree, rebuilt from the record, not yet run.
        nodes: What its record says of each node, by path.
        reason: Why nothing is started, as words: when the runner was lost.
        prior: What is known of its nodes, as the executor takes it.
        kept: Leaves whose end is on record.
        followed: Leaves whose work runs, or ran, outside: their true ends are asked for.
        unknown: Leaves that were in flight without an id: what became of them is not known.
        not_started: Leaves that never began.
    """

    run_id: str
    root: Task
    nodes: Mapping[str, RunNode]
    reason: str
    prior: dict[str, Prior] = field(default_factory=dict)
    kept: tuple[str, ...] = ()
    followed: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    not_started: tuple[str, ...] = ()

    @property
    def kinds(self) -> dict[TaskExecutionType, str]:
        """The kinds of leaves to follow, each with the path of one of them."""
        found: dict[TaskExecutionType, str] = {}
        for path in self.followed:
            node = self.root.find(path)
            found.setdefault(node.task_type, path)
        return found

    @property
    def line(self) -> str:
        """The plan in one line, for people."""
        parts = [
            (self.kept, "ended on record"),
            (self.followed, "followed to their end"),
            (self.unknown, "in flight, their fate not known"),
            (self.not_started, "not started"),
        ]
        told = [f"{len(paths)} {words}" for paths, words in parts if paths]
        return ", ".join(told) or "nothing is known of any leaf"


def plan_recovery(facts: RunNodes, *, run_id: str, lost_at: str) -> RecoveryPlan:
    """Return what recovery will do with a run.

    Args:
        facts: What its events say.
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
    reason = f"the runner of this run was lost at {lost_at}"
    plan = _Sorting(facts, root, reason)
    plan.sort()
    return RecoveryPlan(
        run_id,
        root,
        facts.nodes,
        reason,
        plan.prior,
        tuple(plan.kept),
        tuple(plan.followed),
        tuple(plan.unknown),
        tuple(plan.not_started),
    )


def forget_work(plan: RecoveryPlan, path: str, why: str) -> None:
    """Give up following a leaf: its end is FAILED, and says that it is not known.

    Args:
        plan: The plan; it is changed.
        path: A leaf that is followed.
        why: Why it cannot be followed.
    """
    work = plan.prior[path]
    assert isinstance(work, PriorWork)
    text = f"{why}; how {work.outside_kind} {work.outside_id} ended is not known"
    plan.prior[path] = _lost(text, plan.nodes[path], "it may still run, or have run")


class _Sorting:
    def __init__(self, facts: RunNodes, root: Task, reason: str) -> None:
        self._facts = facts
        self._root = root
        self._reason = reason
        self.prior: dict[str, Prior] = {}
        self.kept: list[str] = []
        self.followed: list[str] = []
        self.unknown: list[str] = []
        self.not_started: list[str] = []

    def sort(self) -> None:
        next_in_line = set(_next_in_line(self._root, self._facts))
        for path, node in self._root.walk():
            facts = self._facts.nodes.get(path)
            if isinstance(node, Task):
                known = None if facts is None else recorded_prior(facts)
                if known is not None:
                    self.prior[path] = known
                continue
            assert isinstance(node, LeafTask)
            node.retries = 0  # nothing is started again
            self._leaf(path, node, facts, may_have_begun=path in next_in_line)

    def _leaf(
        self, path: str, leaf: LeafTask, facts: RunNode | None, *, may_have_begun: bool
    ) -> None:
        known = None if facts is None else recorded_prior(facts)
        if isinstance(known, PriorEnd):
            self.kept.append(path)
            self.prior[path] = known
        elif isinstance(known, PriorWork) and known.outside_id:
            self.followed.append(path)
            self.prior[path] = known
        elif facts is not None and known is not None:
            self.unknown.append(path)
            text = f"{_IN_FLIGHT[leaf.task_type]}; {self._reason}, and how it ended is not known"
            self.prior[path] = _lost(text, facts, doubt_of_lost(leaf, "it began"))
        else:
            self.not_started.append(path)
            if may_have_begun:
                text = f"not started, as far as the record tells: {self._reason}; a start in its"
                text += " last moments would not be on record"
                self.prior[path] = PriorEnd(
                    TaskStatus.ABORTED,
                    (ResultCode.ABORTED, text),
                    doubt_of_lost(leaf, "it was next in line"),
                    {"cause": Cause(kind="never_begun")},
                    facts=NoteDetail(DOUBT),
                )


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
        known = facts.nodes.get(path)
        if known is not None and known.is_final:
            continue
        if not isinstance(node, Task):
            if known is not None:
                yield path
            continue
        children = [(f"{path}/{child.name}", child) for child in node.subtasks]
        if node.task_type is TaskExecutionType.SEQUENTIAL:
            children = [item for item in children if not _is_final(facts, item[0])][:1]
        still_open.extend(children)


def _is_final(facts: RunNodes, path: str) -> bool:
    known = facts.nodes.get(path)
    return known is not None and known.is_final
