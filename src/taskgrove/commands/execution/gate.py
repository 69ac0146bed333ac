"""The gate that every step passes: a pause keeps steps from starting, an operator leaves some out.

Threads: any thread may call any method. The lock of the run guards the marks and the attempts that
are under way. A mark that is made while a step is about to start is seen when its attempt is
launched, under the lock: the step is kept, or whoever asked is told that it has begun.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from taskgrove.commands.execution.composite import Composite, Step
from taskgrove.commands.execution.leaf_machine import WITHDRAW
from taskgrove.commands.execution.leaf_run import LeafOwner, LeafRun
from taskgrove.commands.execution.unbegun import leave_out
from taskgrove.commands.execution.waiting_steps import PARKED, SKIP, WaitingStep
from taskgrove.commands.task import BaseTask, Task
from taskgrove.events import NoteDetail
from taskgrove.events.steering_request import SteeringRequest

if TYPE_CHECKING:
    from taskgrove.commands.execution.schedule import Schedule


class Gate:
    """Keeps steps from starting.

    Args:
        schedule: The order in which the nodes start.
        run: The run.
        is_open: Whether nothing is ever kept: no leaf of the run may start in any case.
    """

    def __init__(self, schedule: Schedule, run: LeafOwner, *, is_open: bool) -> None:
        self._schedule = schedule
        self._run = run
        self._is_open = is_open
        self._waiting = schedule.waiting

    def pass_root(self, path: str) -> None:
        """Pause before the whole tree, where that was asked for."""
        if path in self._waiting.pause_before:
            with self._run.lock:
                request = self._waiting.pause_before.pop(path)
            self._run.pause(request, path)

    def keeps(self, node: BaseTask, composite: Composite, steps: list[Step]) -> bool:
        """Park a step, or leave it out; False: it may start."""
        is_clean_up = composite.in_finally or (isinstance(node, Task) and node.is_finally)
        stops = self._is_open or self._run.stop_reason(composite) is not None
        path = f"{composite.path}/{node.name}"
        if is_clean_up or stops or self._schedule.is_known(path):
            return False
        waiting = self._waiting
        with self._run.lock:
            why = waiting.left_out.pop(path, None)
            pauses = path in waiting.pause_before
            pause = waiting.pause_before.pop(path, None)
            waiting.set_gate()
        if why is not None:
            leave_out(self._run.bus, composite, node, why)
            steps.append(Step(node, composite, has_ended=True))
            return True
        if pauses:
            self._run.pause(pause, path)
        return self._park(node, composite)

    def _park(self, node: BaseTask, composite: Composite) -> bool:
        """Keep a step from starting until the pause is over; False where there is no pause."""
        step = WaitingStep(node, composite)
        if not self._waiting.park(step):
            return False
        if self._run.bus.active:
            text, detail = "its turn has come, and the run is paused", NoteDetail(topic="parked")
            self._run.bus.emit(step.path, "note", message=text, detail=detail)
        return True

    def keeps_unlaunched(self, leaf_run: LeafRun) -> bool:
        """Return whether an attempt must not start now (lock held)."""
        if (
            leaf_run.outside_id is not None
            or leaf_run.composite.in_finally
            or self._is_open
            or leaf_run.stop_reason is not None
        ):
            return False
        is_marked = not leaf_run.earlier and self._waiting.mark_on(leaf_run.path) is not None
        return self._waiting.is_paused or is_marked

    def keep(self, leaf_run: LeafRun) -> None:
        """Park an attempt of which nothing has begun, or leave its step out."""
        leaf_run.drop_timer()
        leaf, composite, waiting = leaf_run.leaf, leaf_run.composite, self._waiting
        if leaf_run.earlier:
            self._schedule.holding.park(leaf_run)
            return
        with self._run.lock:
            mark = waiting.mark_on(leaf_run.path)
            why = None if mark is None else waiting.left_out.get(mark)
            pauses = why is None and mark is not None
            pause = waiting.pause_before.pop(mark, None) if mark is not None and pauses else None
            waiting.set_gate()
        if why is not None:
            self.leave_out(leaf, composite, why)
            return
        if pauses:
            self._run.pause(pause, mark or "")
        if not self._park(leaf, composite):
            self._schedule.advance([Step(leaf, composite)])

    def leave_out_later(self, path: str, request: SteeringRequest) -> bool:
        """Have a step left out when its turn comes; False where it has begun."""
        with self._run.lock:
            if self._has_begun(path):
                return False
            self._waiting.left_out[path] = request
            self._waiting.set_gate()
            return True

    def pause_before(self, path: str, request: SteeringRequest | None = None) -> bool:
        """Have the run paused when a step is about to start; False where it has begun."""
        with self._run.lock:
            if self._has_begun(path):
                return False
            self._waiting.pause_before[path] = request
            self._waiting.set_gate()
            return True

    def has_begun(self, path: str) -> bool:
        """Return whether an attempt is under way, or something waits, at a path or below."""
        with self._run.lock:
            return self._has_begun(path)

    def _has_begun(self, path: str) -> bool:
        below = f"{path}/"
        return self._waiting.has_begun(path) or any(
            leaf_run.path == path or leaf_run.path.startswith(below)
            for leaf_run in self._schedule.active
        )

    def take_unbegun(self, node: BaseTask) -> Composite | None:
        """Take back a step that is parked, or waits for a thread; None: there is none."""
        step = self._waiting.find(node)
        if step is not None:
            parked = step.stage is PARKED and self._waiting.move(step, SKIP) is not None
            return step.composite if parked else None
        with self._run.lock:
            found = next((item for item in self._schedule.active if item.leaf is node), None)
        if found is None or found.earlier or found.move(WITHDRAW) is None:
            return None
        self._schedule.idle(found)
        found.drop_timer()
        return found.composite

    def withdraw_queued(self) -> list[LeafRun]:
        """Take back the attempts that wait for a thread; they are to be parked."""
        with self._run.lock:
            active = [
                leaf_run for leaf_run in self._schedule.active if not leaf_run.composite.in_finally
            ]
        taken = [leaf_run for leaf_run in active if leaf_run.move(WITHDRAW) is not None]
        for leaf_run in taken:
            self._schedule.idle(leaf_run)
        return taken

    def park_queued(self, taken: list[LeafRun]) -> None:
        """Park the attempts that were taken back."""
        for leaf_run in taken:
            self.keep(leaf_run)

    def leave_out(self, node: BaseTask, composite: Composite, why: SteeringRequest) -> None:
        """Leave out a step whose turn has come, and go on."""
        leave_out(self._run.bus, composite, node, why)
        self._schedule.advance([Step(node, composite, has_ended=True)])
