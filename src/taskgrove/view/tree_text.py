"""A run as a tree of lines: on a terminal, in a log, in a notebook, on a page.

:func:`build_lines` decides which nodes are shown, and folds the others; how a line is drawn,
:mod:`taskgrove.view.tree_lines` says. Pure; every text of a device is made harmless on the way.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from typing import Final

from taskgrove.story.node_wait import Waiting, device_wait_in, pause_in
from taskgrove.story.run_node import RunNode
from taskgrove.story.run_tree import Branch
from taskgrove.view.act_words import pause_words
from taskgrove.view.phrases import ago_text, day_text
from taskgrove.view.snapshot import RunView
from taskgrove.view.terminal_text import UNICODE, Charset, safe_text
from taskgrove.view.tree_lines import (
    TreeLine,
    fold_line,
    fold_text,
    plain_lines,
    target_of,
    untold_target,
    walk,
)

#: Groups of more children than this are folded by status, unless told otherwise.
FOLD_OVER: Final = 40
_WAITS: Final[dict[Waiting, str]] = {
    "held": "held",
    "undecided": "undecided until all others of its group have ended",
    "delayed": "its next attempt begins later",
    "parked": "its start waits for the end of the pause",
}
_FOLD_STEPS: Final = (FOLD_OVER, 20, 12, 6, 3, 0)


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
        now_s: The monotonic clock, for nodes that still run.
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
    cut.append(fold_line((), True, "… more lines do not fit here"))
    return cut[:max_lines]


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
        now_s: The monotonic clock, for nodes that still run.
        max_lines: How many lines there is room for; None means no limit.
        fold_over: Groups of more children are folded by status.
    """
    lines = build_lines(view, now_s=now_s, max_lines=max_lines, fold_over=fold_over)
    return "\n".join(plain_lines(lines, width, charset))


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
    if root is None:
        return []

    def below(node: RunNode) -> Sequence[RunNode | str]:
        return _shown_children(view.branch(node), fold_over, kept)

    return [
        fold_line(ancestors, last, item)
        if isinstance(item, str)
        else _line_of(view, item, now_ns, ancestors, last)
        for ancestors, last, item in walk(root, below, limit)
    ]


def _line_of(
    view: RunView, node: RunNode, now_ns: int | None, ancestors: tuple[bool, ...], last: bool
) -> TreeLine:
    words = _words_of(view, node, now_ns)
    return TreeLine(
        ancestors,
        last,
        not node.parent_path,
        node.path,
        safe_text(node.name),
        node.state,
        node.elapsed_s(now_ns),
        words,
        view.is_leaf(node),
        node.progress,
        "" if node.composed is None else safe_text(node.composed.description),
        untold_target(node, words),
    )


def _shown_children(
    branch: Branch, fold_over: int, kept: Collection[str]
) -> Sequence[RunNode | str]:
    children, troubled = branch.children, branch.troubled
    if len(children) <= fold_over or len(children) <= 1:
        return children
    room = max(3, fold_over // 2)
    bad = [child for child in children if child.name in troubled] if troubled else []
    named = {child.path for child in bad if child.path in kept} if kept else set()
    named.update(child.path for child in bad[: max(0, room - len(named))])
    shown = [child for child in bad if child.path in named]
    folded = Counter(branch.tally)
    folded.subtract(Counter(child.state for child in shown))
    prefix = safe_text(branch.common_name)
    label = f"{prefix}…" if prefix else "others"
    return [*shown, fold_text(label, folded, len(troubled) - len(shown))]


def _words_of(view: RunView, node: RunNode, now_ns: int | None) -> str:
    """Return the words beside a node, in one harmless line."""
    ladder = node.abort_ladder
    branch = None if view.is_leaf(node) else view.branch(node)
    done = None if branch is None else _done_text(branch)
    if "abandoned" in ladder:
        return "abandoned: it did not stop when asked, and may still be running"
    if "asked" in ladder and node.state == "running":
        answer = done or ("acknowledged" if "acknowledged" in ladder else "no answer yet")
        ago = "" if now_ns is None else f" {ago_text(ladder['asked'], now_ns)}"
        return f"asked to stop{ago}, {answer}"
    waiting = _waiting_words(node, now_ns)
    if waiting:
        return waiting
    if done is None:
        # Its name stands at the beginning of the line.
        ended = _first_words(node.message.removeprefix(f"{node.name}: "))
        went_well = not node.is_problem and not node.skipped
        return _leaf_words(node) if went_well else ended
    if node.is_final and node.decision and node.state != "completed":
        return safe_text(node.decision)
    return _first_words(node.message) if node.is_problem else done


def _done_text(branch: Branch) -> str:
    """Return how many nodes below a node have ended, and how many wait: ``3/5 done, 1 held``."""
    waiting = (f", {branch.tally[how]} {how}" for how in _WAITS if branch.tally[how])
    return f"{branch.done_count}/{len(branch.children)} done{''.join(waiting)}"


def _waiting_words(node: RunNode, now_ns: int | None) -> str:
    """Return the wait of a node, or the pause of a run at its root; empty where there is none."""
    if not node.notes or node.is_final:
        return ""
    if not node.parent_path and (pause := pause_in(node.notes)) is not None:
        return pause_words(pause, now_ns)
    if not node.parent_path and (holder := device_wait_in(node.notes)) is not None:
        return safe_text(holder.words)
    wait = node.wait
    if wait is None:
        return ""
    failure, told = wait.failure, _WAITS[wait.how]
    if wait.how == "delayed" and wait.until_ns is not None:
        told = f"next attempt at {_clock(wait.until_ns)}"
    elif wait.how == "held":
        told = f"held since {_clock(wait.since_ns)}"
        if wait.until_ns is not None:
            told += f" until {_clock(wait.until_ns)}"
    if failure is None:
        return told
    attempt = f", attempt {node.attempt}" if node.attempt > 1 else ""
    return f"{told}{attempt}: {_first_words(failure.words)}"


def _clock(wall_ns: int) -> str:
    return day_text(wall_ns).partition(" ")[2]


def _leaf_words(node: RunNode) -> str:
    devices = () if target_of(node) else node.shown_devices
    text = safe_text(devices[0]) if devices else ""
    if len(devices) > 1:
        text = f"{text} and {len(devices) - 1} more"
    if node.attempt > 1:
        text = f"{text}, attempt {node.attempt}" if text else f"attempt {node.attempt}"
    return text


def _first_words(message: str) -> str:
    for line in message.splitlines():
        words = line.strip().removeprefix("- ")
        if words and words != "Causes:":
            return safe_text(words)
    return ""
