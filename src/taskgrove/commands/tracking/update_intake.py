"""The intake of a tracker: an update is read, decided on, committed, and told to the observers."""

from __future__ import annotations

import threading
from typing import Any, Final

from taskgrove.commands.aggregation.base import SubtaskResult
from taskgrove.commands.aggregation.plain_values import text_of
from taskgrove.commands.tracking.course import DECIDED, RUNNING, Course
from taskgrove.commands.tracking.judgement import Judgement, is_final
from taskgrove.commands.tracking.tracker_events import TrackerEvents
from taskgrove.commands.tracking.tracker_log import TrackerLog
from taskgrove.commands.tracking.updates import NO_CONTEXT, Update, decide, read_update
from taskgrove.control_model import TaskStatus, as_task_status
from taskgrove.events import SubtaskFacts
from taskgrove.moves import IGNORE, REFUSE

_IN_PROGRESS: Final = TaskStatus.IN_PROGRESS


class UpdateIntake:
    """Takes in the updates of one tracker. Any thread may call its methods.

    Args:
        lock: The tracker's lock. It is not held while results are parsed or observers are called.
        course: The state and the counters.
        judgement: The records and the policy.
        log: The log.

    Attributes:
        events: The tie to the event bus, or None.
    """

    def __init__(
        self, lock: threading.Lock, course: Course, judgement: Judgement, log: TrackerLog
    ) -> None:
        self.events: TrackerEvents | None = None
        self._lock = lock
        self._course = course
        self._judgement = judgement
        self._log = log

    def take_in_progress(self, record: SubtaskResult, progress: int) -> bool:
        """Take in plain progress of a running subtask; return True when a payload was posted."""
        events = self.events
        if events is not None and events.bus.active:
            return self._tell_progress(events, record, progress)
        course = self._course
        with self._lock:
            earlier = record.progress
            if progress <= earlier or record.status is not _IN_PROGRESS or course.state > RUNNING:
                return False
            record.progress = progress
            course.progress_sum += progress - earlier
            return course.progress_sum >= course.next_step_sum and course.post_progress()

    def _tell_progress(self, events: TrackerEvents, record: SubtaskResult, progress: int) -> bool:
        """Take in plain progress of a running subtask and tell the observers."""
        due, sequence, bus = False, 0, events.bus
        with self._lock:
            facts = record.facts
            if facts is None:
                facts = self._begin_to_tell(record)
            if (
                facts is not None
                and progress > record.progress
                and record.status is _IN_PROGRESS
                and self._course.state <= RUNNING
                and events is self.events
            ):
                course = self._course
                course.progress_sum += progress - record.progress
                record.progress = progress
                if course.progress_sum >= course.next_step_sum:
                    due = course.post_progress()
                sequence = next(bus.numbers)
        if not sequence or facts is None:
            return self.take_in(record.name, None, progress, None, None, {})
        try:
            bus.publish_progress(facts, sequence, progress)
        except BaseException as exc:  # noqa: BLE001 - logged
            self._log.error("an update could not be told", exc)
        return due

    def _begin_to_tell(self, record: SubtaskResult) -> SubtaskFacts | None:
        """Make the facts that progress of a subtask tells (lock held); None: it tells nothing."""
        name, events = record.name, self.events
        if events is None or name.__class__ is not str or name in events.nested:
            return None
        record.facts = events.facts_of(record)
        return record.facts

    def take_in(
        self,
        task_name: str,
        status: Any,
        progress: Any,
        result: Any,
        error: Any,
        kwargs: dict[str, Any],
    ) -> bool:
        """Take in one update; return True when a payload is to be delivered."""
        if status is not None and status.__class__ is not TaskStatus:
            status = self.checked_status(task_name, status)
        course = self._course
        record = self._judgement.subtasks.get(task_name)
        if record is None and course.names_known:
            self._tell_unknown(text_of(task_name), kwargs.get("source"))
            return False
        known_device = None if record is None else record.device_name
        update = read_update(status, progress, result, error, kwargs, known_device)
        events, event, path = self.events, None, ""
        if events is not None and events.bus.active and task_name not in events.nested:
            path = events.path_of(task_name)
        with self._lock:
            if record is None:
                record = course.record_of(task_name)
            earlier = record.status
            decision = decide(earlier, update, course.state >= DECIDED)
            accepted = decision is not IGNORE and decision is not REFUSE
            if accepted:
                due = course.commit(record, update, decision)  # type: ignore[arg-type]
                if path and events is not None:
                    event = events.event_of(path, record, earlier, update.context.attempt)
            else:
                # A helper may have counted the last end; nobody has been told of it yet.
                due = course.is_done and course.complete(NO_CONTEXT)
        if accepted and event is None and update.context is NO_CONTEXT:
            return due
        try:
            if not accepted:
                self._tell_ignored(record, update)
            elif event is not None and events is not None:
                events.subtask(event, record, update)
            if accepted and update.context.source:
                self._log.update(record, update, "an update of %s")
        except BaseException as exc:  # noqa: BLE001 - the update is taken in, and is delivered
            self._log.error("an update could not be told", exc)
        return due

    def leave_to_itself(self, task_name: str) -> None:
        """Publish no more events of a subtask: its own tracker does."""
        with self._lock:
            if self.events is not None:
                self.events.nested.add(task_name)
                if task_name in self._judgement.subtasks:
                    self._judgement.subtasks[task_name].facts = None

    def _tell_unknown(self, name: str, source: Any) -> None:
        """Note and log an update of a name that is no subtask."""
        text = f"an update of {name!r}, which is no subtask of {self._log.task_name}, is ignored"
        if self.events is not None and self.events.bus.active:
            self.events.unknown(name, text)
        self._log.unknown(text, source)

    def checked_status(self, task_name: str, status: Any) -> TaskStatus | None:
        """Return the reported status; an unknown one is logged, and counts as none."""
        checked = as_task_status(status)
        if checked is None:
            self._log.no_status(task_name, status)
        return checked

    def _tell_ignored(self, record: SubtaskResult, update: Update) -> None:
        """Log an update that changed nothing, and note it where it says something new."""
        status, code = update.status, update.code
        late = self._course.state >= DECIDED or is_final(record)
        news = (status is not None and status is not record.status) or (
            code is not None and code is not record.result_code
        )
        if self.events is not None and news and not update.context.skipped:
            self.events.ignored(record, update, late=late)
        words = "a late update of %s ignored" if late else "an illegal update of %s ignored"
        self._log.update(record, update, words)
