"""Steps that wait for an operator: parked by a pause, or failed with an open decision.

Only such steps have an entry here. A leaf that was not reached, is under way or has ended has
none, whatever the size of the tree.

Threads: any thread may call any method. The lock of the run guards the entries, their stages, and
the marks; nothing foreign is called under it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from enum import Enum, auto
from typing import Final

from taskgrove.clock import SYSTEM_CLOCK
from taskgrove.commands.execution.attempts import Attempt, unpacked
from taskgrove.commands.execution.composite import Composite
from taskgrove.commands.execution.leaf_run import LeafRun
from taskgrove.commands.task import BaseTask
from taskgrove.events.steering_request import SteeringRequest
from taskgrove.foreign_code import LOGGING
from taskgrove.loops.loop import TimerEntry
from taskgrove.moves import IGNORE, REFUSE, table_of

_LOGGER = logging.getLogger(__name__)


class Stage(Enum):
    """Where a step is in the schedule."""

    UNBEGUN = auto()
    """Its turn has not come, or nothing of it runs yet."""
    PARKED = auto()
    """Its turn has come, and a pause keeps it from starting."""
    ACTIVE = auto()
    """An attempt is under way, or has just ended."""
    DELAYED = auto()
    """The attempt failed; the next one comes after a delay, or after the pause of the run."""
    UNDECIDED = auto()
    """The last attempt failed; the rule of its group is judged when all siblings have ended."""
    HELD = auto()
    """The last attempt failed; an operator decides."""
    ENDED = auto()
    """The leaf has its end."""


class StageRequest(Enum):
    """The requests to a step."""

    PARK = auto()
    """A pause keeps it from starting."""
    START = auto()
    """Nothing keeps it from starting any more."""
    DELAY = auto()
    """A further attempt comes later."""
    DOUBT = auto()
    """Its last attempt failed in a group that is judged as a whole."""
    HOLD = auto()
    """Its last attempt failed."""
    MISS = auto()
    """The rule of its group is missed."""
    STAND = auto()
    """The failure stands: the rule of the group is met, or a limit expired."""
    RETRY = auto()
    """An operator wants a further attempt."""
    ACCEPT = auto()
    """An operator accepts the failure."""
    FAIL = auto()
    """An operator lets the failure stand."""
    SKIP = auto()
    """An operator wants the later steps to run all the same, or leaves the step out."""
    ABORT = auto()
    """The run is aborted."""


UNBEGUN, PARKED, ACTIVE, DELAYED, UNDECIDED, HELD, ENDED = Stage
PARK, START, DELAY, DOUBT, HOLD, MISS, STAND, RETRY, ACCEPT, FAIL, SKIP, ABORT = StageRequest
_REFUSED: Final = dict.fromkeys(StageRequest, REFUSE)
_LATE: Final = dict.fromkeys(StageRequest, IGNORE)
#: A request may come just after another one, or after a timer: the first one counts.
_OVERTAKEN: Final = dict.fromkeys((START, MISS, STAND, RETRY, ACCEPT, FAIL, SKIP, ABORT), IGNORE)
_DECIDED: Final = dict.fromkeys((STAND, ACCEPT, FAIL, SKIP, ABORT), ENDED)

# fmt: off
#: The moves of a step. An attempt that is under way is aborted by its own machine
#: (``leaf_machine.py``).
MOVES: Final = table_of(Stage, StageRequest, {
    UNBEGUN: {**_REFUSED, **_OVERTAKEN, PARK: PARKED, START: ACTIVE, SKIP: ENDED},
    PARKED: {**_REFUSED, **_OVERTAKEN, PARK: IGNORE, START: ACTIVE, SKIP: ENDED},
    ACTIVE: {**_REFUSED, **_OVERTAKEN, DELAY: DELAYED, DOUBT: UNDECIDED, HOLD: HELD},
    DELAYED: {**_REFUSED, **_OVERTAKEN, **_DECIDED, DELAY: IGNORE, START: ACTIVE, RETRY: ACTIVE},
    UNDECIDED: {**_REFUSED, **_OVERTAKEN, **_DECIDED, MISS: HELD, DELAY: DELAYED, RETRY: ACTIVE},
    HELD: {**_REFUSED, **_OVERTAKEN, **_DECIDED, DELAY: DELAYED, RETRY: ACTIVE},
    ENDED: _LATE,
})
# fmt: on
#: The stages of steps that have an entry.
_WAITS: Final = frozenset((PARKED, DELAYED, UNDECIDED, HELD))
#: The stages in which a decision of an operator is open.
OPEN: Final = frozenset((DELAYED, UNDECIDED, HELD))


class WaitingStep:
    """A step that waits for an operator, or for its next attempt.

    Attributes:
        node: The leaf, or a composite that is parked.
        composite: The composite that holds it.
        stage: Where it is; only :meth:`WaitingSteps.move` changes it.
        leaf_run: The last attempt of a leaf that has failed; None for a step that is parked.
        is_due: Whether only the pause of the run keeps the next attempt from starting.
        request: The request of an operator for the next attempt, or None.
        timer: Ends the delay, or the hold; or None.
        on_late_end: Called when the work of the last attempt has ended after all; or None.
    """

    __slots__ = (
        "_failures", "composite", "is_due", "leaf_run", "node", "on_late_end", "request", "stage",
        "timer",
    )  # fmt: skip

    def __init__(
        self,
        node: BaseTask,
        composite: Composite,
        *,
        leaf_run: LeafRun | None = None,
        attempts: tuple[Attempt, ...] | bytes = (),
    ) -> None:
        self.node = node
        self.composite = composite
        self.stage = UNBEGUN if leaf_run is None else ACTIVE
        self.leaf_run = leaf_run
        self._failures = attempts  # in the small form where there is one
        self.is_due = False
        self.request: SteeringRequest | None = None
        self.timer: TimerEntry | None = None
        self.on_late_end: Callable[[], object] | None = None

    def drop_timer(self) -> None:
        """Forget the timer."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None

    @property
    def path(self) -> str:
        """Its path."""
        return f"{self.composite.path}/{self.node.name}"

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        """How its attempts ended, in order; empty for a step that is parked."""
        kept = self._failures
        return unpacked(kept) if isinstance(kept, bytes) else kept

    @property
    def has_begun(self) -> bool:
        """Whether there was an attempt."""
        return bool(self._failures)

    @property
    def is_of_group(self) -> bool:
        """Whether its failure is judged together with those of its siblings."""
        return self.leaf_run is not None and self.composite.decides_together

    @property
    def is_waiting(self) -> bool:
        """True where it is kept from working: the limits from above stand still then."""
        return self.stage in (PARKED, HELD) or (self.stage is DELAYED and self.is_due)

    @property
    def comes_by_itself(self) -> bool:
        """True where its next attempt comes after a delay."""
        return self.stage is DELAYED and not self.is_due

    def __str__(self) -> str:
        return self.path


class WaitingSteps:
    """The steps that wait, and the marks on steps that have not begun.

    Args:
        lock: The lock of the run.

    Attributes:
        is_paused: Whether the run is paused; its machine changes it under the lock.
        left_out: The requests to leave out steps whose turn has not come, by path.
        pause_before: The requests to pause before a step, by path.
        gated: False where nothing keeps any step from starting: the usual case.
    """

    def __init__(self, lock: threading.Lock) -> None:
        self._lock = lock
        self._steps: dict[BaseTask, WaitingStep] = {}
        self.is_paused = False
        self.left_out: dict[str, SteeringRequest] = {}
        self.pause_before: dict[str, SteeringRequest | None] = {}
        self.gated = False

    def set_gate(self) -> None:
        """Note whether anything keeps steps from starting (lock held)."""
        self.gated = bool(self.is_paused or self.left_out or self.pause_before)

    def pauses(self, composite: Composite) -> bool:
        """Return whether a pause keeps attempts in a composite from starting: no clean-up."""
        return self.is_paused and not composite.in_finally

    def mark_on(self, path: str) -> str | None:
        """Return the nearest path, the step's own or one above, that has a mark (lock held)."""
        while path:
            if path in self.left_out or path in self.pause_before:
                return path
            path = path.rpartition("/")[0]
        return None

    def has_begun(self, path: str) -> bool:
        """Return whether something waits that has begun, at a path or below (lock held)."""
        below = f"{path}/"
        return any(
            step.has_begun if step.path == path else step.path.startswith(below)
            for step in self._steps.values()
        )

    def find(self, node: BaseTask) -> WaitingStep | None:
        """Return the entry of a step that waits, or None."""
        return self._steps.get(node)

    def all(self) -> list[WaitingStep]:
        """Return all steps that wait, in the order in which they came."""
        with self._lock:
            return list(self._steps.values())

    def open(self) -> list[WaitingStep]:
        """Return the steps on which a decision is open."""
        return [step for step in self.all() if step.stage in OPEN]

    def park(self, step: WaitingStep) -> bool:
        """Keep a step from starting; False where the run is not paused."""
        with self._lock:
            if not self.is_paused:
                return False
            self._move(step, PARK)
            return True

    def delay_over(self, step: WaitingStep) -> bool:
        """Let the next attempt start; False where it must not, or a pause keeps it from that."""
        with self._lock:
            if step.stage is not DELAYED:
                return False
            if self.pauses(step.composite):
                self._count(step, -1)
                step.is_due = True
                self._count(step, 1)
                return False
            self._move(step, START)
            return True

    def ask_again(self, step: WaitingStep, request: SteeringRequest) -> bool:
        """Take an operator's request for a further attempt; False: another decision came first.

        During a pause the step is DELAYED afterwards, and its attempt is due.
        """
        with self._lock:
            if step.stage not in OPEN or step.request is not None:
                return False
            step.request = request
            if not self.pauses(step.composite):
                self._move(step, RETRY)
                return True
            self._count(step, -1)
            step.is_due = True
            self._count(step, 1)
            self._move(step, DELAY)
            return True

    def move(self, step: WaitingStep, request: StageRequest) -> Stage | None:
        """Make the move that the table holds for a request.

        Returns:
            The stage before the move; None where the request moves nothing.
        """
        with self._lock:
            before = step.stage
            moved = self._move(step, request)
        if moved:
            return before
        if MOVES[before, request] is REFUSE:
            with LOGGING:
                _LOGGER.error("%s: %s is refused in stage %s", step, request.name, before.name)
        return None

    def _move(self, step: WaitingStep, request: StageRequest) -> bool:
        cell = MOVES[step.stage, request]
        if not isinstance(cell, Stage):
            return False
        self._count(step, -1)
        step.stage = cell
        self._count(step, 1)
        waits = cell in _WAITS
        if waits:
            self._steps[step.node] = step
        else:
            self._steps.pop(step.node, None)
        if step.is_of_group:
            if cell in (UNDECIDED, HELD):
                step.composite.undecided[step.node.name] = step
            else:
                step.composite.undecided.pop(step.node.name, None)
        return True

    @staticmethod
    def _count(step: WaitingStep, sign: int) -> None:
        clock = step.composite.clock
        if clock is not None and step.stage in _WAITS:
            clock.count(sign * step.comes_by_itself, sign * step.is_waiting)


def now_and_in(length_s: float) -> tuple[float, int]:
    """Return the instant ``length_s`` seconds from now: monotonic (s), and UTC (ns)."""
    return time.monotonic() + length_s, SYSTEM_CLOCK.wall_ns() + int(length_s * 1e9)
