"""The posts of leaves to a logbook, and notes on the leaves whose posts it did not get.

Threads: any thread may call every method; ``_lock`` guards the table of leaves.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Final

from taskgrove.analysis.publishing.logbook_trouble import LOGBOOK_TOPIC, LogbookTrouble
from taskgrove.analysis.publishing.page_origin import PageOrigin
from taskgrove.analysis.results import TaskStatus
from taskgrove.events import NoteDetail
from taskgrove.redaction import Redaction

if TYPE_CHECKING:
    from taskgrove.analysis.logbook import Logbook
    from taskgrove.analysis.parameters.header import AnalysisHeader
    from taskgrove.commands.leaf_runner import LeafContext


#: So many leaves, those that were begun last, get notes about entries that a logbook did not get.
_MOST_LEAVES: Final = 1000


class LeafPosts:
    """Where leaves come from, for pages and the logbook.

    Args:
        logbook: Where the leaves post to, or None.

    Attributes:
        logbook: See above.
    """

    def __init__(self, logbook: Logbook | None) -> None:
        self.logbook = logbook
        self._redaction = Redaction() if logbook is None else Redaction.from_environment()
        self._lock = threading.Lock()
        self._contexts: dict[tuple[str, str], LeafContext] = {}

    def origin_of(
        self, context: LeafContext, analysis: str, header: AnalysisHeader | None = None
    ) -> PageOrigin:
        """Return where pages and posts of an attempt at a leaf come from."""
        if self.logbook is not None:
            key = context.run_id, context.path
            with self._lock:
                self._contexts.pop(key, None)
                self._contexts[key] = context
                if len(self._contexts) > _MOST_LEAVES:
                    del self._contexts[next(iter(self._contexts))]
        return PageOrigin(
            run_id=context.run_id,
            path=context.path,
            analysis=analysis,
            wall_ns=time.time_ns(),
            experiment="" if header is None else header.experiment,
            experiment_run="" if header is None else header.run,
        )

    def never_began(self, context: LeafContext, text: str) -> None:
        """Post the end of a leaf whose analysis cannot be started."""
        if self.logbook is not None:
            origin = self.origin_of(context, context.leaf.command_name)
            self.logbook.post_status(origin, TaskStatus.FAILED, self._redaction.said(text))

    def note_trouble(self, trouble: LogbookTrouble) -> None:
        """Note on its leaf that the logbook did not get an entry."""
        with self._lock:
            context = self._contexts.get((trouble.origin.run_id, trouble.origin.path))
        if context is not None:
            detail = NoteDetail(topic=LOGBOOK_TOPIC, data=trouble.as_data())
            context.tell(detail, str(trouble))
