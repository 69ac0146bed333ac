"""An explanation of a run as data: every surface renders it, none makes its own."""

from __future__ import annotations

from typing import Final

import msgspec

from taskgrove.events import Cause, LeftOut
from taskgrove.story.node_state import NodeState
from taskgrove.story.operator_acts import OperatorAct
from taskgrove.story.run_story import OperatorVerdict, ResumedBy, RunState
from taskgrove.view.tree_lines import TreeLine
from taskgrove.view.why.actions import Action
from taskgrove.view.why.findings import Casualty
from taskgrove.view.why.held_steps import HeldSteps
from taskgrove.view.why.living_run import Wait

_SHOWN_AS: Final[dict[RunState, NodeState]] = {
    "running": "running",
    "lost": "failed",
    "unknown": "not found",
}


class FirstFailure(msgspec.Struct, frozen=True):
    """The leaf that failed first by itself; of a command that failed, the first that decided it.

    Attributes:
        path: Its path.
        device: Its device, or None.
        command_name: Its command or method, or None.
        kind: The kind of its cause (the values of ``CauseKind``).
        cause: The cause, as it was told.
        facts: The cause as data.
        wall_ns: When it ended, UTC, nanoseconds since the epoch, or None.
        after_s: How long after the run began, in seconds, or None.
        attempt_count: How often it was tried.
    """

    path: str
    device: str | None
    command_name: str | None
    kind: str
    cause: str
    facts: Cause
    wall_ns: int | None
    after_s: float | None
    attempt_count: int


class CauseGroup(msgspec.Struct, frozen=True):
    """Failed leaves that have the same cause.

    Attributes:
        kind: The kind of the cause (the values of ``CauseKind``).
        cause: The cause, as the first of them told it.
        paths: The leaves, in the order in which they ended.
        devices: Their devices, each once.
        told: The words of each of them, where they differ; else empty.
    """

    kind: str
    cause: str
    paths: tuple[str, ...]
    devices: tuple[str, ...]
    told: tuple[str, ...] = ()

    @property
    def count(self) -> int:
        """How many leaves there are."""
        return len(self.paths)


class PauseFacts(msgspec.Struct, frozen=True):
    """The pause of a living run.

    Attributes:
        since_ns: Since when, UTC, nanoseconds since the epoch.
        who: Who asked for it, as that person says.
        why: The reason, in words.
        user: The user of the operating system that asked.
        host: The machine that it was asked on.
    """

    since_ns: int
    who: str = ""
    why: str = ""
    user: str = ""
    host: str = ""


class Explanation(msgspec.Struct, frozen=True):
    """A run in words.

    Attributes:
        run_id: The run.
        command: Its command.
        state: Whether it runs, has ended, or lost its runner.
        outcome: Its outcome in one word, as every tree shows it.
        sentence: The first line: the most important facts, in less than 300 characters.
        also: Clauses that did not fit into the first line.
        first: The leaf that failed first, or None when none failed by itself.
        blocked: Paths of the uppermost steps that were not run because of it.
        next_step: The next step, as a clause; empty when there is none.
        actions: The same as data, in order.
        see_also: Files and commands that tell more of the failures.
        groups: The failed leaves by their cause, in the order of their first.
        casualties: Leaves that did not fail by themselves, in the order of the tree.
        waiting: Leaves that a living run waits for; the one that was silent longest comes first.
        last_sign_of_life_ns: The last sign of life of the run, UTC, nanoseconds since the epoch.
        now_ns: When it was looked at, UTC, nanoseconds since the epoch.
        leaf_count: How many leaves it has.
        tree: The shortest tree that proves it.
        verdicts: Verdicts of operators, oldest first.
        resumed_by: The runs that resumed it, and that resumed those, as they began.
        left_out: Steps that were left out of it, and why.
        held: Steps of a living run that failed and wait: for a decision, for their group, or for
            their next attempt; those that wait for a decision come first.
        parked: Steps that the pause keeps from starting.
        pause: The pause of a living run, or None.
        choices: What else can be done about a run that is paused, waits, or was lost.
        acts: The acts of operators on it, in the order of their effects; of those on record also
            the ones that were refused.
    """

    run_id: str
    command: str
    state: RunState
    outcome: NodeState
    sentence: str
    also: tuple[str, ...]
    first: FirstFailure | None
    blocked: tuple[str, ...]
    next_step: str
    actions: tuple[Action, ...]
    see_also: tuple[Action, ...]
    groups: tuple[CauseGroup, ...]
    casualties: tuple[Casualty, ...]
    waiting: tuple[Wait, ...]
    last_sign_of_life_ns: int | None
    now_ns: int
    leaf_count: int
    tree: tuple[TreeLine, ...]
    verdicts: tuple[OperatorVerdict, ...] = ()
    resumed_by: tuple[ResumedBy, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    held: tuple[HeldSteps, ...] = ()
    parked: tuple[str, ...] = ()
    pause: PauseFacts | None = None
    choices: tuple[Action, ...] = ()
    acts: tuple[OperatorAct, ...] = ()

    @property
    def shown_as(self) -> NodeState:
        """The state in whose colour the sentence is shown."""
        if self.state == "running" and any(group.how == "held" for group in self.held):
            return "held"
        return _SHOWN_AS.get(self.state, self.outcome)
