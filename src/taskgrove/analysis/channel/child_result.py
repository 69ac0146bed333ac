"""What an analysis has returned, on its way to its executor.

Imported when there is a result: an analysis that fails before needs none of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from taskgrove.analysis.channel.messages import Start, printable
from taskgrove.analysis.plain.form import to_plain
from taskgrove.analysis.results import ElogSummaryPlots, TaskResult, TaskStatus

_END: Final = object()


def as_result(start: Start, returned: Any) -> TaskResult:
    """Return what ``run`` returned as a result: it may be one already."""
    if isinstance(returned, TaskResult):
        return returned
    return TaskResult(start.name, TaskStatus.COMPLETED, "", returned, start.impl_schemas)


def plain_summary(summary: Any) -> Any:
    """Return a summary, which may be a dict or a list too, as plain data.

    Raises:
        AnalysisError: It has no plain form.
    """
    return printable(summary) if isinstance(summary, str) else to_plain(summary)


def holds_plots(payload: Any) -> bool:
    """Return whether summary plots are in a payload, however deep it is, or turned in itself."""
    around: list[tuple[int, Iterator[Any]]] = [(0, iter((payload,)))]
    while around:
        value = next(around[-1][1], _END)
        if value is _END:
            around.pop()
        elif isinstance(value, ElogSummaryPlots):
            return True
        elif isinstance(value, (list, tuple, dict)) and all(id(value) != one for one, _ in around):
            items = value.values() if isinstance(value, dict) else value
            around.append((id(value), iter(items)))
    return False
