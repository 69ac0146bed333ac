"""MainTaskExecutor: runs task trees.

The executor orders leaves; a :class:`~taskgrove.commands.leaf_runner.LeafRunner` executes
those of one kind. Its threads: at most ``max_workers`` pool threads, on which runners start
leaves (the method of an INTERNAL leaf also runs there); up to four control threads for limits
and aborts, which a pool full of hanging methods cannot block; one timer thread. No pool thread
waits for a child, a device or a process.

Threads: every public method of the executor and of a handle may be called by any
thread. ``MainTaskExecutor._changed`` guards the set of runs.
"""

from __future__ import annotations

import logging
import re
import secrets
import threading
import time
from collections.abc import Iterable, Mapping
from logging import Logger
from typing import Final

from taskgrove.commands.execution.engine import Engine
from taskgrove.commands.execution.internal_runner import InternalRunner
from taskgrove.commands.execution.live_run import Run
from taskgrove.commands.execution.run_handle import RunHandle
from taskgrove.commands.execution.steering_scope import is_clean_up, select_nodes
from taskgrove.commands.leaf_runner import LeafRunner
from taskgrove.commands.prior import Prior, PriorEnd, PriorStart
from taskgrove.commands.run_recorder import DeviceKeeper, RunAbout, RunRecorder
from taskgrove.commands.task import BaseTask, LeafTask, Task, TaskExecutionType
from taskgrove.commands.tracking.self_wait import waits_for_itself
from taskgrove.control_model import IS_FINAL
from taskgrove.errors import ExecutorClosedError, MissingRunnerError, UsageError, nearest
from taskgrove.events import EventBus, Observer

_LOGGER = logging.getLogger(__name__)
_RUN_ID: Final = re.compile(r"[0-9]{8}T[0-9]{6}Z-[0-9a-f]{8}")


class MainTaskExecutor:
    """Runs task trees on a bounded pool of threads.

    Args:
        max_workers: How many leaves are started, or run as internal methods, at once.
        runners: The runner of each kind of leaf; INTERNAL has one unless it is given here.
            The executor does not close runners that it was given.
        logger: A logger; None takes the module's.
        grace_s: How long work may take to end after it was asked to stop, in seconds.

    Raises:
        UsageError: ``max_workers`` or ``grace_s`` is out of range.
    """

    def __init__(
        self,
        max_workers: int = 16,
        runners: Mapping[TaskExecutionType, LeafRunner] | None = None,
        logger: Logger | None = None,
        *,
        grace_s: float = 5.0,
    ) -> None:
        if isinstance(max_workers, bool) or not isinstance(max_workers, int) or max_workers < 1:
            raise UsageError(f"max_workers is a whole number from 1, not {max_workers!r}")
        if not grace_s >= 0:
            raise UsageError(f"grace_s is a number of seconds from 0, not {grace_s!r}")
        self.logger = logger or _LOGGER
        self._own_runner: InternalRunner | None = None
        own: dict[TaskExecutionType, LeafRunner] = dict(runners or {})
        if TaskExecutionType.INTERNAL not in own:
            self._own_runner = InternalRunner(grace_s)
            own[TaskExecutionType.INTERNAL] = self._own_runner
        self._engine = Engine(max_workers, grace_s, own)
        self._changed = threading.Condition()
        self._runs: set[Run] = set()
        self._closing = False

    def submit_main_task(
        self,
        task: BaseTask,
        *,
        observers: Iterable[Observer] = (),
        run_id: str | None = None,
        recorder: RunRecorder | None = None,
        about: RunAbout | None = None,
        prior: Mapping[str, Prior] | None = None,
        first_sequence: int = 1,
        start_nothing: str | None = None,
        start_clean_up: bool = False,
        hold: bool = False,
        pause_before: Iterable[str] = (),
    ) -> RunHandle:
        """Start a tree and return at once.

        Args:
            task: The root; a leaf is run as the only step of a Task of its name.
            observers: Called with every event of the run; they must only enqueue.
            run_id: The run's id; None makes one.
            recorder: Keeps the record, and outlives the run. The handle reports completion only
                once the record holds the final states.
            about: Facts that the record keeps of the run besides its events.
            prior: Facts that are known of leaves before the run begins, by path.
            first_sequence: Number of the run's first event; above 1 a run of the record goes
                on, and its tree is not published again.
            start_nothing: Why no leaf may be started; None: leaves may. Work in ``prior`` is
                followed, and every other leaf ends ABORTED, ``not started: <why>``.
            start_clean_up: With ``start_nothing``: whether clean-ups may be started all the same.
            hold: Whether a leaf that fails waits for a decision, where no setting of the tree
                says so.
            pause_before: Nodes, or patterns that select nodes: the run pauses when one of them is
                about to start.

        Raises:
            UsageError: The tree has been submitted before, is part of another one, is a copy, or
                was changed or ended by updates after its tracker was made; or the process was
                forked after the executor was made.
            MissingRunnerError: The tree holds a kind of leaf that no runner executes.
            ExecutorClosedError: The executor is shut down.
        """
        self._engine.check_process()
        observers = tuple(observers)  # a bad iterable fails before anything has begun
        if task.parent is not None:
            raise UsageError(f"{task.path!r} is part of a tree; submit its root", path=task.path)
        root = task if isinstance(task, Task) else Task(task.name, subtasks=[task], is_root=True)
        if not root.submitted:  # one that has run is refused below
            _complete(root, goes_on=first_sequence > 1)
        self._check_runners(root)
        if root.exclusive and first_sequence == 1 and not isinstance(recorder, DeviceKeeper):
            names = ", ".join(device.name for device in root.exclusive)
            raise UsageError(
                f"{root.path} works alone on {names}, and nothing records which run does",
                path=root.path,
                hint="give the run a record, or remove 'exclusive' from the map",
            )
        pauses = _checked_pauses(root, pause_before)
        known = _checked_prior(root, prior)
        bus = EventBus(run_id or new_run_id(), first_sequence=first_sequence)
        run = Run(
            self._engine,
            root,
            bus,
            known,
            recorder=recorder,
            goes_on=first_sequence > 1,
            start_nothing=start_nothing,
            start_clean_up=start_clean_up,
            holds=hold,
            pause_before=pauses,
            when_final=self._let_go,
            logger=self.logger,
        )
        with self._changed:
            if self._closing:
                raise ExecutorClosedError("the executor is shut down")
            if root.submitted:
                raise UsageError(
                    f"{root.path!r} has run before",
                    path=root.path,
                    hint="a tree runs once; compose it again",
                )
            root.submitted = True
            root.become_root()
            self._runs.add(run)
        run.submit(about or RunAbout(), observers)
        return RunHandle(run)

    def shutdown(self, wait: bool = True) -> None:
        """Take no more trees, and end the threads when the running ones have ended.

        Args:
            wait: Whether to wait for their end; abandoned work is waited for at most the grace
                period.
        """
        self._engine.check_process()
        with self._changed:
            self._closing = True
            running = list(self._runs)
        if not running:
            self._close_engine()
        if wait:
            if running and (
                self._engine.is_own_thread
                or any(waits_for_itself(run.root.tracker) for run in running)
            ):
                raise UsageError(
                    "a step of a running tree cannot wait for its own executor",
                    hint="call shutdown(wait=False) there",
                )
            with self._changed:
                self._changed.wait_for(lambda: not self._runs)
            self._close_engine()
            self._engine.join(self._engine.grace_s)

    def abort_all(self, reason: str | None = None) -> None:
        """Ask every running tree to stop; returns at once. Clean-ups (``finally``) still run."""
        self._engine.check_process()
        with self._changed:
            running = list(self._runs)
        for run in running:
            run.abort(reason or "abort was asked for", again=False)

    def __enter__(self) -> MainTaskExecutor:
        return self

    def __exit__(self, exc_type: type[BaseException] | None, *_: object) -> None:
        if exc_type is not None:
            self.abort_all(f"{exc_type.__name__} left the executor's block")
        try:
            self.shutdown(wait=True)
        except KeyboardInterrupt:
            if exc_type is not None and self._stop_clean_ups():  # the second interrupt
                self.shutdown(wait=True)
            raise

    def _stop_clean_ups(self) -> bool:
        """Stop the clean-ups that are at work or to come; False: there is none."""
        with self._changed:
            runs = [run for run in self._runs if run.has_clean_up]
        for run in runs:
            run.abort("KeyboardInterrupt came again", stop_finally=True)
        return bool(runs)

    def _let_go(self, run: Run) -> None:
        """Forget a run that is final, or that was withdrawn."""
        with self._changed:
            self._runs.discard(run)
            closes = self._closing and not self._runs
        if closes:
            self._close_engine()
        with self._changed:
            self._changed.notify_all()

    def _close_engine(self) -> None:
        self._engine.close()
        if self._own_runner is not None:
            self._own_runner.close()

    def _check_runners(self, root: Task) -> None:
        runners = self._engine.runners
        for path, node in root.walk():
            if isinstance(node, LeafTask) and node.task_type not in runners:
                kind = node.task_type.name
                raise MissingRunnerError(
                    f"no runner executes {kind} leaves such as {path}",
                    path=path,
                    hint=f"give the executor runners={{TaskExecutionType.{kind}: ...}}",
                )


def _complete(root: Task, *, goes_on: bool) -> None:
    """Raise UsageError for a tree that could not end; from here on it takes no change.

    Args:
        root: The tree.
        goes_on: Whether a run of the record goes on: its trackers know the ends on record.
    """
    for _, node in root.walk():  # a node is checked before those below it are walked to
        if isinstance(node, Task):
            node.complete()
        else:
            node.check_own_tracker()
        if not goes_on:
            node.check_nothing_ended()


def _checked_prior(root: Task, prior: Mapping[str, Prior] | None) -> dict[str, Prior]:
    if not prior:
        return {}
    nodes = dict(root.walk())
    for path, known in prior.items():
        node = nodes.get(path)
        of_any = isinstance(known, PriorStart) or (
            isinstance(known, PriorEnd) and (known.recorded or known.is_skipped_over)
        )
        if node is None or not (of_any or isinstance(node, LeafTask)):
            near = nearest(path, [name for name in nodes if isinstance(nodes[name], LeafTask)])
            raise UsageError(
                f"nothing can be known of {path!r} before the run: it is no leaf of this tree",
                path=path,
                hint=None if near is None else f"did you mean {near!r}?",
            )
        if isinstance(known, PriorEnd) and not IS_FINAL[known.status]:
            raise UsageError(f"{path!r} cannot have ended {known.status.name}", path=path)
    return dict(prior)


def _checked_pauses(root: Task, pause_before: Iterable[str]) -> list[str]:
    """Return the paths of the nodes before which the run pauses."""
    if isinstance(pause_before, str):
        raise UsageError(
            f"pause_before is a list of paths, not the text {pause_before!r}",
            hint=f"write pause_before=[{pause_before!r}]",
        )
    paths: list[str] = []
    for pattern in pause_before:
        found = select_nodes(root, pattern)
        if not found:
            near = nearest(pattern, [path for path, _ in root.walk()])
            raise UsageError(
                f"pause_before: no node of the tree is {pattern!r}",
                hint=None if near is None else f"did you mean {near!r}?",
            )
        inside = next((path for path, node in found if is_clean_up(node)), None)
        if inside is not None:
            raise UsageError(
                f"pause_before: {inside!r} belongs to a clean-up, which is never paused",
                path=inside,
            )
        paths += [path for path, _ in found]
    return paths


def new_run_id() -> str:
    """Return an id for a run, unlike every other."""
    # The time first, so that ids sort as the runs began.
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime()) + "-" + secrets.token_hex(4)


def is_run_id(text: str) -> bool:
    """Return whether a text has the form of the ids that :func:`new_run_id` makes."""
    return _RUN_ID.fullmatch(text) is not None
