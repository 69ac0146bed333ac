"""An explanation as text: on a terminal, in a log, in a message. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from taskgrove.view.terminal_text import (
    UNICODE,
    Charset,
    clip,
    duration_text,
    pad,
    width_of,
    wrapped,
)
from taskgrove.view.tree_text import STATE_STYLES, Segment
from taskgrove.view.why.explanation import Explanation
from taskgrove.view.why.proof import ProofLine
from taskgrove.view.why.sections import commands_of, sections_of

_STATE_WIDTH: Final = max(len(state) for state in STATE_STYLES)
_TIME_WIDTH: Final = 9
_LEAST_WIDTH: Final = 40


def lines_of(why: Explanation, width: int = 80, charset: Charset = UNICODE) -> list[list[Segment]]:
    """Return an explanation as lines of styled pieces, harmless on a terminal.

    Args:
        why: The explanation.
        width: Columns that a line may take, at least 40; only names longer than that exceed it.
        charset: The signs to draw the tree with.
    """
    width = max(width, _LEAST_WIDTH)
    style = why.shown_as
    whole = commands_of(why)
    first = wrapped(why.sentence, width, whole=whole)
    lines: list[list[Segment]] = [[(line, style)] for line in first]
    if len(why.tree) > 1:
        names = _name_width(why.tree, width)
        lines.append([("", "")])
        lines += [_tree_line(line, width, names, charset) for line in why.tree]
    for title, items in sections_of(why):
        lines += [[("", "")], [(f"{title}:", "bold")]]
        for item in items:
            lines += [[(part, "")] for part in wrapped(f"  - {item}", width, "    ", whole)]
    return lines


def render_why(why: Explanation, width: int = 80, charset: Charset = UNICODE) -> str:
    """Return an explanation as plain text, without colours and without trailing blanks.

    Args:
        why: The explanation.
        width: See :func:`lines_of`.
        charset: See :func:`lines_of`.
    """
    lines = lines_of(why, width, charset)
    return "\n".join("".join(text for text, _ in line).rstrip() for line in lines)


def _stem(line: ProofLine, names: int, charset: Charset) -> str:
    if line.is_root:
        return ""
    levels = "".join(charset.stem if follows else charset.gap for follows in line.ancestors)
    stem = levels + (charset.corner if line.last else charset.branch)
    # A line that stands for several has no columns to keep to.
    kept = 0 if line.state is None else min(width_of(line.name), 10)
    most = max(3, names - kept)
    if len(stem) <= most:
        return stem
    # A very deep tree: only the innermost levels fit.
    return charset.ellipsis + stem[len(stem) - most + len(charset.ellipsis) :]


def _name_width(lines: Sequence[ProofLine], width: int) -> int:
    needed = max(
        (3 * len(line.ancestors) + 3 + width_of(line.name) for line in lines if line.state),
        default=0,
    )
    return min(needed, max(12, width * 45 // 100))


def _tree_line(line: ProofLine, width: int, names: int, charset: Charset) -> list[Segment]:
    stem = _stem(line, names, charset)
    if line.state is None:
        label = line.name.replace("…", charset.ellipsis)
        return [(stem, "dim"), (clip(label, width - width_of(stem), charset.ellipsis), "dim")]
    room = names - width_of(stem)
    pieces: list[Segment] = [
        (stem, "dim"),
        (pad(clip(line.name, room, charset.ellipsis), room), ""),
        (f" {charset.marks[line.state]} {line.state:<{_STATE_WIDTH}} ", line.state),
        (f"{duration_text(line.elapsed_s):>{_TIME_WIDTH}}  ", "dim"),
    ]
    left = width - sum(width_of(text) for text, _ in pieces)
    if line.words and left >= 6:
        words = line.words.replace("…", charset.ellipsis)
        pieces.append((clip(words, left, charset.ellipsis), line.state))
    return pieces
