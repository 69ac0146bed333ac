"""Leaving out progress that newer progress of the same node replaces, without a gap.

Under load a batch holds progress of the same node many times; one event is enough. Only events
that change nothing but the percentage are left out: never an end, a start, a note, a cause, a new
message or a new attempt. Each event that is kept says in ``sequence_from`` for which range it
stands, so that the ranges of a log follow each other without gap or overlap. A draft of progress
becomes an event only if it is kept. Pure.
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
    """Return the events that are kept, each marked with the range that it stands for.

    Args:
        heard: Events and drafts of one run, in order of their sequence.
    """
    if not heard or len(heard) < LOAD:
        return [item.event() if isinstance(item, ProgressDraft) else item for item in heard]
    kept, claimed = _newest_drafts(heard) or _newest(heard)
    return [
        _marked(item, None if first == item.sequence else first)
        for item, first in zip(kept, claimed, strict=True)
    ]


def _newest_drafts(heard: Sequence[Any]) -> tuple[list[Any], list[int]] | None:
    """Do the work of :func:`_newest` at a quarter of the cost; None where it does not apply.

    It applies to drafts alone that follow each other, by far the most frequent load.
    """
    begin = heard[0].sequence
    if heard[-1].sequence - begin != len(heard) - 1 or set(map(type, heard)) != {ProgressDraft}:
        return None
    kept = sorted({item.facts: item for item in heard}.values(), key=_SEQUENCE)
    return kept, [begin, *(item.sequence + 1 for item in kept[:-1])]


def _newest(heard: Sequence[Any]) -> tuple[list[Any], list[int]]:
    """Return the items to keep, and the first number that each of them stands for."""
    kept: list[Any] = []
    claimed: list[int] = []
    newest: dict[Hashable, Any] = {}
    expected = -1
    for item in reversed(heard):
        sequence = item.sequence
        if sequence != expected and newest:
            newest.clear()  # events between have not come: no item may stand for them
        expected = sequence - 1
        if type(item) is ProgressDraft:
            key: Hashable = item.facts
            later = newest.get(key)
            if later is not None:
                claimed[-1] = sequence
                continue
            newest[key] = item
        elif (
            item.kind == "progress"
            and item.status is _RUNNING
            and item.detail is None
            and item.sequence_from is None
        ):
            key = item.path
            later = newest.get(key)
            if later is not None and _says_the_same(item, later):
                claimed[-1] = sequence
                continue
            newest[key] = item
        elif newest:
            newest.clear()  # its number stands between theirs
        kept.append(item)
        claimed.append(sequence)
    kept.reverse()
    claimed.reverse()
    return kept, claimed


def _marked(item: Any, first: int | None) -> TaskEvent:
    if type(item) is ProgressDraft:
        return item.event(first)
    event: TaskEvent = item
    return event if first is None else msgspec.structs.replace(event, sequence_from=first)


def _says_the_same(item: TaskEvent, later: TaskEvent) -> bool:
    """Return True for progress that differs in nothing but the percentage."""
    return (
        item.message == later.message
        and item.devices == later.devices
        and item.result_code is later.result_code
        and item.failed_devices == later.failed_devices
        and item.health_state == later.health_state
        and item.attempt == later.attempt
        and (item.progress is None or later.progress is not None)
    )
