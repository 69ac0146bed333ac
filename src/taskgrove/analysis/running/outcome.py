"""What is known of an analysis when it is over."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from taskgrove.analysis.results import DescribedAnalysis, TaskResult, TaskStatus
from taskgrove.analysis.running.output import OutputSummary
from taskgrove.events import AnalysisDetail, Cause

if TYPE_CHECKING:
    from taskgrove.analysis.running.end_verdict import EndFacts
    from taskgrove.analysis.running.launch import Launched, Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessEnd:
    """What became of an analysis' process, and what it had sent.

    Attributes:
        facts: What decides the verdict.
        duration_s: How long it ran, in seconds; None: it was never started.
        cpu_s: Processor time of it and of the children that it waited for, in seconds.
        max_rss_bytes: Most memory that one process of it held, in bytes; None: it ended before
            that could be measured.
        output: What became of its streams.
        notes: What people should know besides, one sentence each.
        result: The message with its result, still plain, and its buffers; None: none came.
        versions: The versions that another interpreter told, by name.
        cause: The cause where it never ran; then ``facts`` is None.
        why: The same as data.
        cancelled: Whether it never ran because it was called off.
        plan: How it was to be launched, as far as that was settled.
        launched: The process, where one was started.
    """

    facts: EndFacts | None = None
    duration_s: float | None = None
    cpu_s: float | None = None
    max_rss_bytes: int | None = None
    output: tuple[OutputSummary, ...] = ()
    notes: tuple[str, ...] = ()
    result: tuple[Any, tuple[memoryview, ...]] | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    cause: str = ""
    why: Cause | None = None
    cancelled: bool = False
    plan: Plan | None = None
    launched: Launched | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AnalysisOutcome:
    """The end of an analysis.

    Attributes:
        status: COMPLETED, FAILED, CANCELLED or TIMEDOUT.
        cause: Why it is not COMPLETED, in one line; else empty.
        why: The same as data, with the last lines of its output and the file that holds it; None
            where it COMPLETED.
        described: The whole description (seed 004).
        detail: The same for the record: one event detail, secrets redacted.
        return_code: Exit status, negative for a signal; None: never started, or not known.
        duration_s: How long it ran, in seconds; None: never started.
        cpu_s: Processor time of it and of the children that it waited for, in seconds.
        max_rss_bytes: Most memory that one process of it held, in bytes, or None.
        output: What became of stdout and stderr.
        notes: What people should know besides: processes that it left behind and that were
            ended, output that could not be kept, ...
        pages: The summary plots that were published.
    """

    status: TaskStatus
    cause: str
    described: DescribedAnalysis
    detail: AnalysisDetail
    why: Cause | None = None
    return_code: int | None = None
    duration_s: float | None = None
    cpu_s: float | None = None
    max_rss_bytes: int | None = None
    output: tuple[OutputSummary, ...] = ()
    notes: tuple[str, ...] = ()
    pages: tuple[Any, ...] = ()

    @property
    def result(self) -> TaskResult:
        """The result; its payload is kept where one came, whatever the status."""
        return self.described.task_result

    @property
    def output_file(self) -> Path | None:
        """The file with stdout, else that with stderr, else None."""
        return next((item.file for item in self.output if item.file is not None), None)
