"""The runner of ANALYSIS leaves: each is a supervised process.

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
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final

from msgspec.structs import replace

from taskgrove.analysis.configuration import EarlierResults
from taskgrove.analysis.executor import AnalysisExecutor
from taskgrove.analysis.leaves.earlier_values import RunnerResults
from taskgrove.analysis.leaves.following import LeafFollower, Listener
from taskgrove.analysis.leaves.parameters import LeafParameters, WaitsForEarlier
from taskgrove.analysis.leaves.posting import LeafPosts
from taskgrove.analysis.leaves.result_files import ResultFiles
from taskgrove.analysis.parameters.base import TaskParameters
from taskgrove.analysis.parameters.header import AnalysisHeader
from taskgrove.analysis.registry import REGISTRY, AnalysisEntry, AnalysisRegistry
from taskgrove.analysis.running.environment import AnalysisEnvironment
from taskgrove.analysis.running.no_start import cause_of_no_start
from taskgrove.analysis.running.process_settings import ProcessSettings, check_seconds
from taskgrove.analysis.running.supervisor import CLOSE_MARGIN_S, AnalysisSupervisor
from taskgrove.commands.leaf_runner import LeafContext, LeafLimits, Refusal
from taskgrove.commands.task import LeafTask
from taskgrove.control_model import ResultCode, TaskStatus
from taskgrove.errors import AnalysisError, TaskgroveError, UsageError
from taskgrove.events import Cause, exception_line
from taskgrove.lazy_exports import LaterModule

if TYPE_CHECKING:
    from taskgrove.analysis import logbook as logbooks
    from taskgrove.analysis import pages
    from taskgrove.analysis.leaves.attaching import AttachedProcess
else:  # for the types of methods only
    logbooks, pages = map(LaterModule, ("taskgrove.analysis.logbook", "taskgrove.analysis.pages"))

_LOGGER = logging.getLogger(__name__)

_KILLED: Final = LeafLimits("kill", "enforced", queues=True)


class AnalysisRunner:
    """Executes ANALYSIS leaves. A context manager; :meth:`close` ends what still runs.

    Args:
        registry: The analyses by name; None: those that :func:`default_registry` finds.
        slots: How many processes run at once; None: as many as this process has processors.
        earlier: Finds results of earlier runs for configurations, besides those that this runner
            has had itself.
        publisher: Publishes summary plots: a folder, or a publisher; None: none are published.
        logbook: Where the status of each analysis is posted, and the dicts of its summary; it
            stays the caller's to close, after the runner.
        work_dir: Where analyses work, in place of the ``work_dir`` of their configurations.
        environment: See :class:`~taskgrove.analysis.executor.AnalysisExecutor`.
        poll_interval: As the executor's, in seconds.
        grace_s: From SIGTERM to SIGKILL, in seconds. This and the next two hold where neither
            the leaf's ``settings`` nor the entry of its analysis says otherwise.
        heartbeat_timeout_s: As the executor's, in seconds; for first-party analyses.
        launcher: As the executor's.
        abort_grace_s: The most from SIGTERM to SIGKILL when the tree is aborted or the runner
            closed, in seconds, whatever else was said; None: ``grace_s``. Less than the grace of
            the executor of the tree, so that what ignores SIGTERM is ended and not abandoned.
        listener: Called with the leaf's context and each event of its analysis; for surfaces
            that show every line of the log.

    Attributes:
        posts: Posts to the logbook.

    Raises:
        UsageError: ``slots`` or a limit is out of range.
    """

    def __init__(
        self,
        registry: AnalysisRegistry | None = None,
        *,
        slots: int | None = None,
        earlier: EarlierResults | None = None,
        publisher: pages.PagePublisher | str | Path | None = None,
        logbook: logbooks.Logbook | None = None,
        work_dir: str | Path | None = None,
        environment: AnalysisEnvironment | Mapping[str, str | None] | None = None,
        poll_interval: float = 0.5,
        grace_s: float = 3.0,
        heartbeat_timeout_s: float | None = None,
        launcher: tuple[str, ...] | None = None,
        abort_grace_s: float | None = None,
        listener: Listener | None = None,
    ) -> None:
        if slots is None:
            slots = len(os.sched_getaffinity(0))
        if isinstance(slots, bool) or not isinstance(slots, int) or slots < 1:
            raise UsageError(f"slots is a whole number from 1, not {slots!r}")
        self.registry = default_registry() if registry is None else registry
        self.slots = slots
        self._publisher = _publisher_of(publisher)
        self.posts = LeafPosts(logbook)
        self._work_dir = work_dir
        header = {} if work_dir is None else {"work_dir": str(work_dir)}
        self._results = RunnerResults(earlier)
        self._parameters = LeafParameters(self._results, header)
        self._environment = environment
        self._poll_interval = poll_interval
        self._settings = ProcessSettings(launcher, heartbeat_timeout_s, grace_s)
        check_seconds("abort_grace_s", abort_grace_s, zero=True)
        self._grace_s = grace_s if abort_grace_s is None else abort_grace_s
        self._listener = listener
        self._supervisor = AnalysisSupervisor()
        self._lock = threading.Lock()
        self._queue: deque[LeafFollower] = deque()
        self._running: dict[int, LeafFollower | AttachedProcess] = {}
        self._closed = False
        self._checked: set[tuple[Any, ...]] = set()
        self._result_files = ResultFiles()

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

        An analysis, parameters or settings that cannot be used end the leaf FAILED.

        Raises:
            UsageError: The runner is closed.
        """
        try:
            executor = self._executor_for(context)
            written = self._parameters.written(context.leaf)
        except (AnalysisError, UsageError) as exc:
            result = (ResultCode.FAILED, exception_line(exc))
            cause = self._cause_of(context.leaf, exc)
            self.posts.never_began(context, result[1])
            context.finish(TaskStatus.FAILED, result, exception=exc, cause=cause)
            return
        follower = LeafFollower(
            context, executor, self._ended, written, self._results, self._listener
        )
        context.update(status=TaskStatus.QUEUED)
        with self._lock:
            if self._closed:
                raise UsageError("the runner of analyses is closed", hint="make a new one")
            self._queue.append(follower)
        if context.abort_event.is_set() and self._take_out(context):
            # The abort came while its parameters were read, and found nothing in the queue.
            self._not_started(context, "it was asked to stop")
        self._start_next()

    def abort(self, context: LeafContext, reason: str) -> None:
        """End the leaf's processes, or take it from the queue; returns at once."""
        if self._take_out(context):
            self._not_started(context, reason)
            return
        with self._lock:
            running = self._running.get(id(context))
        if running is not None:
            running.cancel(reason, within_s=self._grace_s)
        else:
            context.note("info", "its process had ended, or was never started")

    def attach(self, context: LeafContext, outside_id: str) -> None:
        """Find out what became of a process whose executor was lost.

        What it gave cannot be known any more; see :mod:`taskgrove.analysis.leaves.attaching`.
        """
        from taskgrove.analysis.leaves.attaching import AttachedProcess  # noqa: PLC0415 - seldom needed

        attached = AttachedProcess(
            context, outside_id, self._supervisor, self._grace_s, self._ended
        )
        with self._lock:
            if self._closed:
                raise UsageError("the runner of analyses is closed", hint="make a new one")
            self._running[id(context)] = attached
        try:
            attached.begin()
        except BaseException:
            self._ended(context)  # its place must not stay taken
            raise

    # -- before and after -------------------------------------------------------------------

    def preflight(self, leaf: LeafTask) -> list[Refusal]:
        """Return why a leaf could not start, without starting it; empty when it could.

        A value that an earlier analysis is still to give is taken as given.
        """
        try:
            self.check(leaf)
        except (AnalysisError, UsageError) as exc:
            return [Refusal(str(exc), self._cause_of(leaf, exc))]
        return []

    def _cause_of(self, leaf: LeafTask, exc: TaskgroveError) -> Cause:
        """Return why a leaf cannot start, with the place in its map where no other is known."""
        cause, places = cause_of_no_start(exc), leaf.places
        if cause.place is None:
            known = leaf.command_name in self.registry
            return replace(cause, place=places.own if known else places.command)
        key = cause.place.key.rpartition(".")[2]
        if cause.place.line is None and isinstance(leaf.argin, Mapping) and key in leaf.argin:
            return replace(cause, place=places.argin)  # it stands in for that of the section
        return cause

    def check(self, leaf: LeafTask) -> None:
        """See that a leaf could start, without starting it; see :meth:`preflight`.

        Raises:
            AnalysisError: There is no such analysis or launcher, its parameters are not valid,
                it has no heartbeat that could be waited for, or another leaf of its tree names
                the same file as its result.
            UsageError: A setting is out of range.
        """
        entry = self.registry.get(leaf.command_name)
        settings = self._settings_of(leaf, entry)
        waits_for_earlier = WaitsForEarlier(self._parameters.earlier)
        try:
            parameters, header, _ = self._parameters.of(leaf, entry, waits_for_earlier)
        except AnalysisError:
            if waits_for_earlier.asked:
                return
            raise
        self._result_files.claim(leaf, parameters, self._folder(header))
        variables = tuple(header.environment.items())
        launched = (settings, entry.name, header.environment_file, header.work_dir, variables)
        if launched in self._checked:  # a hundred leaves have one launcher
            return
        self._executor(entry, parameters, header, settings).check_start()
        self._checked.add(launched)

    def close(self) -> None:
        """End every analysis that still runs or waits; calling it twice does no harm."""
        with self._lock:
            self._closed = True
            queued = list(self._queue)
            self._queue.clear()
            running = list(self._running.values())
        reason = "its runner was closed"
        for follower in queued:
            self._not_started(follower.context, reason)
        for item in running:  # also what is only beginning, and no supervisor knows yet
            item.end(reason, at_limit=False, within_s=self._grace_s)
        if not self._supervisor.close(self._grace_s + CLOSE_MARGIN_S, reason=reason):
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

    def _take_out(self, context: LeafContext) -> bool:
        """Take a leaf from the queue; False when it is not there (any more)."""
        with self._lock:
            queued = next((item for item in self._queue if item.context is context), None)
            if queued is not None:
                self._queue.remove(queued)
        return queued is not None

    @staticmethod
    def _not_started(context: LeafContext, reason: str) -> None:
        cause = Cause(kind="not_started", said=reason)
        result = (ResultCode.ABORTED, f"not started: {reason}")
        context.finish(TaskStatus.ABORTED, result, cause=cause)

    def _start_next(self) -> None:
        while True:
            with self._lock:
                if self._closed or not self._queue or len(self._running) >= self.slots:
                    return
                follower = self._queue.popleft()
                self._running[id(follower.context)] = follower
            try:
                follower.begin()
            except BaseException as exc:  # the leaf has an end, and its place is freed
                _LOGGER.exception("analysis %s could not be started", follower.context.path)
                follower.fail(f"cannot be started: {type(exc).__name__}: {exc}", exc)

    def _ended(self, context: LeafContext) -> None:
        with self._lock:
            self._running.pop(id(context), None)
        self._start_next()

    def _executor_for(self, context: LeafContext) -> AnalysisExecutor:
        leaf = context.leaf
        entry = self.registry.get(leaf.command_name)
        parameters, header, origins = self._parameters.of(leaf, entry, self._parameters.earlier)
        self._result_files.claim(leaf, parameters, self._folder(header))
        return self._executor(
            entry,
            parameters,
            header,
            self._settings_of(leaf, entry),
            # The leaf's own limit comes before the one that holds for the whole configuration.
            timeout_s=leaf.timeout,
            publisher=self._publisher,
            logbook=self.posts.logbook,
            origins=origins,
            origin=self.posts.origin_of(context, entry.name, header),
        )

    def _executor(
        self,
        entry: AnalysisEntry,
        parameters: TaskParameters,
        header: AnalysisHeader,
        settings: ProcessSettings,
        **others: Any,
    ) -> AnalysisExecutor:
        return AnalysisExecutor(
            entry,
            parameters,
            header=header,
            environment=self._environment,
            source=settings.source,
            poll_interval=self._poll_interval,
            grace_s=settings.grace_s,
            heartbeat_timeout_s=settings.heartbeat_s,
            launcher=settings.launcher,
            python=settings.python,
            stdin=settings.stdin,
            work_dir=self._work_dir,
            supervisor=self._supervisor,
            **others,
        )

    def _folder(self, header: AnalysisHeader) -> str:
        return header.work_dir if self._work_dir is None else str(self._work_dir)

    def _settings_of(self, leaf: LeafTask, entry: AnalysisEntry) -> ProcessSettings:
        own = ProcessSettings.of(leaf.settings)
        if own.heartbeat_s is not None and not entry.is_first_party:
            raise AnalysisError(
                f"analysis {entry.name} is a program: it has no heartbeat that could be missed",
                path=leaf.path,
                hint="a timeout ends a program that hangs",
            )
        if own.python is not None and not entry.is_first_party:
            raise AnalysisError(
                f"analysis {entry.name} is a program: no Python of ours runs it",
                path=leaf.path,
                hint="leave `python` out, or name the interpreter as the executable",
            )
        return own.over(entry.settings).over(self._settings)


def default_registry() -> AnalysisRegistry:
    """Return the registry of this process, with the analyses of installed packages."""
    for trouble in REGISTRY.load_plugins():
        _LOGGER.warning("analyses could not be loaded: %s", trouble)
    return REGISTRY


def _publisher_of(given: pages.PagePublisher | str | Path | None) -> Any:
    if not isinstance(given, (str, Path)):
        return given
    from taskgrove.analysis.pages import PagePublisher  # noqa: PLC0415 - only where it is used

    return PagePublisher(given)
