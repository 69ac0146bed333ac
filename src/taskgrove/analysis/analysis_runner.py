"""The runner of ANALYSIS leaves: each is a supervised process (SPEC S8).

A leaf's ``command_name`` is the analysis' name in the registry, its ``target`` the configuration
(a file, or one that is loaded), its ``argin`` a mapping of parameters that replace those of the
configuration's section.

So many processes run at once; the other leaves wait in a queue, in the order in which they came,
and hold no thread. A leaf's own limit begins with its process.

Threads: every method may be called by any thread. ``_lock`` guards the queue and the table of
running analyses, and is not held while a process is started or a context is called. What an
analysis tells arrives on threads of its supervisor.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final

from taskgrove.analysis.configuration import (
    Configuration,
    EarlierResults,
    load_configuration,
    parse_configuration,
)
from taskgrove.analysis.executor import AnalysisExecutor
from taskgrove.analysis.parameters.header import AnalysisHeader
from taskgrove.analysis.publishing.page_origin import PageOrigin
from taskgrove.analysis.registry import REGISTRY, AnalysisEntry, AnalysisRegistry
from taskgrove.analysis.running.leaf_following import LeafFollower, Listener
from taskgrove.analysis.running.supervisor import AnalysisSupervisor
from taskgrove.commands.leaf_runner import LeafContext, LeafLimits
from taskgrove.commands.task import LeafTask
from taskgrove.control_model import ResultCode, TaskStatus
from taskgrove.errors import AnalysisError, UsageError

if TYPE_CHECKING:
    from taskgrove.analysis.pages import PagePublisher
    from taskgrove.analysis.parameters.base import TaskParameters
    from taskgrove.analysis.running.attaching import AttachedProcess
    from taskgrove.analysis.running.environment import AnalysisEnvironment

_LOGGER = logging.getLogger(__name__)

#: How long closing waits, after the grace period, for what was asked to end, in seconds.
_CLOSE_MARGIN_S: Final = 5.0
_KILLED: Final = LeafLimits("kill", "enforced", queues=True)


class AnalysisRunner:
    """Executes ANALYSIS leaves. A context manager; :meth:`close` ends what still runs.

    Args:
        registry: The analyses by name; None: those that :func:`default_registry` finds.
        slots: How many processes run at once; None: as many as this process has processors.
        earlier: Finds results of earlier runs for configurations.
        publisher: Publishes summary plots: a folder, or a publisher; None: none are published.
        work_dir: Where analyses work, in place of the ``work_dir`` of their configurations.
        environment: See :class:`~taskgrove.analysis.executor.AnalysisExecutor`.
        poll_interval: As the executor's, in seconds.
        grace_s: From SIGTERM to SIGKILL, in seconds. Less than the grace of the executor of the
            tree, so that what ignores SIGTERM is ended and not abandoned.
        heartbeat_timeout_s: As the executor's, in seconds.
        launcher: As the executor's.
        listener: Called with the leaf's context and each event of its analysis; for surfaces
            that show every line of the log.

    Raises:
        UsageError: ``slots`` or a limit is out of range.
    """

    def __init__(
        self,
        registry: AnalysisRegistry | None = None,
        *,
        slots: int | None = None,
        earlier: EarlierResults | None = None,
        publisher: PagePublisher | str | Path | None = None,
        work_dir: str | Path | None = None,
        environment: AnalysisEnvironment | Mapping[str, str | None] | None = None,
        poll_interval: float = 0.5,
        grace_s: float = 3.0,
        heartbeat_timeout_s: float | None = None,
        launcher: tuple[str, ...] = (),
        listener: Listener | None = None,
    ) -> None:
        if slots is None:
            slots = len(os.sched_getaffinity(0))
        if isinstance(slots, bool) or not isinstance(slots, int) or slots < 1:
            raise UsageError(f"slots is a whole number from 1, not {slots!r}")
        self.registry = default_registry() if registry is None else registry
        self.slots = slots
        self._earlier = earlier
        self._publisher = _publisher_of(publisher)
        self._work_dir = work_dir
        self._header = {} if work_dir is None else {"work_dir": str(work_dir)}
        self._settings: dict[str, Any] = {
            "environment": environment,
            "poll_interval": poll_interval,
            "grace_s": grace_s,
            "heartbeat_timeout_s": heartbeat_timeout_s,
            "launcher": launcher,
        }
        self._grace_s = grace_s
        self._listener = listener
        self._supervisor = AnalysisSupervisor()
        self._lock = threading.Lock()
        self._queue: deque[LeafFollower] = deque()
        self._running: dict[int, LeafFollower | AttachedProcess] = {}
        self._closed = False
        self._files: dict[str, tuple[tuple[int, int], Configuration]] = {}

    def __enter__(self) -> AnalysisRunner:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    # -- LeafRunner -------------------------------------------------------------------------

    def limits(self, leaf: LeafTask) -> LeafLimits:  # noqa: ARG002 - the protocol's
        """Say what can be enforced: a process is ended, by SIGTERM and then by SIGKILL."""
        return _KILLED

    def start(self, context: LeafContext) -> None:
        """Queue the leaf, and start its process if there is a place for it.

        Raises:
            AnalysisError: The analysis or its parameters cannot be used; nothing was started.
            UsageError: The runner is closed.
        """
        follower = LeafFollower(context, self._executor_for(context), self._ended, self._listener)
        context.update(status=TaskStatus.QUEUED)
        with self._lock:
            if self._closed:
                raise UsageError("the runner of analyses is closed", hint="make a new one")
            self._queue.append(follower)
        self._start_next()

    def abort(self, context: LeafContext, reason: str) -> None:
        """End the leaf's processes, or take it from the queue; returns at once."""
        with self._lock:
            queued = next((item for item in self._queue if item.context is context), None)
            if queued is not None:
                self._queue.remove(queued)
            running = self._running.get(id(context))
        if queued is not None:
            context.finish(TaskStatus.ABORTED, (ResultCode.ABORTED, f"not started: {reason}"))
        elif running is not None:
            running.cancel(reason)
        else:
            context.note("info", "its process had ended, or was never started")

    def attach(self, context: LeafContext, outside_id: str) -> None:
        """Find out what became of a process whose executor was lost.

        What it gave cannot be known any more; see :mod:`taskgrove.analysis.running.attaching`.
        """
        from taskgrove.analysis.running.attaching import AttachedProcess  # noqa: PLC0415 - seldom needed

        attached = AttachedProcess(
            context, outside_id, self._supervisor, self._grace_s, self._ended
        )
        with self._lock:
            if self._closed:
                raise UsageError("the runner of analyses is closed", hint="make a new one")
            self._running[id(context)] = attached
        attached.begin()

    # -- before and after -------------------------------------------------------------------

    def preflight(self, leaf: LeafTask) -> list[str]:
        """Return why a leaf could not start, without starting it; empty when it could.

        A value that an earlier analysis is still to give is taken as given.
        """
        waits_for_earlier = _WaitsForEarlier(self._earlier)
        try:
            entry = self.registry.get(leaf.command_name)
            self._parameters(leaf, entry, waits_for_earlier)
        except AnalysisError as exc:
            if waits_for_earlier.asked:
                return []
            return [str(exc)]
        return []

    def close(self) -> None:
        """End every analysis that still runs or waits; calling it twice does no harm."""
        with self._lock:
            self._closed = True
            queued = list(self._queue)
            self._queue.clear()
        for follower in queued:
            follower.context.finish(
                TaskStatus.ABORTED, (ResultCode.ABORTED, "not started: its runner was closed")
            )
        if not self._supervisor.close(
            self._grace_s + _CLOSE_MARGIN_S, reason="its runner was closed"
        ):
            _LOGGER.warning("analyses did not end when their runner was closed")

    def end_all(self, reason: str, *, at_limit: bool = False) -> None:
        """End every running analysis, without an abort of the tree; returns at once.

        Args:
            reason: Why; it becomes the cause.
            at_limit: The time of the batch job is up: they end TIMEDOUT.
        """
        with self._lock:
            running = list(self._running.values())
        for item in running:
            item.end(reason, at_limit=at_limit)

    # -- own --------------------------------------------------------------------------------

    def _start_next(self) -> None:
        while True:
            with self._lock:
                if self._closed or not self._queue or len(self._running) >= self.slots:
                    return
                follower = self._queue.popleft()
                self._running[id(follower.context)] = follower
            try:
                follower.begin()
            except Exception as exc:  # whatever happens, the leaf has an end and its place is freed
                _LOGGER.exception("analysis %s could not be started", follower.context.path)
                follower.fail(f"cannot be started: {type(exc).__name__}: {exc}")

    def _ended(self, context: LeafContext) -> None:
        with self._lock:
            self._running.pop(id(context), None)
        self._start_next()

    def _executor_for(self, context: LeafContext) -> AnalysisExecutor:
        leaf = context.leaf
        entry = self.registry.get(leaf.command_name)
        parameters, header = self._parameters(leaf, entry, self._earlier)
        origin = PageOrigin(
            run_id=context.run_id,
            path=context.path,
            analysis=entry.name,
            wall_ns=time.time_ns(),
            experiment=header.experiment,
            experiment_run=header.run,
        )
        return AnalysisExecutor(
            entry,
            parameters,
            header=header,
            # The leaf's own limit comes before the one that holds for the whole configuration.
            timeout_s=leaf.timeout,
            work_dir=self._work_dir,
            publisher=self._publisher,
            origin=origin,
            supervisor=self._supervisor,
            **self._settings,
        )

    def _parameters(
        self, leaf: LeafTask, entry: AnalysisEntry, earlier: EarlierResults | None
    ) -> tuple[TaskParameters, AnalysisHeader]:
        given = leaf.argin
        if given is not None and not isinstance(given, Mapping):
            raise AnalysisError(
                f"the argument of analysis {entry.name} is a mapping of its parameters, not"
                f" {type(given).__name__}",
                path=leaf.path,
            )
        configuration = self._configuration(leaf.target, earlier)
        return configuration.parameters_for(entry, given), configuration.header

    def _configuration(self, target: Any, earlier: EarlierResults | None) -> Configuration:
        if isinstance(target, Configuration):
            return target
        if target is None:
            return parse_configuration("header: {}\n", header=self._header)
        if not isinstance(target, (str, Path)):
            raise AnalysisError(
                f"a configuration is a file, not {type(target).__name__}",
                hint="give the leaf a file's name, or a loaded Configuration, as its target",
            )
        if earlier is not self._earlier:
            return load_configuration(target, earlier=earlier, header=self._header)
        name = str(target)
        try:
            found = os.stat(name)
        except OSError:
            return load_configuration(name)  # which says what is wrong
        mark = (found.st_mtime_ns, found.st_size)
        with self._lock:
            known = self._files.get(name)
        if known is None or known[0] != mark:  # a hundred leaves read their file once
            known = mark, load_configuration(name, earlier=earlier, header=self._header)
            with self._lock:
                self._files[name] = known
        return known[1]


class _WaitsForEarlier:
    """Stands for earlier results before a run, when its own analyses have not given theirs."""

    def __init__(self, earlier: EarlierResults | None) -> None:
        self._earlier = earlier
        self.asked = False

    def __call__(self, experiment: str, run: str, task: str, key: str) -> Any:
        """Return what there is; what there is not may still come.

        Raises:
            LookupError: There is nothing yet.
        """
        try:
            if self._earlier is not None:
                return self._earlier(experiment, run, task, key)
        except LookupError:
            pass
        self.asked = True
        raise LookupError(f"{task} has not run yet")


def default_registry() -> AnalysisRegistry:
    """Return the registry of this process, with what is shipped and what plug-ins bring."""
    from taskgrove.analysis.powder.entries import ENTRIES  # noqa: PLC0415 - only where it is used

    REGISTRY.register(*ENTRIES)
    for trouble in REGISTRY.load_plugins():
        _LOGGER.warning("analyses could not be loaded: %s", trouble)
    return REGISTRY


def _publisher_of(given: PagePublisher | str | Path | None) -> Any:
    if not isinstance(given, (str, Path)):
        return given
    from taskgrove.analysis.pages import PagePublisher  # noqa: PLC0415 - only where it is used

    return PagePublisher(given)
