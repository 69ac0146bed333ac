"""How one analysis is shown while it runs: its log as it comes, and one line that moves.

Threads: events of an analysis are put into an :class:`AnalysisFeed` by the supervisor's threads;
a surface is fed by the thread that follows the run.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from taskgrove.cli.terminal import Terminal
from taskgrove.events import TaskEvent, without_sequences
from taskgrove.view.terminal_text import clip, duration_text, safe_lines, safe_text, width_of
from taskgrove.view.tree_lines import Segment

if TYPE_CHECKING:
    from taskgrove.analysis.running.analysis_events import AnalysisEvent
    from taskgrove.analysis.running.outcome import AnalysisOutcome
    from taskgrove.cli.moving import MovingLines
    from taskgrove.commands.leaf_runner import LeafContext

#: How many lines wait to be shown; of more, the oldest are counted and not shown.
_WAITING_LINES: Final = 2000
#: How many lines one frame shows.
_LINES_PER_FRAME: Final = 200
_BAR_WIDTH: Final = 20
#: How often calm lines tell the progress, in percent.
_CALM_STEP: Final = 10

_LEVEL_STYLES: Final = {logging.WARNING: "yellow", logging.ERROR: "red", logging.CRITICAL: "red"}


class AnalysisFeed:
    """Events of an analysis that are not shown yet; at most so many.

    Attributes:
        outcome: Its end, once it is known.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._events: deque[AnalysisEvent] = deque(maxlen=_WAITING_LINES)
        self._dropped = 0
        self.outcome: AnalysisOutcome | None = None

    def __call__(self, _context: LeafContext, event: AnalysisEvent) -> None:
        """Take one event; called by any thread."""
        with self._lock:
            if event.kind == "done":
                self.outcome = event.outcome
            if len(self._events) == _WAITING_LINES:
                self._dropped += 1
            self._events.append(event)

    def take(self, limit: int) -> tuple[list[AnalysisEvent], int]:
        """Return the next events to show, and how many events before them were dropped."""
        with self._lock:
            dropped, self._dropped = self._dropped, 0
            return [self._events.popleft() for _ in range(min(limit, len(self._events)))], dropped


class AnalysisLines:
    """Lines for pipes and logs; on a terminal the last line moves.

    Args:
        terminal: Where it is shown.
        name: The analysis' name.
        feed: Its events.
    """

    def __init__(self, terminal: Terminal, name: str, feed: AnalysisFeed) -> None:
        self._terminal = terminal
        self._name = safe_text(name)
        self._feed = feed
        self._began = time.monotonic()
        self._percent: float | None = None
        self._told_percent = 0
        self._message = "waiting"
        self._notice = ""
        self._moving: MovingLines | None = None
        if terminal.is_live:
            from taskgrove.cli.moving import MovingLines  # noqa: PLC0415 - slow

            self._moving = MovingLines(terminal)

    def show(self, events: Sequence[TaskEvent]) -> None:
        """Show new events."""
        del events  # the feed says more
        self._drain(_LINES_PER_FRAME)
        if self._moving is not None:
            self._moving.draw([self._moving_line()])

    def notice(self, text: str) -> None:
        """Tell something that belongs to the run as a whole."""
        self._notice = text
        if self._moving is None:
            self._line(safe_text(text), "bold")
        else:
            self.show(())

    def close(self) -> None:
        """End the display."""
        self._drain(_WAITING_LINES)
        if self._moving is not None:
            self._moving.close()
            self._moving = None
            if self._notice:
                self._terminal.say_paragraph(safe_text(self._notice))

    def _drain(self, limit: int) -> None:
        events, dropped = self._feed.take(limit)
        if dropped:
            self._line(f"… {dropped:,} lines are not shown: they came too fast", "dim")
        for event in events:
            self._take(event)

    def _take(self, event: AnalysisEvent) -> None:
        if event.kind == "log":
            source = "" if event.source == "analysis" else f"{event.source}: "
            style = _LEVEL_STYLES.get(event.level, "") if event.source == "analysis" else "dim"
            is_output = event.source in {"stdout", "stderr"}  # of a program, which may draw
            text = without_sequences(event.text) if is_output else event.text
            for line in safe_lines(text.rstrip()):
                self._line(f"{source}{line}", style)
        elif event.kind == "progress":
            self._take_progress(event)
        elif event.kind in {"started", "stopped", "resumed"}:
            self._message = safe_text(event.text or event.kind)
            self._line(f"{event.kind}: {self._message}" if event.text else event.kind, "dim")

    def _take_progress(self, event: AnalysisEvent) -> None:
        if event.text:
            self._message = safe_text(event.text)
        if event.progress is not None:
            self._percent = event.progress
        if self._moving is not None:
            return
        step = int((self._percent or 0) // _CALM_STEP)
        if step > self._told_percent:
            self._told_percent = step
            said = f"  {self._message}" if event.text else ""
            self._line(f"{self._percent:.0f} %{said}", "")

    def _line(self, text: str, style: str) -> None:
        since = duration_text(time.monotonic() - self._began)
        if self._terminal.words.is_terminal:
            text = clip(text, max(20, self._terminal.width - 11), self._terminal.charset.ellipsis)
        self._terminal.say_line([(f"{since:>9}  ", "dim"), (text, style)])

    def _moving_line(self) -> list[Segment]:
        terminal, width = self._terminal, self._terminal.width
        if self._notice:
            return [(clip(safe_text(self._notice), width), "bold")]
        since = duration_text(time.monotonic() - self._began)
        full = 0 if self._percent is None else round(self._percent / 100 * _BAR_WIDTH)
        signs = terminal.charset
        bar = signs.full * full + signs.empty * (_BAR_WIDTH - full)
        percent = "" if self._percent is None else f"{self._percent:3.0f} %  "
        head = f"{self._name}  "
        rest = f"  {percent}{since}  "
        room = width - width_of(head) - _BAR_WIDTH - width_of(rest) - 1
        message = clip(self._message, room, signs.ellipsis) if room > 4 else ""
        return [(head, "bold"), (bar, "cyan"), (rest, ""), (message, "dim")]
