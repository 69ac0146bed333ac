"""The facts for an explanation of a run: its nodes, and the facts of its record.

A :class:`RunStory` is plain facts, from the events of a live run, from a file of events or from
the record; an explanation turns it into words.

Threads: a story belongs to one thread while it is made; it is not changed afterwards.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from taskgrove.control_model import ResultCode, TaskStatus
from taskgrove.events import LeftOut, TaskEvent
from taskgrove.events.device_holder import DeviceHolder
from taskgrove.story.node_wait import RunPause, device_wait_in, pause_in
from taskgrove.story.operator_acts import Asked
from taskgrove.story.run_node import RunNode, RunNodes

#: ``running``: its runner lives; ``final``: it has ended; ``lost``: its runner vanished;
#: ``unknown``: its events end before it does, and nothing tells whether it lives.
RunState: TypeAlias = Literal["running", "final", "lost", "unknown"]
#: The meaning of the short words of verdicts.
_VERDICTS: Final = {"ok": "treat as OK", "note": "a note"}


@dataclass(frozen=True, slots=True)
class OperatorVerdict:
    """The verdict of an operator on a node; it never changes the outcome of record.

    Attributes:
        path: The node.
        verdict: ``ok`` (treat as OK), ``acknowledged`` or ``note``.
        who: The operator.
        why: Why.
        wall_ns: When, UTC, nanoseconds since the epoch.
    """

    path: str
    verdict: str
    who: str = ""
    why: str = ""
    wall_ns: int = 0

    @property
    def words(self) -> str:
        """The verdict in words: ``ok`` means that the node is to be treated as OK."""
        return _VERDICTS.get(self.verdict, self.verdict)


@dataclass(frozen=True, slots=True)
class ResumedBy:
    """A run that resumed the run, or that resumed one which did.

    Attributes:
        run_id: That run.
        of_run_id: The run that it resumed.
        outcome: Its outcome in one word (``failed``, ``running``); None: not known.
    """

    run_id: str
    of_run_id: str
    outcome: str | None = None


@dataclass(frozen=True, slots=True)
class RunnerSign:
    """The signs of the runner of a run that is not over.

    A run whose runner is gone is ``lost``, and has none. A runner that is stopped, or silent, is
    worth a sentence before all that the run waits for: nothing of it goes on meanwhile.

    Attributes:
        host: The machine that it runs on.
        pid: Its process.
        heartbeat_ns: Its last sign of life, UTC, nanoseconds since the epoch.
        is_silent: Whether that is longer ago than it should be.
        is_stopped: Whether its process is stopped by a signal (SIGSTOP, Ctrl-Z of a shell, a
            debugger), until SIGCONT; None: it cannot be seen from here.
    """

    host: str
    pid: int
    heartbeat_ns: int
    is_silent: bool = False
    is_stopped: bool | None = None


@dataclass(frozen=True, slots=True)
class RunStory:
    """The facts of one run, as far as an explanation needs them.

    Attributes:
        run_id: The run.
        command: Its command, or the name of its root.
        state: Whether it runs, has ended, or lost its runner.
        nodes: Its nodes, parents before children, children in composed order.
        now_ns: When it is looked at, UTC, nanoseconds since the epoch.
        state_note: The finding of recovery, in words; empty where nothing was written.
        last_ns: The last sign of life of the whole run; None takes that of its nodes.
        verdicts: The verdicts of operators; empty takes them from the nodes' notes.
        message: The message of its outcome.
        status: Its status, None takes the root's.
        result_code: Its result code, None takes the root's.
        health_state: ``DEGRADED``, ``FAILED`` or None; counts where ``status`` is given.
        map_file: The map, or of an analysis the configuration, that it was composed from, to
            name it in advice; None: not known.
        can_resume: Whether ``taskgrove resume`` can go on with it.
        recorded: Whether command lines in advice can show it from the record.
        options: Further options of command lines in advice, such as ``--db FILE``, in words.
        resumed_by: The runs that resumed it, and that resumed those, as they began.
        resume_options: Further options of ``taskgrove resume``, such as ``--manager P:C``.
        runner: The signs of its runner while it runs; None: not recorded, or over.
        asked: The requests of operators on record, with their answers; events alone tell only of
            those that took effect.
    """

    run_id: str
    command: str
    state: RunState
    nodes: Sequence[RunNode]
    now_ns: int
    state_note: str = ""
    last_ns: int | None = None
    verdicts: Sequence[OperatorVerdict] = ()
    message: str = ""
    status: TaskStatus | None = None
    result_code: ResultCode | None = None
    health_state: str | None = None
    map_file: str | None = None
    can_resume: bool = False
    recorded: bool = False
    options: Sequence[str] = ()
    resume_options: Sequence[str] = ()
    resumed_by: Sequence[ResumedBy] = ()
    runner: RunnerSign | None = None
    asked: Sequence[Asked] = ()

    @property
    def root(self) -> RunNode | None:
        """The root of the tree, or None when nothing is known of it."""
        return self.nodes[0] if self.nodes else None

    @property
    def pause(self) -> RunPause | None:
        """Its pause, while it runs; None: it is not paused."""
        root = self.root
        return pause_in(root.notes) if root is not None and self.state == "running" else None

    @property
    def device_wait(self) -> DeviceHolder | None:
        """The run that it waits for before its first step, while it lives; None: it does not."""
        root = self.root
        return device_wait_in(root.notes) if root is not None and self.state == "running" else None

    @property
    def left_out(self) -> tuple[LeftOut, ...]:
        """The steps that were left out of it: known as soon as it is composed."""
        composed = [node.composed for node in self.nodes if node.composed is not None]
        return tuple(item for detail in composed for item in detail.left_out)


def story_of_facts(
    facts: RunNodes, *, run_id: str, now_ns: int, state: RunState | None = None
) -> RunStory:
    """Return the story of a run from the facts of its events.

    Args:
        facts: The facts that its events tell.
        run_id: The run.
        now_ns: The instant of the story, UTC, nanoseconds since the epoch.
        state: The state of the run; None: it runs until its root has ended.
    """
    root = facts.root
    if state is None:
        state = "final" if root is not None and root.is_final else "running"
    return RunStory(
        run_id=run_id,
        command="" if root is None else root.name,
        state=state,
        nodes=tuple(facts.walk()),
        now_ns=now_ns,
        last_ns=facts.last_ns,
    )


def story_of_events(events: Iterable[TaskEvent], *, now_ns: int) -> RunStory:
    """Return the story of a run from its events, in any order; of several runs the first.

    Args:
        events: The events of one run.
        now_ns: The instant of the story, UTC, nanoseconds since the epoch.
    """
    ordered = sorted(events, key=lambda event: event.sequence)
    run_id = ordered[0].run_id if ordered else ""
    facts = RunNodes(event for event in ordered if event.run_id == run_id)
    return story_of_facts(facts, run_id=run_id, now_ns=now_ns)
