"""One line of a tree, as text and as HTML: every tree that is shown is drawn here. Pure.

The text of a line is harmless on a terminal; the HTML is escaped, and holds no script.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from html import escape
from typing import Final, TypeAlias

import msgspec

from taskgrove.story.node_state import OPEN_STATES, PROBLEM_STATES, NodeState
from taskgrove.story.run_node import RunNode
from taskgrove.view.phrases import step_words
from taskgrove.view.states import LOOKS, colour_of
from taskgrove.view.terminal_text import (
    UNICODE,
    Charset,
    clip,
    clip_middle,
    duration_text,
    pad,
    safe_text,
    width_of,
)

#: The order in which the states of folded nodes are told.
_FOLD_ORDER: Final[tuple[NodeState, ...]] = (
    *PROBLEM_STATES, "left out", "skipped", "completed",
    *(state for state in OPEN_STATES if state not in PROBLEM_STATES),
)  # fmt: skip
#: The signs around a device or a command in the words of a failure.
_WORD_ENDS: Final = re.compile(r"[\s:,;()\"']+")
_STATE_WIDTH: Final = max(map(len, LOOKS))
_BAR_WIDTH: Final = 8
_TIME_WIDTH: Final = 9
#: A target, or a description, is not begun in less room, in columns.
_LEAST_ABOUT: Final = 12
#: A level that is deeper than this is not indented further in HTML.
_DEEPEST: Final = 40
_CELL: Final = "padding:0 .8em 0 0;text-align:left;border:0;vertical-align:top"
_TABLE: Final = "border-collapse:collapse;font-family:monospace"

#: A piece of a line and its style (a state, ``dim``, ``bold`` or empty).
Segment: TypeAlias = tuple[str, str]
#: The parts of a line: the levels above, whether it is the last one, and a node or a text.
Item: TypeAlias = tuple[tuple[bool, ...], bool, RunNode | str]


class TreeLine(msgspec.Struct, frozen=True):
    """One line of a tree, not yet fitted to a width.

    Attributes:
        ancestors: For each level above, whether a later line follows there.
        last: Whether it is the last line of its parent.
        is_root: Whether it is the root.
        path: The node's path; empty for a line that stands for several.
        name: The node's name; or the text of a line that stands for several.
        state: The node's state, or None for such a line.
        elapsed_s: How long the node ran or has been running, in seconds, or None.
        words: The words beside the node.
        is_leaf: Whether the node is a leaf.
        progress: Percent done, 0..100, where the tree shows it; else None.
        description: A sentence of the map about the node; may be empty.
        target: The command and the device that neither its name nor its words tell; often empty.
    """

    ancestors: tuple[bool, ...]
    last: bool
    is_root: bool
    path: str
    name: str
    state: NodeState | None
    elapsed_s: float | None = None
    words: str = ""
    is_leaf: bool = True
    progress: int | None = None
    description: str = ""
    target: str = ""


def target_of(node: RunNode) -> str:
    """Return command and device of a leaf whose name does not tell its device, else nothing.

    ``scan`` gives ``Scan low-cbf/subarray/01``; ``cbf-subarray-01`` gives an empty text.
    """
    composed = node.composed
    if composed is None or composed.execution != "DEVICE" or not composed.target:
        return ""
    device = composed.target.lower().removeprefix("low-").removeprefix("mid-")
    if device.replace("/", "-") in node.name.lower():
        return ""
    return safe_text(" ".join(filter(None, (step_words(composed), composed.target))))


def untold_target(node: RunNode, words: str) -> str:
    """Return the parts of :func:`target_of` that the words beside a node do not tell."""
    target = target_of(node)
    told = _WORD_ENDS.split(words.lower()) if target else []
    return " ".join(part for part in target.split() if part.lower() not in told)


def walk(
    root: RunNode, below: Callable[[RunNode], Sequence[RunNode | str]], limit: int | None = None
) -> Iterator[Item]:
    """Yield the parts of the lines, parents before children, without recursion.

    Args:
        root: The root; trees may be very deep.
        below: Gives the nodes that are shown below a node, and texts that stand for several.
        limit: How many are needed at most; None: all.
    """
    stack: list[Item] = [((), True, root)]
    while stack and limit != 0:
        item = stack.pop()
        yield item
        limit = None if limit is None else limit - 1
        ancestors, last, node = item
        if isinstance(node, str):
            continue
        children = below(node)
        levels = ancestors if node is root else (*ancestors, not last)
        is_last = True
        for child in reversed(children):
            stack.append((levels, is_last, child))
            is_last = False


def fold_line(ancestors: tuple[bool, ...], last: bool, text: str) -> TreeLine:
    """Return a line that stands for several nodes."""
    return TreeLine(ancestors, last, False, "", text, None)


def fold_text(label: str, tally: Mapping[NodeState, int], hidden_trouble: int = 0) -> str:
    """Return a fold as text: ``pst-beam-…: 9,950 completed, 43 running``."""
    parts = [f"{tally[state]:,} {state}" for state in _FOLD_ORDER if tally.get(state, 0) > 0]
    if hidden_trouble:
        known = sum(tally.get(state, 0) for state in PROBLEM_STATES)
        if hidden_trouble > known:
            parts.append(f"{hidden_trouble - known:,} with problems inside")
    return f"{label}: {', '.join(parts) or 'none'}"


def name_width(lines: Sequence[TreeLine], width: int) -> int:
    """Return the columns of the name column: what the longest name needs, or 45 percent."""
    needed = max(
        (3 * _level(line) + width_of(line.name) for line in lines if line.state), default=0
    )
    return min(needed, max(12, width * 45 // 100))


def format_line(
    line: TreeLine, width: int, names: int, charset: Charset = UNICODE
) -> list[Segment]:
    """Return a line as styled pieces that together take at most ``width`` columns.

    Args:
        line: The line.
        width: Columns of the terminal.
        names: Columns of the name column (:func:`name_width`).
        charset: The signs to draw with.
    """
    stem, state = _stem(line, charset, names), line.state
    if state is None:
        label = clip(
            line.name.replace("…", charset.ellipsis), width - width_of(stem), charset.ellipsis
        )
        return _fit([(stem, "dim"), (label, "dim")], width)
    room = names - width_of(stem)
    pieces = [
        (stem, "dim"),
        (pad(clip(line.name, room, charset.ellipsis), room), "" if line.is_leaf else "bold"),
        (f" {charset.marks[state]} {state:<{_STATE_WIDTH}} ", state),
        (f"{duration_text(line.elapsed_s):>{_TIME_WIDTH}}  ", "dim"),
    ]
    left = width - sum(width_of(text) for text, _ in pieces)
    # Percent done says nothing of a node that did not end well: its room is the reason's.
    shown = line.progress is not None and state in ("running", "completed", "waiting")
    if shown and left >= _BAR_WIDTH + 6:
        pieces.append((f"{_bar(state, line.progress or 0, charset)}  ", state))
        left -= _BAR_WIDTH + 7
    if line.words and left >= 6:
        words = clip(line.words.replace("…", charset.ellipsis), left, charset.ellipsis)
        pieces.append((words, state if state in PROBLEM_STATES else ""))
        left -= width_of(words) + 2
    gap = "  " if line.words else ""
    if line.target and left >= min(_LEAST_ABOUT, width_of(line.target)):
        # Its end tells the device from others.
        told = clip_middle(line.target, left, charset.ellipsis)
        pieces.append((gap + told, "dim"))
        left -= width_of(told) + 2
        gap = "  "
    if line.description and left >= _LEAST_ABOUT:
        told = clip(line.description.replace("…", charset.ellipsis), left, charset.ellipsis)
        pieces.append((gap + told, "dim"))
    return _fit(pieces, width)


def plain_lines(lines: Sequence[TreeLine], width: int, charset: Charset = UNICODE) -> list[str]:
    """Return lines without colours and without trailing blanks."""
    names = name_width(lines, width)
    return [plain_text(format_line(line, width, names, charset)) for line in lines]


def plain_text(pieces: Sequence[Segment]) -> str:
    """Return the pieces of one line as text."""
    return "".join(text for text, _ in pieces).rstrip()


def table_html(lines: Sequence[TreeLine]) -> str:
    """Return lines as a table in HTML; empty where there are none."""
    rows = "".join(map(_row_html, lines))
    return f'<table style="{_TABLE}">{rows}</table>' if rows else ""


def html_text(value: str) -> str:
    """Return a text as HTML shows it, whoever wrote it."""
    return escape(safe_text(value), quote=True)


def _row_html(line: TreeLine) -> str:
    indent = f"{1.5 * min(_level(line), _DEEPEST):.1f}em"
    name = f'<td style="{_CELL};padding-left:{indent}">{html_text(line.name)}</td>'
    if line.state is None:
        return f'<tr>{name}<td colspan="4"></td></tr>'
    done = f"{line.progress} %" if line.state == "running" and line.progress is not None else ""
    cells = "".join(
        f'<td style="{_CELL}">{html_text(text)}</td>'
        for text in (duration_text(line.elapsed_s), done)
    )
    about = f"<i>{html_text(line.description)}</i>" if line.description else ""
    told = " ".join(filter(None, (html_text(line.words), html_text(line.target), about)))
    cells += f'<td style="{_CELL}">{told}</td>'
    mark = f"{UNICODE.marks[line.state]} {line.state}"
    state = f'<td style="{_CELL};color:{colour_of(line.state)}">{html_text(mark)}</td>'
    return f"<tr>{name}{state}{cells}</tr>"


def _level(line: TreeLine) -> int:
    return 0 if line.is_root else len(line.ancestors) + 1


def _stem(line: TreeLine, charset: Charset, names: int) -> str:
    if line.is_root:
        return ""
    levels = "".join(charset.stem if follows else charset.gap for follows in line.ancestors)
    stem = levels + (charset.corner if line.last else charset.branch)
    # A line that stands for several has no column to keep to.
    kept = 0 if line.state is None else min(width_of(line.name), 10)
    most = max(3, names - kept)
    if len(stem) <= most:
        return stem
    # A very deep tree: only the innermost levels fit.
    return charset.ellipsis + stem[len(stem) - most + len(charset.ellipsis) :]


def _bar(state: NodeState, progress: int, charset: Charset) -> str:
    if state == "waiting":
        return " " * (_BAR_WIDTH + 5)
    full = (progress * _BAR_WIDTH + 50) // 100
    return f"{charset.full * full}{charset.empty * (_BAR_WIDTH - full)}{progress:>4}%"


def _fit(pieces: list[Segment], width: int) -> list[Segment]:
    fitted: list[Segment] = []
    left = width
    for text, style in pieces:
        cut = clip(text, left, "") if width_of(text) > left else text
        if cut:
            fitted.append((cut, style))
        left -= width_of(cut)
    return fitted
