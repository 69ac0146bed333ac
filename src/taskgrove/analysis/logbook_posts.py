"""Posts from an executor to a logbook: every status of an analysis, the last one included."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from taskgrove.analysis.publishing.page_origin import PageOrigin
from taskgrove.analysis.running.analysis_events import AnalysisEvent, Callback

if TYPE_CHECKING:
    from taskgrove.analysis.logbook import Logbook
    from taskgrove.redaction import Redaction

_POSTED: Final = frozenset({"started", "stopped", "resumed", "result", "failed", "cancelled"})


def logbook_callback(
    logbook: Logbook, origin: PageOrigin | None, analysis: str, redaction: Redaction
) -> Callback:
    """Return a callback that posts the events of an analysis to a logbook.

    A summary that is a dict is posted as parameters of the run. Secrets are redacted.
    """
    where = origin if origin is not None else PageOrigin(analysis=analysis)

    def post(event: AnalysisEvent) -> None:
        if event.kind not in _POSTED:
            return
        logbook.post_status(where, event.status, redaction.said(event.text))
        if event.outcome is not None:
            summary = event.outcome.result.summary
            if isinstance(summary, Mapping):
                logbook.post_parameters(where, redaction.plain(summary))

    return post
