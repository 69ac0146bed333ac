"""From the end of the process to the outcome: schemas, tasklets, pages, description.

Threads: the supervisor's thread calls :meth:`AnalysisEnding.ended`, which hands on at once. The
rest runs on one of its working threads, where foreign code may take its time.
"""

from __future__ import annotations

import dataclasses
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from taskgrove.analysis.plain.form import PlainTypes, from_plain
from taskgrove.analysis.results import DescribedAnalysis, TaskResult, TaskStatus
from taskgrove.analysis.running.end_verdict import EndFacts, LastWords, cause_of_end, decide
from taskgrove.analysis.running.handle import AnalysisHandle
from taskgrove.analysis.running.no_start import cause_of_no_start
from taskgrove.analysis.running.outcome import AnalysisOutcome, ProcessEnd
from taskgrove.analysis.tasklets import TaskletContext, TaskletError, run_tasklets
from taskgrove.errors import AnalysisError, TaskgroveError
from taskgrove.events import AnalysisDetail, Cause, cause_of
from taskgrove.events.foreign_values import readable
from taskgrove.provenance import user_name, versions

if TYPE_CHECKING:
    from taskgrove.analysis.running.code_look import CodeLook
    from taskgrove.analysis.running.spec import AnalysisSpec
    from taskgrove.analysis.running.supervisor import SupervisorLoop

_LOGGER = logging.getLogger(__name__)


class AnalysisEnding:
    """The last steps of one analysis.

    Args:
        spec: The analysis.
        loop: The supervisor's loop, leased for it.
        handle: Gets the outcome.
        code: Knows the revision of the code.
    """

    def __init__(
        self, spec: AnalysisSpec, loop: SupervisorLoop, handle: AnalysisHandle, code: CodeLook
    ) -> None:
        self._spec = spec
        self._code = code
        self._loop = loop
        self._handle = handle

    def ended(self, end: ProcessEnd) -> None:
        """End an analysis whose process has ended, or that never had one."""
        self._loop.workers.submit(lambda: self._finish(end))

    def _finish(self, end: ProcessEnd) -> None:
        try:
            outcome = self._outcome(end)
        except BaseException as exc:  # whatever happens here, the analysis has an end
            _LOGGER.exception(
                "the end of analysis %s could not be described", self._handle.analysis
            )
            text = f"its end could not be described: {readable(exc)}"
            result = TaskResult(self._handle.analysis, TaskStatus.FAILED, text, None)
            outcome = self._build(end, result, text, (), (), cause_of(exc))
        try:
            self._handle.finish(outcome)
        finally:
            self._loop.release()

    def _outcome(self, end: ProcessEnd) -> AnalysisOutcome:
        why: Cause | None = None
        if end.facts is not None:
            status, cause, why = self._judged(end, end.facts)
        else:
            status = TaskStatus.CANCELLED if end.cancelled else TaskStatus.FAILED
            cause, why = end.cause, end.why
        notes = list(end.notes)
        pages: tuple[Any, ...] = ()
        result = TaskResult(self._handle.analysis, status, "", None, self._spec.impl_schemas)
        try:
            self._take_result(end, result)
            if status is TaskStatus.COMPLETED:
                self._complete(end, result)
        except (AnalysisError, TaskletError, TaskgroveError) as exc:
            if status is TaskStatus.COMPLETED:
                status, cause = TaskStatus.FAILED, str(exc)
                why = self._of_bad_result(end, exc)
            else:
                notes.append(str(exc))
        if status is TaskStatus.COMPLETED:
            pages, problems = self._publish(end, result)
            notes += problems
        result.task_status = status
        if cause and _is_empty(result.summary):
            result.summary = cause
        return self._build(end, result, cause, tuple(notes), pages, why)

    def _judged(self, end: ProcessEnd, facts: EndFacts) -> tuple[TaskStatus, str, Cause | None]:
        """Return status, cause and the cause as data of an analysis whose process ended."""
        status, cause = decide(facts)
        if status is TaskStatus.COMPLETED:
            return status, cause, None
        facts = dataclasses.replace(facts, last_words=_last_words(end))
        status, cause = decide(facts)
        is_silence = facts.asked == "unresponsive"
        limit_s = self._spec.heartbeat_s if is_silence else self._spec.timeout_s
        why = cause_of_end(facts, status, limit_s if facts.asked else None)
        return status, cause, None if why is None else self._with_output(why, end)

    def _of_bad_result(self, end: ProcessEnd, exc: Exception) -> Cause:
        """Return why an analysis failed whose process ended well."""
        if isinstance(exc, TaskletError):
            why = cause_of_no_start(exc)
        else:
            why = Cause(kind="unreadable", return_code=0)
        words = _last_words(end)
        return self._with_output(replace(why, last_lines=words.last_lines), end)

    def _with_output(self, why: Cause, end: ProcessEnd) -> Cause:
        """Return a cause with the program, and the file that holds what it wrote."""
        program = end.launched.argv[0] if end.launched is not None else None
        file = _output_file(end)
        return replace(why, program=program, output_file=None if file is None else str(file))

    def _take_result(self, end: ProcessEnd, result: TaskResult) -> None:
        """Put what the analysis has sent into the result."""
        if end.result is None:
            return
        message, buffers = end.result
        result.summary = from_plain(message.summary, buffers=buffers)
        result.impl_schemas = message.impl_schemas or result.impl_schemas
        types = PlainTypes()
        if self._spec.parameters is not None:
            types.register(type(self._spec.parameters))
        result.payload = from_plain(message.payload, buffers=buffers, types=types)

    def _complete(self, end: ProcessEnd, result: TaskResult) -> None:
        """Check the payload of an analysis that has completed, and run what comes after."""
        parameters = self._spec.parameters
        if end.result is None and parameters is not None:
            result.payload = parameters.described_result()
            result.summary = parameters.described_summary() or ""
        if result.impl_schemas:
            from taskgrove.analysis.schemas import require_payload  # noqa: PLC0415

            folder = end.plan.cwd if end.plan is not None else None
            require_payload(result.impl_schemas, result.payload, folder=folder)
        if self._spec.after:
            plan = end.plan
            context = TaskletContext(
                self._handle.analysis,
                parameters,
                dict(plan.environment) if plan is not None else {},
                self._spec.work_dir,
                result,
                self._spec.post_message,
            )
            run_tasklets("after", self._spec.after, context)

    def _publish(
        self, end: ProcessEnd, result: TaskResult
    ) -> tuple[tuple[Any, ...], tuple[str, ...]]:
        """Publish the plots of payload and summary, and leave references in their place."""
        publisher = self._spec.publisher
        if publisher is None or (result.payload is None and isinstance(result.summary, str)):
            return (), ()
        from taskgrove.analysis import describing  # noqa: PLC0415 - not before the first end

        both, spec = (result.payload, result.summary), self._spec
        try:
            published = publisher.publish_payload(
                both,
                origin=spec.origin,
                parameters=describing.parameters_in_words(spec.parameters, spec.redaction),
                folder=end.plan.cwd if end.plan is not None else spec.work_dir,
            )
        except Exception as exc:
            _LOGGER.exception("the plots of analysis %s were not published", result.task_name)
            return (), (f"its plots were not published: {readable(exc)}",)
        result.payload, result.summary = published.payload
        return published.pages, published.problems

    def _build(
        self,
        end: ProcessEnd,
        result: TaskResult,
        cause: str,
        notes: tuple[str, ...],
        pages: tuple[Any, ...],
        why: Cause | None = None,
    ) -> AnalysisOutcome:
        spec = self._spec
        described = DescribedAnalysis(
            result,
            spec.parameters,
            dict(end.launched.environment) if end.launched is not None else {},
            spec.poll_interval_s,
            spec.communicator_desc,
        )
        try:
            detail, trouble = self._detail(end, result)
        except Exception as exc:  # an analysis has an end, whatever its parameters hold
            _LOGGER.exception("analysis %s could not be described", result.task_name)
            status = result.task_status.name
            detail = AnalysisDetail(analysis=result.task_name, status=status, pid=self._handle.pid)
            trouble = (f"it could not be described: {readable(exc)}",)
        return AnalysisOutcome(
            status=result.task_status,
            cause=cause,
            why=why,
            described=described,
            detail=detail,
            return_code=end.facts.return_code if end.facts is not None else None,
            duration_s=end.duration_s,
            cpu_s=end.cpu_s,
            max_rss_bytes=end.max_rss_bytes,
            output=end.output,
            notes=notes + trouble,
            pages=pages,
        )

    def _detail(
        self, end: ProcessEnd, result: TaskResult
    ) -> tuple[AnalysisDetail, tuple[str, ...]]:
        from taskgrove.analysis import describing  # noqa: PLC0415 - not before the first end

        spec, plan, launched = self._spec, end.plan, end.launched
        redaction = spec.redaction
        trouble: tuple[str, ...] = ()
        payload = "null"
        try:
            payload = describing.payload_json(result.payload, spec.work_dir)
        except AnalysisError as exc:
            trouble = (f"the payload is not in the record: {exc}",)
        argv: tuple[str, ...] = launched.argv if launched is not None else ()
        if launched is None and plan is not None:
            argv = plan.argv
        folder = plan.cwd if plan is not None and plan.cwd is not None else os.getcwd()
        return AnalysisDetail(
            analysis=self._handle.analysis,
            parameters=describing.parameters_json(spec.parameters, redaction),
            origins=spec.origins,
            environment=redaction.environment(launched.environment) if launched else {},
            argv=redaction.argv(argv),
            cwd=str(folder),
            host=os.uname().nodename,
            user=user_name(),
            pid=self._handle.pid,
            versions=_versions(end, spec.package),
            code=self._code.result(),
            communicators=tuple(spec.communicator_desc),
            poll_interval_s=spec.poll_interval_s,
            timeout_s=spec.timeout_s,
            grace_s=spec.grace_s,
            heartbeat_s=spec.heartbeat_s,
            source=None if (source := spec.environment.source) is None else str(source),
            status=result.task_status.name,
            summary=describing.summary_text(result.summary),
            summary_values=describing.summary_json(result.summary, redaction),
            impl_schemas=result.impl_schemas,
            payload=payload,
            return_code=end.facts.return_code if end.facts is not None else None,
            duration_s=end.duration_s,
            cpu_s=end.cpu_s,
            max_rss_bytes=end.max_rss_bytes,
            output_files=tuple(str(item.file) for item in end.output if item.file is not None),
        ), trouble


def _versions(end: ProcessEnd, package: str | None) -> dict[str, str]:
    """Return the versions of the code that ran; another interpreter has its own."""
    found = versions([] if package is None else [package])
    if end.plan is not None and end.plan.start is not None and end.plan.start.package:
        del found["python"]  # known only where the analysis has told it
    return found | dict(end.versions)


def _last_words(end: ProcessEnd) -> LastWords:
    from taskgrove.analysis.running.error_line import last_words  # noqa: PLC0415 - of failures

    return last_words(*(item.tail for item in reversed(end.output)))


def _output_file(end: ProcessEnd) -> Path | None:
    """Return the file of the stream that says why, else of one in which something stands."""
    streams = list(reversed(end.output))
    told = _last_words(end).tail
    if told is not None and streams[told].file is not None:
        return streams[told].file
    return next((item.file for item in streams if item.file is not None), None)


def _is_empty(summary: Any) -> bool:
    # Of another value than a text, nobody asks whether it is true: it may raise.
    return summary is None or (isinstance(summary, str) and not summary)
