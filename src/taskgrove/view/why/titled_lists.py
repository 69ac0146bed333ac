"""The titled lists below the first line and the tree of an explanation. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

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
from taskgrove.view.terminal_text import safe_text
from taskgrove.view.why.actions import RunCommand, command_text, text_of
from taskgrove.view.why.explanation import CauseGroup, Explanation
from taskgrove.view.why.failed_leaf import normalised
from taskgrove.view.why.findings import Casualty
from taskgrove.view.why.living_run import wait_words
from taskgrove.view.why.naming import below_root

#: Of words that differ so many are shown, and so many columns of each.
_EXAMPLES: Final = 3
_EXAMPLE: Final = 120

_CASUALTIES: Final = {
    "skipped": "skipped",
    "stopped": "stopped when asked",
    "abandoned": "did not stop when asked",
    "not started": "not started",
    "same device": "of a device that had failed already",
}


def lists_of(why: Explanation) -> list[tuple[str, tuple[str, ...]]]:
    """Return the lists that have something to say: their titles and their lines."""
    now_ns, failed = why.now_ns, sum(group.count for group in why.groups)
    untold = bool(why.next_step) and not why.sentence.endswith(why.next_step)
    is_cut = failed == 1 and "…" in why.sentence
    causes = counted(len(why.groups), "cause")
    followed = "Only followed from it" if failed else "Stopped"
    told: list[tuple[str, Sequence[str]]] = [
        ("Next", [text_of(it, now_ns) for it in why.actions] if untold else ()),
        ("Besides", why.also),
        ("In full", [_group_line(why.groups[0])] if is_cut else ()),
        (f"Failed ({leaves(failed)}, {causes})", _group_lines(why) if failed > 1 else ()),
        (f"{followed} ({leaves(len(why.casualties))})", _casualty_lines(why.casualties)),
        (
            f"Still running ({leaves(len(why.waiting))})",
            [wait_words(it, now_ns) for it in why.waiting] if len(why.waiting) > 1 else (),
        ),
        ("Left out", left_out_lines(why.left_out)),
        ("Said by operators", _verdict_lines(why)),
        ("See also", [text_of(it, now_ns) for it in why.see_also]),
    ]
    return [(title, _at_most(tuple(lines))) for title, lines in told if lines]


def commands_of(why: Explanation) -> list[str]:
    """Return the command lines that an explanation holds: they are to be copied."""
    actions = (*why.actions, *why.see_also)
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
    rest = f" and {more:,} more alike" if more else ""
    return f"{group.count:,} alike but for names and figures: {'; '.join(examples)}{rest}"


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


def _at_most(lines: tuple[str, ...]) -> tuple[str, ...]:
    """Return lines, cut where they are too many; one that counts others may stand behind them."""
    return lines if len(lines) <= LINES_SHOWN + 1 else at_most(lines)
