"""Leaving out progress that newer progress of the same node overtakes, without a gap.

Under load a burst brings the same node's progress many times in one batch; one of them is
enough. Only what changes nothing but the percentage is left out: never an end, a start, a
note, a cause, a new message or a new attempt. Each event that is kept says in
``sequence_from`` which range it stands for, so that the ranges of a log follow each other
without gap or overlap. Progress that comes as a draft becomes an event only if it is kept.

Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from operator import attrgetter
from typing import Any, Final

import msgspec

from taskgrove.control_model import TaskStatus
from taskgrove.events import ProgressDraft, TaskEvent

#: Fewer events than this in a batch are all kept.
LOAD: Final = 200

_SEQUENCE: Final[Callable[[Any], int]] = attrgetter("sequence")
_RUNNING: Final = TaskStatus.IN_PROGRESS


def in_order(heard: Sequence[TaskEvent | ProgressDraft]) -> list[TaskEvent | ProgressDraft]:
    """Return events and drafts in order of their sequence."""
    return sorted(heard, key=_SEQUENCE)


def coalesce(heard: Sequence[TaskEvent | ProgressDraft]) -> list[TaskEvent]:
    """Return the events that are worth keeping, those that stand for others marked so.

    Args:
        heard: Events and drafts of one run, in order of their sequence.
    """
    if len(heard) < LOAD:
        return [item.event() if isinstance(item, ProgressDraft) else item for item in heard]
    kept: list[TaskEvent] = []
    stretch: list[TaskEvent | ProgressDraft] = []
    expected = -1
    for item in heard:
        if not isinstance(item, ProgressDraft) and not (
            item.kind == "progress"
            and item.status is _RUNNING
            and item.detail is None
            and item.sequence_from is None
        ):
            _settle(stretch, kept)
            stretch.clear()
            kept.append(item)
            continue
        sequence = item.sequence
        if sequence != expected and stretch:
            _settle(stretch, kept)
            stretch.clear()
        stretch.append(item)
        expected = sequence + 1
    _settle(stretch, kept)
    return kept


def _settle(stretch: list[TaskEvent | ProgressDraft], kept: list[TaskEvent]) -> None:
    """Append what is kept of progress whose numbers follow each other."""
    if not stretch:
        return
    newest: dict[Hashable, TaskEvent | ProgressDraft] = {}
    survivors: list[TaskEvent | ProgressDraft] = []
    for item in reversed(stretch):
        key: Hashable = (item.task, item.name) if isinstance(item, ProgressDraft) else item.path
        later = newest.get(key)
        if (
            later is not None
            and item.message == later.message
            and item.devices == later.devices
            and item.result_code is later.result_code
            and item.failed_devices == later.failed_devices
            and item.health_state == later.health_state
            and _says_the_same(item, later)
        ):
            continue  # it differs in nothing but the percentage
        newest[key] = item
        survivors.append(item)
    begin = stretch[0].sequence
    for item in reversed(survivors):
        sequence = item.sequence
        first = None if sequence == begin else begin
        if isinstance(item, ProgressDraft):
            kept.append(item.event(first))
        elif first is None:
            kept.append(item)
        else:
            kept.append(msgspec.structs.replace(item, sequence_from=first))
        begin = sequence + 1


def _says_the_same(item: Any, later: Any) -> bool:
    # Two drafts or two events: they are known by different keys.
    if type(item) is ProgressDraft:
        return bool(item.device == later.device)
    return item.attempt == later.attempt and (item.progress is None or later.progress is not None)
