"""Posts from an executor to a logbook: every status of an analysis, the last one included."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from taskgrove.analysis.describing import summary_values
from taskgrove.analysis.running.analysis_events import AnalysisEvent, Callback

if TYPE_CHECKING:
    from taskgrove.analysis.logbook import Logbook
    from taskgrove.analysis.running.spec import AnalysisSpec

_POSTED: Final = frozenset({"started", "stopped", "resumed", "result", "failed", "cancelled"})


def logbook_callback(logbook: Logbook, spec: AnalysisSpec) -> Callback:
    """Return a callback that posts the events of an analysis to a logbook.

    With the end goes the summary: a text, and its dicts as parameters of the run. Secrets are
    redacted.
    """
    origin, redaction = spec.known_origin, spec.redaction

    def post(event: AnalysisEvent) -> None:
        if event.kind not in _POSTED:
            return
        summary = None if event.outcome is None else event.outcome.result.summary
        text = event.text or (summary if isinstance(summary, str) else "")
        logbook.post_status(origin, event.status, redaction.said(text))
        parameters = summary_values(summary)
        if parameters:
            logbook.post_parameters(origin, redaction.plain(parameters))

    return post
