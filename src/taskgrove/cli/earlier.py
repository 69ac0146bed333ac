"""Results of earlier analyses, from the record: ``{{ earlier.FitRings.payload.distance_mm }}``.

A run is found by its labels ``experiment`` and ``run``; of those the latest counts in which the
analysis completed.

Threads: one thread at a time asks; each question opens the record and closes it again, because a
configuration asks seldom.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from taskgrove.errors import AnalysisError, StoreError

if TYPE_CHECKING:
    from taskgrove.events import AnalysisDetail
    from taskgrove.store.history import History
    from taskgrove.story.run_node import RunNode

#: The labels of a run by which its results are found again.
EXPERIMENT_LABEL: Final = "experiment"
RUN_LABEL: Final = "run"
#: How many runs of one experiment and run are looked through, newest first.
_LOOKED_AT: Final = 100


class EarlierRecord:
    """Finds values of earlier analyses (an ``EarlierResults`` of configurations).

    Args:
        database: The value of ``--db``; None: the usual record.
    """

    def __init__(self, database: str | None = None) -> None:
        self._database = database

    def __call__(self, experiment: str, run: str, task: str, key: str) -> Any:
        """Return a value of the latest completed run of an analysis.

        Raises:
            LookupError: There is none; the text names the values that exist.
        """
        from taskgrove.cli.recorded import open_history  # noqa: PLC0415 - slow

        try:
            history = open_history(self._database, mark_lost=False)
        except StoreError as exc:
            raise LookupError(f"the record cannot be read: {exc}") from exc
        if history is None:
            raise LookupError("no run has been recorded yet")
        with history:
            detail = _latest(history, experiment, run, task)
        return _value(detail, key)


def _latest(history: History, experiment: str, run: str, task: str) -> AnalysisDetail:
    from taskgrove.store.queries.run_filter import RunFilter  # noqa: PLC0415 - an extra

    labels = {
        name: word for name, word in ((EXPERIMENT_LABEL, experiment), (RUN_LABEL, run)) if word
    }
    others: set[str] = set()
    for summary in history.runs(RunFilter(labels=labels, limit=_LOOKED_AT)):
        ends: list[RunNode] = [node for node in history.nodes(summary) if node.analysis]
        ends.sort(key=lambda node: node.ended_ns or 0, reverse=True)
        for node in ends:
            assert node.analysis is not None
            if node.analysis.analysis == task and node.analysis.status == "COMPLETED":
                return node.analysis
            others.add(node.analysis.analysis)
    where = ", ".join(f"{name} {word}" for name, word in labels.items()) or "any experiment"
    known = f"; there are: {', '.join(sorted(others))}" if others else ""
    raise LookupError(f"the record holds no completed {task} of {where}{known}")


def _value(detail: AnalysisDetail, key: str) -> Any:
    """Return ``summary``, ``payload`` or something inside it, else a parameter."""
    from taskgrove.analysis.plain.form import from_plain  # noqa: PLC0415 - slow

    first, _, rest = key.partition(".")
    if key == "summary":
        return detail.summary
    value: Any
    if first == "payload":
        value, where = _payload(detail), "payload"
    else:
        parameters = json.loads(detail.parameters)
        if first not in parameters:
            known = ", ".join(["payload", "summary", *parameters])
            raise LookupError(f"{detail.analysis} has no {first!r}; there are: {known}")
        value, where = from_plain(parameters[first]), first
    for part in rest.split(".") if rest else ():
        value, where = _inside(value, part, where), f"{where}.{part}"
    return value


def _payload(detail: AnalysisDetail) -> Any:
    from taskgrove.analysis.describing import read_payload  # noqa: PLC0415 - slow

    try:
        return read_payload(detail.payload)
    except AnalysisError as exc:
        raise LookupError(f"the payload of {detail.analysis}: {exc}") from exc


def _inside(value: Any, part: str, where: str) -> Any:
    if isinstance(value, dict) and part in value:
        return value[part]
    if isinstance(value, (list, tuple)) and part.isdecimal() and int(part) < len(value):
        return value[int(part)]
    if isinstance(value, dict):
        known = ", ".join(str(item) for item in value) or "nothing"
        raise LookupError(f"{where} has no {part!r}; there is: {known}")
    raise LookupError(f"{where} has no {part!r}: it is {type(value).__name__}")
