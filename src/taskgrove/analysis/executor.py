"""AnalysisExecutor: starts one analysis as a supervised process.

::

    executor = AnalysisExecutor(entry, parameters, work_dir="/data/scratch", timeout_s=600)
    described = executor.start().result()

A first-party analysis (:class:`~taskgrove.analysis.task.AnalysisTask`) runs in a Python process
of its own and reports over a channel; a third-party program is run as it is. Both have their own
session and process group, the same limits, and the same end.

Threads: :meth:`AnalysisExecutor.start` may be called by any thread; it returns when the process
runs or when it is known that it never will, but does not wait for tasklets and for files that
are sourced: these run on threads of the supervisor.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from taskgrove.analysis.channel.messages import Start
from taskgrove.analysis.hooks import HooksLike, hooks_of
from taskgrove.analysis.logbook_posts import logbook_callback
from taskgrove.analysis.parameters.base import TaskParameters
from taskgrove.analysis.parameters.header import AnalysisHeader
from taskgrove.analysis.publishing.page_origin import PageOrigin
from taskgrove.analysis.registry import AnalysisEntry
from taskgrove.analysis.results import TaskStatus
from taskgrove.analysis.running.ending import Ending
from taskgrove.analysis.running.environment import AnalysisEnvironment
from taskgrove.analysis.running.events import EventDelivery
from taskgrove.analysis.running.handle import AnalysisHandle
from taskgrove.analysis.running.launch import Plan, launch
from taskgrove.analysis.running.outcome import ProcessEnd
from taskgrove.analysis.running.output import LIMIT_BYTES
from taskgrove.analysis.running.process import find_program
from taskgrove.analysis.running.settings import ProcessSettings, check_seconds
from taskgrove.analysis.running.supervision import Supervision
from taskgrove.analysis.running.supervisor import (
    AnalysisSupervisor,
    SupervisorLoop,
    default_supervisor,
)
from taskgrove.analysis.tasklets import Tasklet, TaskletContext, TaskletError, run_tasklets
from taskgrove.errors import AnalysisError, UsageError, errno_name
from taskgrove.lazy_exports import LaterModule
from taskgrove.private_files import make_private_folder
from taskgrove.redaction import Redaction

if TYPE_CHECKING:
    from taskgrove.analysis import logbook as logbooks
    from taskgrove.analysis import pages
else:  # for the types of methods only
    logbooks, pages = map(LaterModule, ("taskgrove.analysis.logbook", "taskgrove.analysis.pages"))

_LOGGER = logging.getLogger(__name__)

#: Heartbeats in each period that an analysis may be silent.
_BEATS: Final = 4
#: From SIGTERM to SIGKILL, in seconds, where nobody says otherwise.
GRACE_S: Final = 5.0


class AnalysisExecutor:
    """Runs one analysis; each call of :meth:`start` runs it once more.

    Args:
        entry: What is run.
        parameters: Its validated parameters.
        header: The header of the configuration: its ``work_dir`` and ``task_timeout`` hold where
            ``work_dir`` and ``timeout_s`` are None, its ``environment`` and ``environment_file``
            where ``environment`` does not say otherwise.
        environment: Variables that are set above those of this process and of the header, or
            where the whole environment comes from; None: those two.
        source: A shell script that is sourced for the environment, in place of the header's.
        poll_interval: Period, in seconds, of the poll that reconciles what events may have
            missed.
        timeout_s: Limit, in seconds; None: the header's, or no limit. It is enforced: SIGTERM,
            then SIGKILL to the whole group.
        grace_s: From SIGTERM to SIGKILL, in seconds; 0 kills at once. None: the entry's, or 5.
        heartbeat_timeout_s: How long a first-party analysis may be silent before it is taken for
            unresponsive, in seconds; None: the entry's, or as long as it likes. A quiet program
            is not dead: third-party programs have no heartbeat.
        work_dir: The folder in which it runs and where its output is kept; made if missing. None:
            the header's; without either it runs in the current folder and no output is kept on
            disk.
        hooks: Functions by the moment at which they are called (:class:`~.hooks.Hooks`).
        before: Tasklets that run before the process starts, after those of the entry.
        after: Tasklets that run after the analysis has COMPLETED, after those of the entry.
        output_limit_bytes: How much of stdout and stderr together is kept on disk.
        launcher: What starts the program, such as ``("mpirun", "-n", "2")``; None: what the
            entry says; empty: nothing does.
        publisher: Publishes summary plots of the result; references stand in their place then.
        logbook: Where the status of the analysis is posted, and a summary that is a dict.
        origin: Where the publisher and the logbook are told that all this comes from.
        supervisor: Who supervises; None: the one that all executors of this process share.

    Raises:
        UsageError: A limit is no such number, a hook has an unknown name, or
            ``TASKGROVE_REDACT`` cannot be read.
        AnalysisError: The environment cannot be made, or the class of the analysis or of its
            parameters cannot be imported by another process.
    """

    def __init__(
        self,
        entry: AnalysisEntry,
        parameters: TaskParameters | None,
        *,
        header: AnalysisHeader | None = None,
        environment: AnalysisEnvironment | Mapping[str, str | None] | None = None,
        source: str | Path | None = None,
        poll_interval: float = 0.5,
        timeout_s: float | None = None,
        grace_s: float | None = None,
        heartbeat_timeout_s: float | None = None,
        work_dir: str | Path | None = None,
        hooks: HooksLike | None = None,
        before: Iterable[Tasklet] = (),
        after: Iterable[Tasklet] = (),
        output_limit_bytes: int = LIMIT_BYTES,
        launcher: Sequence[str] | None = None,
        publisher: pages.PagePublisher | None = None,
        logbook: logbooks.Logbook | None = None,
        origin: PageOrigin | None = None,
        supervisor: AnalysisSupervisor | None = None,
    ) -> None:
        if timeout_s is None and header is not None:
            timeout_s = float(header.task_timeout)
        if work_dir is None and header is not None and header.work_dir:
            work_dir = header.work_dir
        check_seconds("poll_interval", poll_interval)
        check_seconds("timeout_s", timeout_s)
        check_seconds("heartbeat_timeout_s", heartbeat_timeout_s)
        given = ProcessSettings(
            None if launcher is None else tuple(launcher), heartbeat_timeout_s, grace_s
        )
        settings = given.over(entry.settings)
        if output_limit_bytes < 0:
            raise UsageError(f"output_limit_bytes is {output_limit_bytes}; 0 keeps nothing")
        self.entry = entry
        self.parameters = parameters
        self.header = header
        self.environment = _environment_of(environment, header, source)
        self.environment.check()
        self.poll_interval = poll_interval
        self.timeout_s = timeout_s
        self.grace_s = GRACE_S if settings.grace_s is None else settings.grace_s
        self.heartbeat_timeout_s = settings.heartbeat_s
        self.work_dir = None if work_dir is None else Path(os.path.expanduser(work_dir)).absolute()
        self.hooks = hooks_of(hooks)
        self.before = (*entry.before, *before)
        self.after = (*entry.after, *after)
        self.output_limit_bytes = output_limit_bytes
        self.launcher = settings.launcher or ()
        self.publisher = publisher
        self.logbook = logbook
        self.origin = origin
        self._supervisor = supervisor
        self.redaction = Redaction.from_environment()
        self._task_place = _place(entry.task) if entry.task is not None else None
        self._class_place = _place(type(parameters)) if self._task_place and parameters else ""

    @property
    def package(self) -> str | None:
        """The package of a first-party analysis, whose version is recorded; else None."""
        if self._task_place is None:
            return None
        return self._task_place.partition(":")[0].partition(".")[0]

    @property
    def communicator_desc(self) -> list[str]:
        """One description for each communicator, in their order (seed 004)."""
        output = "Output: stdout and stderr, captured as text; the lines of the program's log"
        if self._task_place is None:
            return [output]
        if self.launcher:
            return [
                "UnixSocket: framed messages (msgpack headers, raw array buffers) over a Unix"
                " socket in the abstract name space; rank 0 reports",
                output,
            ]
        return [
            "Channel: framed messages (msgpack headers, raw array buffers) over an inherited"
            " socket pair; arrays from 1 MiB by shared memory",
            output,
        ]

    def check_start(self) -> None:
        """See that its launcher is there, as far as that can be told before it is started.

        A file that is sourced may change the PATH; then it cannot.

        Raises:
            AnalysisError: There is no such program, or it may not be executed.
        """
        if self.launcher and self.environment.source is None:
            environment = self.environment.build()
            find_program(self.launcher[0], environment, self._folder(), what="launcher")

    def start(self) -> AnalysisHandle:
        """Start the analysis; what stands in its way is its outcome, not an exception."""
        supervisor = self._supervisor or default_supervisor()
        callbacks = (*hooks_of(self.entry.hooks).callbacks(), *self.hooks.callbacks())
        if self.logbook is not None:
            self.redaction.remember([dict(os.environ), dict(self.parameters or ())])
            post = logbook_callback(self.logbook, self.origin, self.entry.name, self.redaction)
            callbacks = (*callbacks, post)
        loop = supervisor.lease()
        delivery = EventDelivery(loop.callers.submit, callbacks)
        handle = AnalysisHandle(self.entry.name, delivery)
        ending = Ending(self, loop, handle)
        if self.before or self.environment.source is not None:
            handle.take_controls(ending.before_start)
            loop.post(lambda: loop.add(ending.before_start))
            loop.starters.submit(lambda: self._start_later(loop, handle, ending))
        else:
            self._start_guarded(loop, handle, ending)
        return handle

    def _start_later(self, loop: SupervisorLoop, handle: AnalysisHandle, ending: Ending) -> None:
        try:
            self._start_guarded(loop, handle, ending)
        finally:
            loop.post(lambda: loop.discard(ending.before_start))

    def _start_guarded(self, loop: SupervisorLoop, handle: AnalysisHandle, ending: Ending) -> None:
        try:
            self._start(loop, handle, ending)
        except (AnalysisError, TaskletError) as exc:
            if not ending.was_called_off():
                ending.never_ran(str(exc), exc)
        except OSError as exc:
            ending.never_ran(f"cannot be started: {exc.strerror or exc}", exc)
        except Exception as exc:
            _LOGGER.exception("analysis %s could not be started", self.entry.name)
            ending.never_ran(f"cannot be started: {type(exc).__name__}: {exc}", exc)
        except BaseException as exc:  # Ctrl-C, in the thread that starts it
            if not ending.is_followed:
                ending.never_ran("cannot be started: interrupted", exc)
            raise

    def _start(self, loop: SupervisorLoop, handle: AnalysisHandle, ending: Ending) -> None:
        self._make_work_dir()
        before = ending.before_start
        environment = self.environment.build(called_off=lambda: before.reason is not None)
        context = TaskletContext(self.entry.name, self.parameters, environment, self.work_dir)
        run_tasklets("before", self.before, context)
        plan = self._plan(loop, context.environment)
        ending.plan = plan
        if ending.was_called_off():
            return
        launched = launch(plan)
        try:
            ending.launched = launched
            supervision = Supervision(loop, plan, launched, handle, ending.ended)
            handle.set_process(launched.process.pid, launched.identity)
            handle.move(TaskStatus.RUNNING)
            handle.tell("started", f"process {launched.process.pid}")
        except BaseException:  # nobody would ever end it
            launched.discard()
            raise
        ending.is_followed = True
        loop.post(supervision.begin)
        handle.take_controls(supervision)
        ending.before_start.hand_over(supervision)

    def _plan(self, loop: SupervisorLoop, environment: dict[str, str]) -> Plan:
        from taskgrove.analysis.describing import file_stem  # noqa: PLC0415

        mark = loop.next_mark()
        start, buffers, argv = self._order() if self._task_place else (None, (), self._argv())
        return Plan(
            analysis=self.entry.name,
            argv=(*self.launcher, *argv),
            environment=environment,
            cwd=self._folder(),
            mark=mark,
            start=start,
            buffers=buffers,
            by_launcher=bool(self.launcher),
            output_stem=self.work_dir and self.work_dir / file_stem(self.entry.name, mark[-12:]),
            output_limit_bytes=self.output_limit_bytes if self.work_dir else 0,
            timeout_s=self.timeout_s,
            grace_s=self.grace_s,
            heartbeat_timeout_s=self.heartbeat_timeout_s,
            poll_interval_s=self.poll_interval,
        )

    def _order(self) -> tuple[Start, Sequence[memoryview], tuple[str, ...]]:
        from taskgrove.analysis.channel.parameter_transfer import send_parameters  # noqa: PLC0415

        assert self._task_place is not None
        plain: Any = None
        buffers: Sequence[memoryview] = ()
        if self.parameters is not None:
            plain, buffers = send_parameters(self.parameters)
        silent_s = self.heartbeat_timeout_s
        start = Start(
            task=self._task_place,
            parameters_class=self._class_place,
            parameters=plain,
            name=self.entry.name,
            impl_schemas=self.impl_schemas,
            heartbeat_s=None if silent_s is None else silent_s / _BEATS,
            grace_s=self.grace_s,
            search_path=[os.path.abspath(place) for place in sys.path],
        )
        argv = (sys.executable, "-P", "-m", "taskgrove.analysis.child", self._task_place)
        return start, buffers, argv

    def _argv(self) -> tuple[str, ...]:
        from taskgrove.analysis.parameters.base import ThirdPartyParameters  # noqa: PLC0415
        from taskgrove.analysis.parameters.command_line import render_argv  # noqa: PLC0415
        from taskgrove.analysis.parameters.templates import (  # noqa: PLC0415
            render_template,
            template_config,
        )

        if not isinstance(self.parameters, ThirdPartyParameters):
            return (self.entry.program or "",)
        if template_config(self.parameters) is not None:
            folder = self._folder() or Path.cwd()
            root = getattr(self.header, "template_dir", "") or self.work_dir or folder
            render_template(self.parameters, template_root=root, output_root=folder)
        return tuple(render_argv(self.parameters))

    def _folder(self) -> Path | None:
        given = self.parameters.run_folder() if self.parameters is not None else None
        if given is None:
            return self.work_dir
        return (self.work_dir or Path.cwd()) / given

    def _make_work_dir(self) -> None:
        if self.work_dir is None:
            return
        try:
            make_private_folder(self.work_dir)
        except OSError as exc:
            raise AnalysisError(
                f"the working folder {str(self.work_dir)!r} cannot be made: {exc.strerror}",
                file=self.work_dir,
                errno_name=errno_name(exc),
            ) from exc

    @property
    def impl_schemas(self) -> str | None:
        """The contracts that the result is declared to keep to."""
        declared = self.entry.impl_schemas
        if declared is None and self.parameters is not None:
            declared = type(self.parameters).impl_schemas
        return declared


def _environment_of(
    given: AnalysisEnvironment | Mapping[str, str | None] | None,
    header: AnalysisHeader | None,
    source: str | Path | None,
) -> AnalysisEnvironment:
    if isinstance(given, AnalysisEnvironment):
        return given if source is None else dataclasses.replace(given, source=source)
    variables = {**(header.environment if header is not None else {}), **(given or {})}
    if source is None and header is not None:
        source = header.environment_file or None
    return AnalysisEnvironment(variables=variables, source=source)


def _place(given: str | type) -> str:
    """Return ``module:Class``, by which another process finds a class.

    Raises:
        AnalysisError: It cannot.
    """
    if isinstance(given, str):
        return given
    if given.__module__ == "__main__" or "<locals>" in given.__qualname__:
        raise AnalysisError(
            f"another process cannot import {given.__qualname__} of {given.__module__}",
            hint="define it at the top of a module that can be imported",
        )
    return f"{given.__module__}:{given.__qualname__}"


__all__ = ["AnalysisExecutor", "AnalysisHandle", "ProcessEnd"]
