"""What an analysis has returned, on its way to its executor.

Imported when there is a result: an analysis that fails before needs none of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from taskgrove.analysis.channel.channel_messages import Start, printable
from taskgrove.analysis.plain.form import to_plain
from taskgrove.analysis.results import ElogSummaryPlots, TaskResult, TaskStatus
from taskgrove.errors import AnalysisError
from taskgrove.events.foreign_values import readable

_END: Final = object()


def as_result(start: Start, returned: Any) -> TaskResult:
    """Return what ``run`` returned as a result: it may be one already."""
    if isinstance(returned, TaskResult):
        return returned
    return TaskResult(start.name, TaskStatus.COMPLETED, "", returned, start.impl_schemas)


def plain_summary(summary: Any, buffers: list[memoryview]) -> Any:
    """Return a summary, which may be a dict or a list too, as plain data.

    It is for people: what has no plain form is put into words, and does not fail the analysis.

    Args:
        summary: The summary, its figures converted.
        buffers: As :func:`~taskgrove.analysis.plain.form.to_plain`.
    """
    if isinstance(summary, str):
        return printable(summary)
    begun = len(buffers)
    try:
        return to_plain(summary, buffers=buffers)
    except AnalysisError:
        del buffers[begun:]
        return readable(summary)


def holds_plots(payload: Any) -> bool:
    """Return whether summary plots are in a payload, however deep it is, or turned in itself."""
    around: list[Iterator[Any]] = [iter((payload,))]
    seen: dict[int, Any] = {}  # each is looked into once, in whatever places it stands
    while around:
        value = next(around[-1], _END)
        if value is _END:
            around.pop()
        elif isinstance(value, ElogSummaryPlots):
            return True
        elif isinstance(value, (list, tuple, dict)) and id(value) not in seen:
            seen[id(value)] = value
            around.append(iter(value.values() if isinstance(value, dict) else value))
    return False
