"""Results of earlier analyses, from the record: ``{{ earlier.FitRings.payload.distance_mm }}``.

A run is found by its labels ``experiment`` and ``run``; of those the latest counts in which the
analysis completed.

Threads: one thread at a time asks; each question opens the record and closes it again, because a
configuration asks seldom.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from taskgrove.errors import StoreError

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
        self._runs: dict[tuple[str, str, str], str] = {}

    def __call__(self, experiment: str, run: str, task: str, key: str) -> Any:
        """Return a value of the latest completed run of an analysis.

        Raises:
            LookupError: There is none; the text names the values that exist.
        """
        from taskgrove.analysis.leaves.earlier_values import value_of  # noqa: PLC0415 - slow
        from taskgrove.cli.recorded import open_history  # noqa: PLC0415 - slow

        try:
            history = open_history(self._database, mark_lost=False)
        except StoreError as exc:
            raise LookupError(f"the record cannot be read: {exc}") from exc
        if history is None:
            raise LookupError("no run has been recorded yet")
        with history:
            found, detail = _latest(history, experiment, run, task)
        self._runs[experiment, run, task] = found
        return value_of(detail, key)

    def run_of(self, experiment: str, run: str, task: str) -> str | None:
        """Return the run whose result was found last; None: none was."""
        return self._runs.get((experiment, run, task))


def _latest(history: History, experiment: str, run: str, task: str) -> tuple[str, AnalysisDetail]:
    from taskgrove.store.queries.run_filter import RunFilter  # noqa: PLC0415 - an extra

    labels = {
        name: word for name, word in ((EXPERIMENT_LABEL, experiment), (RUN_LABEL, run)) if word
    }
    for summary in history.runs(RunFilter(labels=labels, analysis=task, limit=_LOOKED_AT)):
        ends: list[RunNode] = [node for node in history.nodes(summary) if node.analysis]
        ends.sort(key=lambda node: node.ended_ns or 0, reverse=True)
        for node in ends:
            assert node.analysis is not None
            if node.analysis.analysis == task and node.analysis.status == "COMPLETED":
                return summary.run_id, node.analysis
    where = ", ".join(f"{name} {word}" for name, word in labels.items()) or "any experiment"
    there = history.results(RunFilter(labels=labels, limit=_LOOKED_AT))
    others = sorted({row.analysis for row in there})
    known = f"; there are: {', '.join(others)}" if others else ""
    raise LookupError(f"the record holds no completed {task} of {where}{known}")
