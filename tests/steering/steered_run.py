"""Carrying out a random run: requests at its events, from several threads, until it ends."""

from __future__ import annotations

import queue
import random
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from unittest import mock

from taskgrove.commands.execution.leaf_run import LeafRun
from taskgrove.commands.execution.run_handle import RunHandle
from taskgrove.commands.main_task_executor import MainTaskExecutor
from taskgrove.commands.task import Task, TaskExecutionType
from taskgrove.errors import NoAnswerError, UnknownRunError
from taskgrove.events import Observer, SteeringAnswer, SteeringRequest, TaskEvent
from taskgrove.store import RecordDesk
from taskgrove.testing import EventLog
from tests.steering.random_runs import RandomRun
from tests.steering.scripted_target import Invocation, InvocationLog, ScriptedTarget

DEVICE = TaskExecutionType.DEVICE
#: A run that is nudged does not last longer, unless something hangs.
HANG_GUARD_S: Final = 20.0
_ASKERS: Final = 3
_GRACE_S: Final = 0.1


@dataclass
class Asked:
    """One time that a request was asked, and its answers; instants on the monotonic clock."""

    request: SteeringRequest
    asked_ns: int = 0
    answers: list[tuple[int, SteeringAnswer]] = field(default_factory=list)

    @property
    def answer(self) -> SteeringAnswer:
        return self.answers[0][1]

    @property
    def answered_ns(self) -> int:
        return self.answers[0][0]


@dataclass
class SteeredRun:
    """A run that has ended, with all that is known of it."""

    spec: RandomRun
    tree: Task
    handle: RunHandle
    events: tuple[TaskEvent, ...]
    asked: list[Asked]
    invocations: list[Invocation]
    taken_ns: dict[tuple[str, int], int]


@contextmanager
def taken_by_threads() -> Iterator[dict[tuple[str, int], int]]:
    """Note when a thread took each attempt, before it looked whether the attempt may begin.

    What a target is told may come a moment after that look, and so after the answer to a pause.
    """
    taken_ns: dict[tuple[str, int], int] = {}
    call = LeafRun.__call__

    def noted(leaf_run: LeafRun) -> None:
        # An attempt that was taken back is taken from its queue later; it begins nothing.
        taken_ns.setdefault((leaf_run.path, leaf_run.attempt), time.monotonic_ns())
        call(leaf_run)

    with mock.patch.object(LeafRun, "__call__", noted):
        yield taken_ns


class Askers:
    """Threads that ask; each request of the plan is asked at its event, where given by a desk."""

    def __init__(
        self, plan: dict[int, list[SteeringRequest]], run_id: str, desk: RecordDesk | None
    ) -> None:
        self._plan = plan
        self._run_id, self._desk = run_id, desk
        self._queue: queue.SimpleQueue[SteeringRequest | None] = queue.SimpleQueue()
        self._ready = threading.Event()
        self._lock = threading.Lock()
        self.handle: RunHandle | None = None
        self.asked: list[Asked] = []
        self._busy = 0
        self._threads = [threading.Thread(target=self._work) for _ in range(_ASKERS)]
        for thread in self._threads:
            thread.start()

    def __call__(self, event: TaskEvent) -> None:
        """Ask what the plan has for an event; this is an observer."""
        for request in self._plan.get(event.sequence, ()):
            with self._lock:
                self._busy += 1
            self._queue.put(request)

    @property
    def by_record(self) -> bool:
        """Whether they ask by the record."""
        return self._desk is not None

    @property
    def is_busy(self) -> bool:
        """Whether an answer to the plan is awaited."""
        return self._busy > 0

    def begin(self, handle: RunHandle) -> None:
        self.handle = handle
        self._ready.set()

    def ask(self, request: SteeringRequest) -> Asked:
        asked = Asked(request, time.monotonic_ns())
        with self._lock:
            self.asked.append(asked)
        assert self.handle is not None
        self.handle.steer(
            request, lambda answer: asked.answers.append((time.monotonic_ns(), answer))
        )
        return asked

    def close(self) -> None:
        for _ in self._threads:
            self._queue.put(None)
        self._ready.set()
        for thread in self._threads:
            thread.join(30)

    def _work(self) -> None:
        self._ready.wait()
        while (request := self._queue.get()) is not None:
            if self._desk is None:
                self.ask(request)
            else:
                self._ask_by_record(self._desk, request)
            with self._lock:
                self._busy -= 1

    def _ask_by_record(self, desk: RecordDesk, request: SteeringRequest) -> None:
        asked = Asked(request, time.monotonic_ns())
        try:
            answer = desk.ask(self._run_id, request, wait_s=HANG_GUARD_S)
        except UnknownRunError:
            return  # its row is not in the record yet
        except NoAnswerError:
            answer = None
        if answer is not None:
            asked.answers.append((time.monotonic_ns(), answer))
        with self._lock:
            self.asked.append(asked)


def nudge_to_its_end(handle: RunHandle, target: ScriptedTarget, askers: Askers, seed: int) -> None:
    """Decide whatever is open until the run has ended."""
    rng, number = random.Random(seed + 2), 0
    until = time.monotonic() + HANG_GUARD_S

    def decide(verb: Any, path: str = "") -> None:
        nonlocal number
        number += 1
        why = "to go on"
        askers.ask(
            SteeringRequest(id=f"n{seed}-{number}", verb=verb, path=path, who="nudge", why=why)
        )

    while not handle.wait(0.01):
        assert time.monotonic() < until, f"the run of seed {seed} hangs"
        if askers.is_busy and askers.by_record and rng.random() < 0.9:
            continue  # the answers take longer than the steps
        if handle.is_paused and rng.random() < 0.7:
            decide("continue")
        for path in handle.held:
            verbs = (
                ("accept", "fail", "skip")
                if number > 40
                else ("retry", "retry", "accept", "fail", "skip")
            )
            if rng.random() < 0.7:
                decide(rng.choice(verbs), path)
        if rng.random() < 0.7:
            target.release()


def carry_out(
    spec: RandomRun,
    folder: Path,
    recorder: Any = None,
    *,
    observers: Iterable[Observer] = (),
    run_id: str | None = None,
    desk: RecordDesk | None = None,
    **more: Any,
) -> SteeredRun:
    """Carry out a run in this process, to its end; ``more`` is for ``submit_main_task``."""
    invocations = InvocationLog(folder / f"invocations-{spec.seed}")
    run_id = run_id or f"seed-{spec.seed}"
    askers = Askers(spec.asked, run_id, desk)
    target, log = ScriptedTarget(spec.plays, invocations), EventLog()
    tree = spec.tree()
    try:
        with (
            taken_by_threads() as taken_ns,
            MainTaskExecutor(spec.workers, {DEVICE: target}, grace_s=_GRACE_S) as executor,
        ):
            handle = executor.submit_main_task(
                tree,
                observers=[log, askers, *observers],
                run_id=run_id,
                recorder=recorder,
                hold=spec.hold,
                pause_before=spec.pause_before,
                **more,
            )
            askers.begin(handle)
            nudge_to_its_end(handle, target, askers, spec.seed)
    finally:
        askers.close()
        target.close()
    found = invocations.read()
    invocations.close()
    return SteeredRun(spec, tree, handle, log.events, askers.asked, found, taken_ns)
