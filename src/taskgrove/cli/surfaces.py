"""How a run is shown while it lasts: a live tree, plain lines, or events as JSON lines.

A surface is fed by one thread, the one that follows the run.
"""

from __future__ import annotations

import textwrap
import time
from collections.abc import Callable, Collection, Sequence
from typing import Final, Protocol

from taskgrove.cli.run_controls import RunControls, held_words
from taskgrove.cli.terminal import Terminal
from taskgrove.events import NoteDetail, TaskEvent, encode_event
from taskgrove.story.run_node import RunNode
from taskgrove.view.snapshot import RunView
from taskgrove.view.terminal_text import clip, duration_text, safe_text
from taskgrove.view.tree_lines import Segment, fold_text, format_line, name_width
from taskgrove.view.tree_text import build_lines

#: How often a moving tree is drawn.
FRAMES_PER_SECOND: Final = 8
#: Up to this many leaves, plain lines report each end; above, only failures.
TOLD_LEAVES: Final = 40
#: How often plain lines report the progress of a long run, in seconds.
CALM_PERIOD_S: Final = 10.0
#: The longest silence of calm lines while nothing changes, as when a step is held overnight.
LONGEST_CALM_S: Final = 640.0
#: Notes that a person who follows a run wants to read, beside the abort of the whole.
_TOLD_TOPICS: Final = frozenset(
    (
        *("abandoned", "timeout", "retry", "operator", "held", "undecided", "delayed"),
        *("hold-expired", "paused", "continued", "pause-before", "asked", "waits"),
    )
)
#: Notes whose words do not say that a step waits.
_WAITING_TOPICS: Final = frozenset(("undecided", "delayed"))


class Surface(Protocol):
    """Shows a run while it lasts."""

    def show(self, events: Sequence[TaskEvent]) -> None:
        """Show new events; called at most eight times a second, also without events."""
        ...

    def notice(self, text: str) -> None:
        """Tell something that belongs to the run as a whole."""
        ...

    def close(self) -> None:
        """End the display; its last state stays where it is of use."""
        ...


class Expected(Protocol):
    """How long a run usually takes."""

    def line(self, elapsed_s: float = 0.0) -> str:
        """Return it in words, for a run that has been going for so many seconds."""
        ...


class LiveTree:
    """A tree that moves, on a terminal; when it ends, the finished tree stays.

    Args:
        terminal: Where it is shown.
        view: The run that is shown.
        expected: How long it usually takes, or None where nothing is known.
        controls: The keys, and the lines about them.
        clock: Now, on the monotonic clock of the process that runs it, in seconds.
    """

    def __init__(
        self,
        terminal: Terminal,
        view: RunView,
        expected: Expected | None = None,
        controls: RunControls | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._terminal = terminal
        self._view = view
        self._expected = expected
        self._controls = controls or RunControls()
        self._clock = clock
        self._notice = ""
        from taskgrove.cli.moving import MovingLines  # noqa: PLC0415 - slow

        self._moving = MovingLines(terminal)

    def show(self, events: Sequence[TaskEvent]) -> None:
        """Draw the tree as it is now."""
        del events
        self._tell_answers()
        if not self._terminal.gone:
            self._moving.draw(self._frame())

    def notice(self, text: str) -> None:
        """Show a line below the tree from now on."""
        self._notice = text
        self.show(())

    def close(self) -> None:
        """Replace the moving tree by the finished one."""
        self._moving.close()
        self._tell_answers()
        print_tree(self._terminal, self._view)
        if self._notice:
            self._terminal.say_paragraph(safe_text(self._notice))

    def _tell_answers(self) -> None:
        self._controls.tell_answers(lambda text: self._terminal.say(text, "bold"))

    def _frame(self) -> list[list[Segment]]:
        terminal = self._terminal
        width, now_s = terminal.width, self._clock()
        now_ns = self._view.now_ns(now_s)
        told = self._notice or fold_text("leaves", self._view.leaf_tally)
        style = "bold" if self._notice else "dim"
        words = textwrap.wrap(safe_text(told), max(10, width)) or [""]
        if self._expected is not None and not self._notice:
            root = self._view.root
            elapsed = None if root is None else root.elapsed_s(now_ns)
            words.append(clip(self._expected.line(elapsed or 0.0), width))
        below: list[list[Segment]] = [[(line, style)] for line in words]
        below += self._controls.lines(width, terminal.charset, now_ns)
        room = max(4, terminal.words.size[1] - 1 - len(below))
        lines = build_lines(self._view, now_s=now_s, max_lines=room)
        names = name_width(lines, width)
        return [*(format_line(line, width, names, terminal.charset) for line in lines), *below]


class CalmLines:
    """One line for each thing worth telling: for pipes, logs and CI.

    Args:
        terminal: Where they go.
        view: The run that is shown.
        expected: How long it usually takes, or None where nothing is known.
        advice: Returns a command line that decides on a held step, by its path; None: there is
            none.
        clock: Now, on the monotonic clock of the process that runs it, in seconds.
    """

    def __init__(
        self,
        terminal: Terminal,
        view: RunView,
        expected: Expected | None = None,
        advice: Callable[[str], str] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._terminal = terminal
        self._view = view
        self._expected = expected
        self._advice = advice
        self._clock = clock
        self._began_s: float | None = None
        self._told_s = time.monotonic()
        self._told_tally = ""
        self._period_s = CALM_PERIOD_S

    def show(self, events: Sequence[TaskEvent]) -> None:
        """Report new events."""
        for event in events:
            if self._began_s is None:
                self._began_s = event.monotonic_s
            text = self._words_for(event)
            if text:
                self._line(event.monotonic_s, text)
            if self._expected and event.kind == "started" and "/" not in event.path:
                self._line(event.monotonic_s, self._expected.line())
                self._expected = None
        if time.monotonic() - self._told_s >= CALM_PERIOD_S:
            self._tell_tally()

    def notice(self, text: str) -> None:
        """Tell it as a line of its own."""
        self._line(self._clock(), safe_text(text))

    def close(self) -> None:
        """Nothing remains to be ended."""

    def _tell_tally(self) -> None:
        """Tell how far the leaves are; the same line again only after twice the silence."""
        told = fold_text("leaves so far", self._view.leaf_tally)
        if told != self._told_tally:
            self._told_tally, self._period_s = told, CALM_PERIOD_S
        elif time.monotonic() - self._told_s < self._period_s:
            return
        self._period_s = min(2 * self._period_s, LONGEST_CALM_S)
        self._line(self._clock(), told)

    def _line(self, at_s: float, text: str) -> None:
        self._told_s = time.monotonic()
        since = 0.0 if self._began_s is None else max(0.0, at_s - self._began_s)
        self._terminal.say_line([(f"{duration_text(since):>9}  ", "dim"), (text, "")])

    def _words_for(self, event: TaskEvent) -> str:
        node = self._view.node(event.path)
        if node is None:
            return ""
        path = safe_text(event.path)
        if event.kind == "note":
            return self._note_of(event, path, is_root=not node.parent_path)
        if event.kind == "started" and not self._view.is_leaf(node):
            return f"{path}: started"
        if event.kind == "finished":
            return self._end_of(node, path)
        return ""

    def _note_of(self, event: TaskEvent, path: str, *, is_root: bool) -> str:
        detail = event.detail
        if not isinstance(detail, NoteDetail):
            return ""
        topic, request = detail.topic, detail.request
        if topic not in _TOLD_TOPICS and not (topic == "abort-asked" and is_root):
            return ""
        if topic == "held":
            return held_words(event.path, event.message, self._advice)
        words = safe_text(event.message)
        if topic in _WAITING_TOPICS:
            words = f"{topic}: {words}"
        if request is not None and topic != "abort-asked":  # whose words name the person
            words = f"{words} ({request.verb} asked by {safe_text(request.who)})"
        return f"{path}: {words}"

    def _end_of(self, node: RunNode, path: str) -> str:
        worth_telling = node.is_problem or not self._view.is_leaf(node) or node.skipped
        if not worth_telling and len(self._view.nodes) > TOLD_LEAVES:
            return ""
        why = ""
        if node.is_problem or node.skipped:
            words = node.message if self._view.is_leaf(node) else (node.decision or "")
            words = safe_text(words).removeprefix(f"{node.state}: ")
            words = words.removeprefix(f"{safe_text(node.name)}: ")
            why = f" - {words}" if words else ""
        elapsed = node.elapsed_s()
        took = "" if elapsed is None else f" after {duration_text(elapsed)}"
        return f"{path}: {node.state}{took}{why}"


class JsonLines:
    """Events as JSON lines on standard output; words on standard error."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal

    def show(self, events: Sequence[TaskEvent]) -> None:
        """Write each event as one line."""
        if events:
            self._terminal.write(b"".join(encode_event(event) + b"\n" for event in events))

    def notice(self, text: str) -> None:
        """Say it on standard error."""
        self._terminal.say(text)

    def close(self) -> None:
        """Nothing remains to be ended."""


def print_tree(terminal: Terminal, view: RunView, keep: Collection[str] = ()) -> None:
    """Print the tree as it is now, as tall as it needs to be.

    Args:
        terminal: Where it is printed.
        view: The run.
        keep: Paths of nodes that are not folded.
    """
    lines = build_lines(view, keep=keep)
    width = terminal.width
    names = name_width(lines, width)
    for line in lines:
        terminal.say_line(format_line(line, width, names, terminal.charset))
