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
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from taskgrove.analysis.hooks import HooksLike, hooks_of
from taskgrove.analysis.logbook_posts import logbook_callback
from taskgrove.analysis.parameters.base import TaskParameters
from taskgrove.analysis.parameters.header import AnalysisHeader
from taskgrove.analysis.publishing.page_origin import PageOrigin
from taskgrove.analysis.registry import AnalysisEntry
from taskgrove.analysis.running.analysis_events import EventDelivery
from taskgrove.analysis.running.code_look import CodeLook
from taskgrove.analysis.running.ending import AnalysisEnding
from taskgrove.analysis.running.environment import AnalysisEnvironment
from taskgrove.analysis.running.handle import AnalysisHandle
from taskgrove.analysis.running.interpreter import check_interpreter, interpreter_of
from taskgrove.analysis.running.launch import launch, plan_of
from taskgrove.analysis.running.no_start import cause_of_no_start
from taskgrove.analysis.running.outcome import ProcessEnd
from taskgrove.analysis.running.output import LIMIT_BYTES
from taskgrove.analysis.running.process import find_program
from taskgrove.analysis.running.process_settings import ProcessSettings, check_seconds
from taskgrove.analysis.running.spec import AnalysisSpec
from taskgrove.analysis.running.supervision import Supervision
from taskgrove.analysis.running.supervisor import (
    AnalysisSupervisor,
    SupervisorLoop,
    default_supervisor,
)
from taskgrove.analysis.tasklets import Tasklet, TaskletContext, TaskletError, run_tasklets
from taskgrove.errors import AnalysisError, UsageError, errno_name
from taskgrove.events.value_origin import ValueOrigin
from taskgrove.lazy_exports import LaterModule
from taskgrove.private_files import make_private_folder
from taskgrove.redaction import Redaction

if TYPE_CHECKING:
    from taskgrove.analysis import logbook as logbooks
    from taskgrove.analysis import pages
else:  # for the types of methods only
    logbooks, pages = map(LaterModule, ("taskgrove.analysis.logbook", "taskgrove.analysis.pages"))

_LOGGER = logging.getLogger(__name__)

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
        environment: Variables that are set above those of this process, of the entry and of the
            header, or where the whole environment comes from; None: those three.
        source: A shell script that is sourced for the environment, in place of the entry's, which
            comes before the header's.
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
        python: The interpreter of a first-party analysis, a path or a name on the PATH; None: what
            the entry says, else the one that a sourced script activates, else our own.
        stdin: A file that is the standard input, relative to the folder in which it runs; None:
            what the entry says, else there is none.
        publisher: Publishes summary plots of the result; references stand in their place then.
        logbook: Where the status of the analysis is posted, and the dicts of its summary.
        origin: Where the publisher and the logbook are told that all this comes from.
        origins: Where each parameter came from, for the record.
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
        python: str | None = None,
        stdin: str | Path | None = None,
        publisher: pages.PagePublisher | None = None,
        logbook: logbooks.Logbook | None = None,
        origin: PageOrigin | None = None,
        origins: Iterable[ValueOrigin] = (),
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
            None if launcher is None else tuple(launcher),
            heartbeat_timeout_s,
            grace_s,
            source=None if source is None else str(source),
            python=python,
            stdin=None if stdin is None else str(stdin),
        )
        settings = given.over(entry.settings)
        if output_limit_bytes < 0:
            raise UsageError(f"output_limit_bytes is {output_limit_bytes}; 0 keeps nothing")
        task = None if entry.task is None else _place(entry.task)
        schemas = entry.impl_schemas
        if schemas is None and parameters is not None:
            schemas = type(parameters).impl_schemas
        self.spec = AnalysisSpec(
            name=entry.name,
            task=task,
            program=entry.program or "",
            parameters=parameters,
            parameters_class=_place(type(parameters)) if task and parameters else "",
            impl_schemas=schemas,
            launcher=settings.launcher or (),
            python=settings.python,
            stdin=settings.stdin,
            environment=_environment_of(environment, header, settings.source, entry),
            work_dir=None if work_dir is None else Path(os.path.expanduser(work_dir)).absolute(),
            template_dirs=tuple(
                str(place)
                for place in (getattr(header, "template_dir", ""), entry.template_dir)
                if place
            ),
            output_roots=tuple(getattr(header, "output_roots", ())),
            output_limit_bytes=output_limit_bytes,
            timeout_s=timeout_s,
            grace_s=GRACE_S if settings.grace_s is None else settings.grace_s,
            heartbeat_s=settings.heartbeat_s,
            poll_interval_s=poll_interval,
            before=(*entry.before, *before),
            after=(*entry.after, *after),
            publisher=publisher,
            logbook=logbook,
            origin=origin,
            origins=tuple(origins),
            redaction=Redaction.from_environment(),
        )
        self.spec.environment.check()
        self._callbacks = (*hooks_of(entry.hooks).callbacks(), *hooks_of(hooks).callbacks())
        self._supervisor = supervisor

    def check_start(self) -> None:
        """See that its launcher is there, as far as that can be told before it is started.

        A file that is sourced may change the PATH; then it cannot. Another interpreter is asked
        whether the analysis can run there; a file is sourced to know which one it activates.

        Raises:
            AnalysisError: There is no such program, it may not be executed, or the analysis lacks
                something in its interpreter.
        """
        spec = self.spec
        if spec.launcher and spec.environment.source is None:
            find_program(spec.launcher[0], spec.environment.build(), spec.folder, what="launcher")
        if spec.task is not None and (spec.python or spec.environment.source is not None):
            environment = spec.environment.build()
            python = interpreter_of(spec, environment)
            if python is not None:
                check_interpreter(python, spec, environment)

    def start(self) -> AnalysisHandle:
        """Start the analysis; what stands in its way is its outcome, not an exception."""
        spec, callbacks = self.spec, self._callbacks
        if spec.logbook is not None:
            spec.redaction.remember([dict(os.environ), dict(spec.parameters or ())])
            callbacks = (*callbacks, logbook_callback(spec.logbook, spec))
        loop = (self._supervisor or default_supervisor()).lease()
        handle = AnalysisHandle(spec.name, EventDelivery(loop.callers.submit, callbacks))
        code = CodeLook(spec)
        code.begin(loop.callers.submit)
        ending = AnalysisEnding(spec, loop, handle, code)
        supervision = handle.controls = Supervision(loop, spec, handle, ending.ended)
        loop.post(loop.add, supervision)
        if spec.before or spec.environment.source is not None:
            loop.starters.submit(lambda: _start_guarded(spec, loop, handle, supervision))
        else:
            _start_guarded(spec, loop, handle, supervision)
        return handle


def _start_guarded(
    spec: AnalysisSpec, loop: SupervisorLoop, handle: AnalysisHandle, supervision: Supervision
) -> None:
    def never_ran(cause: str, exc: BaseException) -> None:
        supervision.never_ran(ProcessEnd(cause=cause, why=cause_of_no_start(exc)))

    try:
        _start(spec, loop, handle, supervision)
    except (AnalysisError, TaskletError) as exc:
        never_ran(str(exc), exc)
    except OSError as exc:
        never_ran(f"cannot be started: {exc.strerror or exc}", exc)
    except Exception as exc:
        _LOGGER.exception("analysis %s could not be started", spec.name)
        never_ran(f"cannot be started: {type(exc).__name__}: {exc}", exc)
    except BaseException as exc:  # Ctrl-C, in the thread that starts it
        never_ran("cannot be started: interrupted", exc)
        raise


def _start(
    spec: AnalysisSpec, loop: SupervisorLoop, handle: AnalysisHandle, supervision: Supervision
) -> None:
    _make_work_dir(spec.work_dir)
    environment = spec.environment.build(called_off=lambda: supervision.is_called_off)
    context = TaskletContext(
        spec.name, spec.parameters, environment, spec.work_dir, post=spec.post_message
    )
    run_tasklets("before", spec.before, context)
    plan = supervision.plan = plan_of(spec, loop.next_mark(), context.environment)
    if supervision.is_called_off:
        supervision.never_ran(ProcessEnd())
        return
    launched = launch(plan)
    try:
        handle.set_process(launched.process.pid, launched.identity)
        handle.tell("started", f"process {launched.process.pid}")
    except BaseException:  # nobody would ever end it
        launched.discard()
        raise
    supervision.begin(plan, launched)


def _make_work_dir(folder: Path | None) -> None:
    if folder is None:
        return
    try:
        make_private_folder(folder)
    except OSError as exc:
        raise AnalysisError(
            f"the working folder {str(folder)!r} cannot be made: {exc.strerror}",
            file=folder,
            errno_name=errno_name(exc),
        ) from exc


def _environment_of(
    given: AnalysisEnvironment | Mapping[str, str | None] | None,
    header: AnalysisHeader | None,
    source: str | None,
    entry: AnalysisEntry,
) -> AnalysisEnvironment:
    if isinstance(given, AnalysisEnvironment):
        if source is None or (given.source is not None and source == entry.source):
            return given
        return dataclasses.replace(given, source=source)
    of_header = header.environment if header is not None else {}
    variables = {**(entry.environment or {}), **of_header, **(given or {})}
    if source is None and header is not None:
        source = header.environment_file or None
    return AnalysisEnvironment(variables=variables, source=source)


def _place(given: str | type) -> str:
    """Return ``module:Class``, by which another process finds a class."""
    if isinstance(given, str):
        return given
    if given.__module__ == "__main__" or "<locals>" in given.__qualname__:
        raise AnalysisError(
            f"another process cannot import {given.__qualname__} of {given.__module__}",
            hint="define it at the top of a module that can be imported",
        )
    return f"{given.__module__}:{given.__qualname__}"


__all__ = ["AnalysisExecutor", "AnalysisHandle", "ProcessEnd"]
