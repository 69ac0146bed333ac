"""An explanation as text and as HTML: on a terminal, in a log, on a page, in a notebook. Pure.

Below its first line and its tree stand titled lists; both forms show the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from taskgrove.view.act_words import act_line
from taskgrove.view.phrases import (
    LINES_SHOWN,
    at_most,
    clock_text,
    counted,
    leaves,
    left_out_lines,
    listed,
    plain,
)
from taskgrove.view.states import colour_of
from taskgrove.view.terminal_text import UNICODE, Charset, safe_text, wrapped
from taskgrove.view.tree_lines import (
    Segment,
    format_line,
    html_text,
    name_width,
    plain_text,
    table_html,
)
from taskgrove.view.why.actions import RunCommand, command_text, text_of
from taskgrove.view.why.explanation import CauseGroup, Explanation
from taskgrove.view.why.failed_leaf import normalised
from taskgrove.view.why.findings import Casualty
from taskgrove.view.why.held_steps import group_line
from taskgrove.view.why.living_run import wait_words
from taskgrove.view.why.naming import below_root

_LEAST_WIDTH: Final = 40
#: Of words that differ so many are shown, and so many columns of each.
_EXAMPLES: Final = 3
_EXAMPLE: Final = 120

_CASUALTIES: Final = {
    "skipped": "skipped",
    "stopped": "stopped when asked",
    "waiting": "had failed and waited",
    "abandoned": "did not stop when asked",
    "not started": "not started",
    "same device": "of a device that had failed already",
}


def lines_of(why: Explanation, width: int = 80, charset: Charset = UNICODE) -> list[list[Segment]]:
    """Return an explanation as lines of styled pieces, harmless on a terminal.

    Args:
        why: The explanation.
        width: Columns that a line may take, at least 40; only names longer than that exceed it.
        charset: The signs to draw the tree with.
    """
    width = max(width, _LEAST_WIDTH)
    whole = commands_of(why)
    first = wrapped(why.sentence, width, whole=whole)
    lines: list[list[Segment]] = [[(line, why.shown_as)] for line in first]
    if len(why.tree) > 1:
        names = name_width(why.tree, width)
        lines.append([("", "")])
        lines += [format_line(line, width, names, charset) for line in why.tree]
    for title, items in lists_of(why):
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
    return "\n".join(map(plain_text, lines_of(why, width, charset)))


def render_why_html(why: Explanation) -> str:
    """Return an explanation as HTML, to stand inside a page's body."""
    return _fragment(why, table_html(why.tree) if len(why.tree) > 1 else "")


def render_words_html(why: Explanation) -> str:
    """Return an explanation as HTML, without the tree that proves it: it is shown already."""
    return _fragment(why, "")


def lists_of(why: Explanation) -> list[tuple[str, tuple[str, ...]]]:
    """Return the lists that have something to say: their titles and their lines."""
    now_ns, failed = why.now_ns, sum(group.count for group in why.groups)
    untold = bool(why.next_step) and not why.sentence.endswith(why.next_step)
    is_cut = failed == 1 and "…" in why.sentence
    causes = counted(len(why.groups), "cause")
    waiting = sum(len(group.paths) for group in why.held)
    is_long = waiting > 1 or "…" in why.sentence
    followed = "Consequences" if failed else "Stopped"
    told: list[tuple[str, Sequence[str]]] = [
        ("Next", [text_of(it, now_ns) for it in why.actions] if untold else ()),
        ("Also", why.also),
        ("Full text", [_group_line(why.groups[0])] if is_cut else ()),
        (f"Failed ({leaves(failed)}, {causes})", _group_lines(why) if failed > 1 else ()),
        (f"{followed} ({leaves(len(why.casualties))})", _casualty_lines(why.casualties)),
        (
            f"Still running ({leaves(len(why.waiting))})",
            [wait_words(it, now_ns) for it in why.waiting] if len(why.waiting) > 1 else (),
        ),
        (
            f"Waiting ({counted(waiting, 'step')})",
            [group_line(it, now_ns) for it in why.held] if is_long else (),
        ),
        ("Kept from starting by the pause", list(map(below_root, why.parked))),
        ("Other choices", [text_of(it, now_ns) for it in why.choices]),
        ("Left out", left_out_lines(why.left_out)),
        ("Acts of operators", [act_line(it, now_ns) for it in why.acts]),
        ("Verdicts of operators", _verdict_lines(why)),
        ("See also", [text_of(it, now_ns) for it in why.see_also]),
    ]
    return [(title, at_most(lines)) for title, lines in told if lines]


def commands_of(why: Explanation) -> list[str]:
    """Return the command lines that an explanation holds: they are to be copied."""
    actions = (*why.actions, *why.choices, *why.see_also)
    return [command_text(it) for it in actions if isinstance(it, RunCommand)]


def shown_causes(why: Explanation) -> Sequence[CauseGroup]:
    """Return the causes that are told; where there are too many, the first of each kind are."""
    groups = why.groups
    if len(groups) <= LINES_SHOWN:
        return groups
    of_kind: dict[str, int] = {}
    ranked = []
    for number, group in enumerate(groups):
        rank = of_kind[group.kind] = of_kind.get(group.kind, -1) + 1
        ranked.append((rank, number))
    told = sorted(number for _, number in sorted(ranked)[:LINES_SHOWN])
    return [groups[number] for number in told]


def _group_lines(why: Explanation) -> tuple[str, ...]:
    """Return a line for each cause that is told, and how many more there are."""
    shown = shown_causes(why)
    more = len(why.groups) - len(shown)
    lines = tuple(map(_group_line, shown))
    return (*lines, f"… and {more:,} more") if more else lines


def _group_line(group: CauseGroup) -> str:
    if group.count == 1:
        device = f" on {safe_text(group.devices[0])}" if group.devices else ""
        return f"{below_root(group.paths[0])}{device}: {safe_text(group.cause)}"
    names = list(map(safe_text, group.devices)) or list(map(below_root, group.paths))
    if not group.told:
        return f"{group.count:,} times {plain(group.cause)} ({listed(names)})"
    # Each says it of its own names and figures: those of one are not told for all.
    examples = [
        f"{safe_text(path.rpartition('/')[2])}: {plain(words, _EXAMPLE)}"
        for path, words in zip(group.paths[:_EXAMPLES], group.told, strict=False)
    ]
    more = group.count - len(examples)
    rest = f" and {more:,} more" if more else ""
    return f"{group.count:,} similar: {'; '.join(examples)}{rest}"


def _casualty_lines(casualties: Sequence[Casualty]) -> list[str]:
    groups: dict[tuple[str, str], list[Casualty]] = {}
    for item in casualties:
        groups.setdefault((item.kind, normalised(item.because)), []).append(item)
    lines = []
    for (kind, _), items in groups.items():
        because = plain(items[0].because)
        because = f" ({because})" if because else ""
        names = listed([below_root(item.path) for item in items])
        lines.append(f"{len(items):,} {_CASUALTIES[kind]}{because}: {names}")
    return lines


def _verdict_lines(why: Explanation) -> list[str]:
    lines = []
    for verdict in why.verdicts:
        by = safe_text(verdict.who) or "somebody"
        reason = f" ({plain(verdict.why)})" if verdict.why else ""
        when = clock_text(verdict.wall_ns, why.now_ns)
        lines.append(f"{when}, {by} on {safe_text(verdict.path)}: {plain(verdict.words)}{reason}")
    return lines


def _fragment(why: Explanation, proof: str) -> str:
    colour = colour_of(why.shown_as)
    parts = [f'<p style="color:{colour}"><b>{html_text(why.sentence)}</b></p>', proof]
    for title, items in lists_of(why):
        listed = "".join(f"<li>{html_text(item)}</li>" for item in items)
        parts.append(f"<p>{html_text(title)}</p><ul>{listed}</ul>")
    return f'<div class="taskgrove-why">{"".join(parts)}</div>'
