"""Values of analyses that have completed: those of a runner itself, then those of the record.

The record is written by another thread. What an analysis gave a moment ago may not be there yet,
and without a record it never is.

Threads: every method may be called by any thread; ``_lock`` guards what is kept.
"""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any, Final

from taskgrove.analysis.describing import read_payload
from taskgrove.analysis.plain.form import from_plain
from taskgrove.errors import AnalysisError

if TYPE_CHECKING:
    from taskgrove.analysis.configuring.resolver import EarlierResults
    from taskgrove.analysis.publishing.page_origin import PageOrigin
    from taskgrove.events import AnalysisDetail

#: How many results a runner keeps; the oldest is dropped.
MOST_KEPT: Final = 500


class RunnerResults:
    """Finds values of earlier analyses; what its own runner has completed comes first.

    Args:
        others: Finds those of the record; None: there is none.
    """

    def __init__(self, others: EarlierResults | None) -> None:
        self._others = others
        self._lock = threading.Lock()
        self._kept: dict[tuple[str, str, str], tuple[str, AnalysisDetail]] = {}

    def keep(self, origin: PageOrigin, detail: AnalysisDetail) -> None:
        """Keep what an analysis has completed with, in place of what it gave before."""
        key = (origin.experiment, str(origin.experiment_run), detail.analysis)
        with self._lock:
            self._kept.pop(key, None)
            self._kept[key] = origin.run_id, detail
            if len(self._kept) > MOST_KEPT:
                del self._kept[next(iter(self._kept))]

    def __call__(self, experiment: str, run: str, task: str, key: str) -> Any:
        """Return a value of the latest completed run of an analysis.

        Raises:
            LookupError: There is none.
        """
        own = self._own(experiment, run, task)
        if own is not None:
            return value_of(own[1], key)
        if self._others is None:
            raise LookupError(f"{task} has not run yet, and no record is read")
        return self._others(experiment, run, task, key)

    def run_of(self, experiment: str, run: str, task: str) -> str | None:
        """Return the run of taskgrove whose value was found last; None: it is not known."""
        own = self._own(experiment, run, task)
        if own is not None:
            return own[0]
        run_of = getattr(self._others, "run_of", None)
        return None if run_of is None else run_of(experiment, run, task)

    def _own(self, experiment: str, run: str, task: str) -> tuple[str, AnalysisDetail] | None:
        with self._lock:
            newest_first = list(reversed(self._kept.items()))
        for (its_experiment, its_run, its_task), found in newest_first:
            is_asked = experiment in {"", its_experiment} and run in {"", its_run}
            if its_task == task and is_asked:
                return found
        return None


def value_of(detail: AnalysisDetail, key: str) -> Any:
    """Return ``summary``, ``payload`` or something inside it, else a parameter.

    Raises:
        LookupError: There is no such value; the text names those that there are.
    """
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
