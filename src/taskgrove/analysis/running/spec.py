"""Everything that is settled about one analysis before it starts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from taskgrove.analysis.publishing.page_origin import PageOrigin
from taskgrove.analysis.running.environment import AnalysisEnvironment
from taskgrove.redaction import Redaction

if TYPE_CHECKING:
    from taskgrove.analysis.logbook import Logbook
    from taskgrove.analysis.pages import PagePublisher
    from taskgrove.analysis.parameters.base import TaskParameters
    from taskgrove.analysis.tasklets import PostMessage, Tasklet
    from taskgrove.events.value_origin import ValueOrigin

_OUTPUT = "Output: stdout and stderr, captured as text; the lines of the program's log"
_BY_LAUNCHER = (
    "UnixSocket: framed messages (msgpack headers, raw array buffers) over a Unix socket in the"
    " abstract name space; rank 0 reports"
)
_DIRECT = (
    "Channel: framed messages (msgpack headers, raw array buffers) over an inherited socket pair;"
    " arrays from 1 MiB by shared memory"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class AnalysisSpec:
    """One analysis as :class:`~taskgrove.analysis.executor.AnalysisExecutor` was asked for it.

    Attributes:
        name: Its name.
        task: ``module:Class`` of a first-party analysis; None: a third-party program.
        program: The program of a third-party analysis, where its parameters name none.
        parameters: Its validated parameters, or None.
        stdin: The file that is its standard input; None: there is none.
        parameters_class: ``module:Class`` of the parameters of a first-party analysis, or empty.
        impl_schemas: The schemas that its result keeps to, separated by ``;``.
        launcher: The words of the launcher; empty: there is none.
        python: The interpreter of a first-party analysis, as somebody named it; None: nobody did.
        environment: Where its environment comes from.
        work_dir: The folder in which it runs and where its output is kept, or None.
        template_dirs: The folders of templates; none: ``work_dir``.
        output_roots: Where a template may write, besides the folder of the process.
        output_limit_bytes: How much of stdout and stderr together is kept on disk.
        timeout_s: Its limit, in seconds; None: none.
        grace_s: From SIGTERM to SIGKILL, in seconds.
        heartbeat_s: How long it may be silent, in seconds; None: as long as it likes.
        poll_interval_s: Period of the reconciling poll, in seconds.
        before: The tasklets before its process starts.
        after: The tasklets after it has COMPLETED.
        publisher: Publishes summary plots of its result; None: nobody does.
        logbook: Where its status and the dicts of its summary are posted; None: nowhere.
        origin: Where the publisher and the logbook are told that all this comes from.
        origins: Where each parameter came from, for the record.
        redaction: Keeps secrets out of the record.
    """

    name: str
    task: str | None = None
    program: str = ""
    parameters: TaskParameters | None = None
    parameters_class: str = ""
    impl_schemas: str | None = None
    launcher: tuple[str, ...] = ()
    python: str | None = None
    stdin: str | None = None
    environment: AnalysisEnvironment
    work_dir: Path | None = None
    template_dirs: tuple[str, ...] = ()
    output_roots: tuple[str, ...] = ()
    output_limit_bytes: int = 0
    timeout_s: float | None = None
    grace_s: float = 5.0
    heartbeat_s: float | None = None
    poll_interval_s: float = 0.5
    before: tuple[Tasklet, ...] = ()
    after: tuple[Tasklet, ...] = ()
    publisher: PagePublisher | None = None
    logbook: Logbook | None = None
    origin: PageOrigin | None = None
    origins: tuple[ValueOrigin, ...] = ()
    redaction: Redaction

    @property
    def folder(self) -> Path | None:
        """The folder in which the process runs; None: the current one."""
        given = self.parameters.run_folder() if self.parameters is not None else None
        return self.work_dir if given is None else (self.work_dir or Path.cwd()) / given

    @property
    def package(self) -> str | None:
        """The package of a first-party analysis, whose version is recorded; else None."""
        return None if self.task is None else self.task.partition(":")[0].partition(".")[0]

    @property
    def known_origin(self) -> PageOrigin:
        """Where its posts come from: at least from an analysis of this name."""
        return PageOrigin(analysis=self.name) if self.origin is None else self.origin

    @property
    def post_message(self) -> PostMessage | None:
        """Posts a message of a tasklet to the logbook; None: there is no logbook."""
        logbook = self.logbook
        if logbook is None:
            return None

        def post(text: str, tags: Iterable[str], files: Iterable[Path]) -> None:
            said = self.redaction.said(text)
            logbook.post_message(self.known_origin, said, tags=tags, files=files)

        return post

    @property
    def communicator_desc(self) -> list[str]:
        """One description for each communicator, in their order (seed 004)."""
        if self.task is None:
            return [_OUTPUT]
        return [_BY_LAUNCHER if self.launcher else _DIRECT, _OUTPUT]
