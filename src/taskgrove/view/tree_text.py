"""A run as a tree of text lines: on a terminal, in a log, in a notebook's page.

:func:`build_lines` decides what is shown, and folds what would not fit;
:func:`format_line` decides how, for a given number of columns. Both are pure, and
every text of a device is made harmless on the way.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from taskgrove.story.node_state import PROBLEM_STATES, NodeState
from taskgrove.story.run_node import RunNode
from taskgrove.story.run_tree import Branch
from taskgrove.view.snapshot import RunView
from taskgrove.view.terminal_text import (
    UNICODE,
    Charset,
    clip,
    duration_text,
    pad,
    safe_text,
    width_of,
)

#: Groups of more children than this are folded by status, unless told otherwise.
FOLD_OVER: Final = 40
#: The order in which the states of folded nodes are told.
FOLD_ORDER: Final[tuple[NodeState, ...]] = (
    *PROBLEM_STATES,
    "skipped",
    "completed",
    "running",
    "waiting",
)
#: How a state is coloured where colours exist (names that rich knows).
STATE_STYLES: Final[dict[str, str]] = {
    "waiting": "dim",
    "running": "cyan",
    "completed": "green",
    "degraded": "bold yellow",
    "failed": "bold red",
    "rejected": "bold red",
    "aborted": "bold magenta",
    "skipped": "yellow",
    "not found": "bold magenta",
}

_FOLD_STEPS: Final = (FOLD_OVER, 20, 12, 6, 3, 0)
_STATE_WIDTH: Final = max(len(state) for state in STATE_STYLES)
_BAR_WIDTH: Final = 8
_TIME_WIDTH: Final = 9

#: A piece of a line and its style (a key of STATE_STYLES, ``dim``, or empty).
Segment = tuple[str, str]


@dataclass(frozen=True, slots=True)
class TreeLine:
    """One line of a tree, not yet fitted to a width.

    Attributes:
        ancestors: For each level above, whether a later sibling follows there.
        last: Whether the node is the last child shown.
        label: The node's name, harmless; or the text of a fold.
        node: The node, or None for a line that stands for folded ones.
        detail: What is worth telling of it, harmless, in one line.
        elapsed_s: How long it ran or has been running, in seconds, or None.
        leaf: Whether the node is a leaf.
    """

    ancestors: tuple[bool, ...]
    last: bool
    label: str
    node: RunNode | None
    detail: str = ""
    elapsed_s: float | None = None
    leaf: bool = True


def build_lines(
    view: RunView,
    *,
    now_s: float | None = None,
    max_lines: int | None = None,
    fold_over: int = FOLD_OVER,
    keep: Collection[str] = (),
) -> list[TreeLine]:
    """Return the lines of the tree, folded until they fit.

    Args:
        view: The run.
        now_s: The monotonic clock, for what still runs.
        max_lines: How many lines there is room for; None means no limit.
        fold_over: Groups of more children are folded by status; of those that failed the first
            are shown.
        keep: Paths of nodes that are not folded, such as one for each cause.
    """
    kept = _with_above(keep)
    now_ns = None if now_s is None else view.now_ns(now_s)
    lines: list[TreeLine] = []
    for step in [fold_over, *(step for step in _FOLD_STEPS if step < fold_over)]:
        # One line too many is enough to know that this step does not fit.
        lines = _collect(view, now_ns, step, None if max_lines is None else max_lines + 1, kept)
        if max_lines is None or len(lines) <= max_lines:
            return lines
    assert max_lines is not None
    cut = lines[: max(1, max_lines - 1)]
    cut.append(TreeLine((), True, "… more lines than fit here", None))
    return cut[:max_lines]


def _with_above(paths: Collection[str]) -> set[str]:
    """Return paths with those of all nodes above them."""
    found: set[str] = set()
    for item in paths:
        path = item
        while path and path not in found:
            found.add(path)
            path = path.rpartition("/")[0]
    return found


def _collect(
    view: RunView, now_ns: int | None, fold_over: int, limit: int | None, kept: Collection[str]
) -> list[TreeLine]:
    root = view.root
    lines: list[TreeLine] = []
    # Each entry: the levels above, whether it is the last child, and the node or the fold's text.
    stack: list[tuple[tuple[bool, ...], bool, RunNode | str]] = []
    if root is not None:
        stack.append(((), True, root))
    while stack and (limit is None or len(lines) < limit):
        ancestors, last, item = stack.pop()
        if isinstance(item, str):
            lines.append(TreeLine(ancestors, last, item, None))
            continue
        lines.append(
            TreeLine(
                ancestors,
                last,
                safe_text(item.name),
                item,
                detail_of(view, item, now_ns),
                item.elapsed_s(now_ns),
                view.is_leaf(item),
            )
        )
        below = list(_shown_children(view.branch(item), fold_over, kept))
        levels = ancestors if item is root else (*ancestors, not last)
        for index in range(len(below) - 1, -1, -1):
            stack.append((levels, index == len(below) - 1, below[index]))
    return lines


def _shown_children(
    branch: Branch, fold_over: int, kept: Collection[str]
) -> Iterator[RunNode | str]:
    children, troubled = branch.children, branch.troubled
    if len(children) <= fold_over or len(children) <= 1:
        yield from children
        return
    room = max(3, fold_over // 2)
    bad = [child for child in children if child.name in troubled] if troubled else []
    named = {child.path for child in bad if child.path in kept} if kept else set()
    named.update(child.path for child in bad[: max(0, room - len(named))])
    shown = [child for child in bad if child.path in named]
    yield from shown
    folded = Counter(branch.tally)
    folded.subtract(Counter(child.state for child in shown))
    prefix = safe_text(branch.common_name)
    yield fold_text(f"{prefix}…" if prefix else "others", folded, len(troubled) - len(shown))


def fold_text(label: str, tally: Counter[NodeState], hidden_trouble: int = 0) -> str:
    """Return a fold as text: ``pst-beam-…: 9,950 completed, 43 running``."""
    parts = [f"{tally[state]:,} {state}" for state in FOLD_ORDER if tally[state] > 0]
    known = sum(tally[state] for state in PROBLEM_STATES)
    if hidden_trouble > known:
        parts.append(f"{hidden_trouble - known:,} with trouble inside")
    return f"{label}: {', '.join(parts) or 'none'}"


def detail_of(view: RunView, node: RunNode, now_ns: int | None = None) -> str:
    """Return what is worth telling of a node in one harmless line."""
    ladder = node.abort_ladder
    done = None if view.is_leaf(node) else _done_of(view.branch(node))
    if "abandoned" in ladder or ("asked" in ladder and node.state == "running"):
        return _ladder_detail(ladder, now_ns, done)
    if done is None:
        told = node.is_problem or node.skipped
        return _own_words(node) if told else _leaf_detail(node)
    if node.is_final and node.decision and node.state != "completed":
        return safe_text(node.decision)
    return _first_words(node.message) if node.is_problem else done


def _done_of(branch: Branch) -> str:
    return f"{branch.done_count}/{len(branch.children)} done"


def _ladder_detail(ladder: dict[str, int], now_ns: int | None, done: str | None) -> str:
    if "abandoned" in ladder:
        return "abandoned: it did not stop when asked, and may still be running"
    ago = ""
    if now_ns is not None:
        ago = f" {duration_text(max(0, now_ns - ladder['asked']) / 1e9)} ago"
    if done is None:
        done = "heard it" if "acknowledged" in ladder else "no answer yet"
    return f"asked to stop{ago}, {done}"


def _leaf_detail(node: RunNode) -> str:
    devices = node.shown_devices
    text = safe_text(devices[0]) if devices else ""
    if len(devices) > 1:
        text = f"{text} and {len(devices) - 1} more"
    if node.attempt > 1:
        text = f"{text}, attempt {node.attempt}" if text else f"attempt {node.attempt}"
    return text


def _own_words(node: RunNode) -> str:
    # Its name stands at the beginning of the line already.
    return _first_words(node.message.removeprefix(f"{node.name}: "))


def _first_words(message: str) -> str:
    for line in message.splitlines():
        words = line.strip().removeprefix("- ")
        if words and words != "Causes:":
            return safe_text(words)
    return ""


def name_width(lines: Sequence[TreeLine], width: int) -> int:
    """Return the columns of the name column: what the longest name needs, or 45 percent."""
    needed = max(
        (3 * _level(line) + width_of(line.label) for line in lines if line.node), default=0
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
    stem = _stem(line, charset, names)
    if line.node is None:
        label = line.label.replace("…", charset.ellipsis)
        return [
            (clip(stem, width, ""), "dim"),
            (clip(label, width - width_of(stem), charset.ellipsis), "dim"),
        ]
    node = line.node
    style = node.state
    name = clip(line.label, names - width_of(stem), charset.ellipsis)
    pieces: list[Segment] = [
        (stem, "dim"),
        (pad(name, names - width_of(stem)), "" if line.leaf else "bold"),
        (f" {charset.marks[node.state]} {node.state:<{_STATE_WIDTH}} ", style),
    ]
    pieces.append((f"{duration_text(line.elapsed_s):>{_TIME_WIDTH}}  ", "dim"))
    used = names + _STATE_WIDTH + _TIME_WIDTH + 6
    # Percent done says nothing of what did not go well: its room is the reason's.
    barred = node.state in ("running", "completed", "waiting")
    if barred and width - used >= _BAR_WIDTH + 6:
        pieces.append((f"{_bar(node, charset)}  ", style))
        used += _BAR_WIDTH + 7
    if line.detail and width - used >= 6:
        detail = line.detail.replace("…", charset.ellipsis)
        shown = clip(detail, width - used, charset.ellipsis)
        pieces.append((shown, style if node.is_problem else ""))
    return _fit(pieces, width)


def render_plain(
    view: RunView,
    *,
    width: int = 80,
    charset: Charset = UNICODE,
    now_s: float | None = None,
    max_lines: int | None = None,
    fold_over: int = FOLD_OVER,
) -> str:
    """Return the tree as plain text, without colours and without trailing blanks.

    Args:
        view: The run.
        width: Columns that a line may take.
        charset: The signs to draw with.
        now_s: The monotonic clock, for what still runs.
        max_lines: How many lines there is room for; None means no limit.
        fold_over: Groups of more children are folded by status.
    """
    lines = build_lines(view, now_s=now_s, max_lines=max_lines, fold_over=fold_over)
    names = name_width(lines, width)
    return "\n".join(
        "".join(text for text, _ in format_line(line, width, names, charset)).rstrip()
        for line in lines
    )


def _level(line: TreeLine) -> int:
    return len(line.ancestors) + (0 if line.node is not None and not line.node.parent_path else 1)


def _stem(line: TreeLine, charset: Charset, names: int) -> str:
    if line.node is not None and not line.node.parent_path:
        return ""
    levels = [charset.stem if follows else charset.gap for follows in line.ancestors]
    levels.append(charset.corner if line.last else charset.branch)
    stem = "".join(levels)
    most = max(3, names - min(width_of(line.label), 10))
    if len(stem) <= most:
        return stem
    # A very deep tree: only the innermost levels fit.
    return charset.ellipsis + stem[len(stem) - most + len(charset.ellipsis) :]


def _bar(node: RunNode, charset: Charset) -> str:
    if node.state == "waiting":
        return " " * (_BAR_WIDTH + 5)
    full = (node.progress * _BAR_WIDTH + 50) // 100
    bar = charset.full * full + charset.empty * (_BAR_WIDTH - full)
    return f"{bar}{node.progress:>4}%"


def _fit(pieces: list[Segment], width: int) -> list[Segment]:
    fitted: list[Segment] = []
    left = width
    for text, style in pieces:
        cut = clip(text, left, "") if width_of(text) > left else text
        if cut:
            fitted.append((cut, style))
        left -= width_of(cut)
    return fitted
