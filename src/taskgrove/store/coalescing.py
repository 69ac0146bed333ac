"""Leaving out progress that newer progress of the same node overtakes, without a gap.

Under load a burst brings the same node's progress many times in one batch; one of them is
enough. Only what changes nothing but the percentage is left out: never an end, a start, a
note, a cause, a new message or a new attempt. Each event that is kept says in
``sequence_from`` which range it stands for, so that the ranges of a log follow each other
without gap or overlap.

Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from taskgrove.control_model import TaskStatus
from taskgrove.events import TaskEvent

#: Fewer events than this in a batch are all kept.
LOAD: Final = 200

_RUNNING: Final = TaskStatus.IN_PROGRESS


def coalesce(events: Sequence[TaskEvent]) -> Sequence[TaskEvent]:
    """Return the events that are worth keeping, those that stand for others marked so.

    Args:
        events: Events of one run, in order of their sequence.
    """
    if len(events) < LOAD:
        return events
    kept: list[TaskEvent] = []
    stretch: list[TaskEvent] = []
    expected = -1
    for event in events:
        plain = event.kind == "progress" and event.status is _RUNNING and event.detail is None
        if not plain or event.sequence != expected or event.sequence_from is not None:
            if stretch:
                _settle(stretch, kept)
                stretch = []
            if not plain or event.sequence_from is not None:
                kept.append(event)
                expected = -1
                continue
        stretch.append(event)
        expected = event.sequence + 1
    if stretch:
        _settle(stretch, kept)
    return kept


def _settle(stretch: list[TaskEvent], kept: list[TaskEvent]) -> None:
    """Append what is kept of progress events whose numbers follow each other."""
    newest: dict[str, TaskEvent] = {}
    survivors: list[TaskEvent] = []
    for event in reversed(stretch):
        later = newest.get(event.path)
        if later is not None and _says_the_same(event, later):
            continue
        newest[event.path] = event
        survivors.append(event)
    begin = stretch[0].sequence
    for event in reversed(survivors):
        if event.sequence == begin:
            kept.append(event)
        else:
            kept.append(msgspec.structs.replace(event, sequence_from=begin))
        begin = event.sequence + 1


def _says_the_same(event: TaskEvent, later: TaskEvent) -> bool:
    """Return True when two progress events of a node differ in nothing but the percentage."""
    return (
        event.attempt == later.attempt
        and event.result_code == later.result_code
        and event.message == later.message
        and event.devices == later.devices
        and event.failed_devices == later.failed_devices
        and event.health_state == later.health_state
        and (event.progress is None or later.progress is not None)
    )
