"""Lines at the foot of a terminal that are drawn again and again.

Only this module needs rich, which is slow to import.
"""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.live import Live
from rich.text import Text

from taskgrove.cli.terminal import Terminal
from taskgrove.view.tree_lines import Segment


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Leave the decision to the caller; rich itself would end the process."""
        raise BrokenPipeError


class MovingLines:
    """Lines that move; other output stands above them."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal
        # Nothing that a device says is markup, an emoji code or something to highlight.
        console = _Console(file=terminal.words.file, markup=False, emoji=False, highlight=False)
        self._live = Live(
            console=console, auto_refresh=False, transient=True, redirect_stderr=False
        )
        terminal.above = lambda text: console.print(Text.from_ansi(text), highlight=False)
        with terminal.ends_when_gone(terminal.words):
            self._live.start()

    def draw(self, lines: Sequence[Sequence[Segment]]) -> None:
        """Replace the lines that are shown."""
        if self._terminal.gone:
            return
        text = "\n".join(map(self._terminal.coded, lines))
        with self._terminal.ends_when_gone(self._terminal.words):
            frame = Text.from_ansi(text, no_wrap=True, overflow="crop")
            self._live.update(frame, refresh=True)

    def close(self) -> None:
        """Remove the lines."""
        with self._terminal.ends_when_gone(self._terminal.words):
            self._live.stop()
        self._terminal.above = None
