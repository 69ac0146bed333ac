"""What stands below the sentence and the tree of an explanation, as titled lists. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from taskgrove.view.left_out import left_out_lines
from taskgrove.view.terminal_text import safe_text
from taskgrove.view.why.actions import RunCommand, command_text, text_of
from taskgrove.view.why.explanation import CauseGroup, Explanation
from taskgrove.view.why.failed_leaf import normalised
from taskgrove.view.why.findings import Casualty
from taskgrove.view.why.living_run import wait_words
from taskgrove.view.why.phrases import clock_text, counted, listed, plain

#: How many lines one list has at most.
LINES_SHOWN: Final = 20
#: Of words that differ so many are shown, and so many columns of each.
_EXAMPLES: Final = 3
_EXAMPLE: Final = 120

_TITLES: Final = {
    "skipped": "skipped",
    "stopped": "stopped when asked",
    "abandoned": "asked to stop, and given up",
    "not started": "not started",
    "same device": "of a device that had failed already",
}


def sections_of(why: Explanation) -> list[tuple[str, tuple[str, ...]]]:
    """Return the lists that have something to say: their titles and their lines."""
    failed = sum(group.count for group in why.groups)
    told: list[tuple[str, Iterable[str]]] = []
    if why.next_step and not why.sentence.endswith(why.next_step):
        told.append(("Next", (text_of(action, why.now_ns) for action in why.actions)))
    if why.also:
        told.append(("Besides", why.also))
    if failed == 1 and "…" in why.sentence:
        told.append(("In full", [_group_line(why.groups[0])]))
    if failed > 1:
        causes = counted(len(why.groups), "cause")
        title = f"Failed ({counted(failed, 'leaf', 'leaves')}, {causes})"
        told.append((title, _group_lines(why)))
    if why.casualties:
        word = "Only followed from it" if failed else "Stopped"
        title = f"{word} ({counted(len(why.casualties), 'leaf', 'leaves')})"
        told.append((title, _casualty_lines(why.casualties)))
    if len(why.waiting) > 1:
        title = f"Still running ({counted(len(why.waiting), 'leaf', 'leaves')})"
        told.append((title, (wait_words(wait, why.now_ns) for wait in why.waiting)))
    if why.left_out:
        told.append(("Left out", left_out_lines(why.left_out)))
    if why.verdicts:
        told.append(("Said by operators", _verdict_lines(why)))
    if why.see_also:
        told.append(("See also", (text_of(action, why.now_ns) for action in why.see_also)))
    return [(title, _at_most(tuple(lines))) for title, lines in told]


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
        return f"{_below_root(group.paths[0])}{device}: {safe_text(group.cause)}"
    names = list(map(safe_text, group.devices)) or list(map(_below_root, group.paths))
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


def _below_root(path: str) -> str:
    return safe_text(path.partition("/")[2] or path)


def _casualty_lines(casualties: Sequence[Casualty]) -> Iterable[str]:
    groups: dict[tuple[str, str], list[Casualty]] = {}
    for item in casualties:
        groups.setdefault((item.kind, normalised(item.because)), []).append(item)
    for (kind, _), items in groups.items():
        names = [_below_root(item.path) for item in items]
        because = plain(items[0].because)
        because = f" ({because})" if because else ""
        yield f"{len(items):,} {_TITLES[kind]}{because}: {listed(names)}"


def _verdict_lines(why: Explanation) -> Iterable[str]:
    for verdict in why.verdicts:
        by = safe_text(verdict.who) or "somebody"
        reason = f" ({plain(verdict.why)})" if verdict.why else ""
        when = clock_text(verdict.wall_ns, why.now_ns)
        yield f"{when}, {by} on {safe_text(verdict.path)}: {plain(verdict.words)}{reason}"


def _at_most(lines: tuple[str, ...]) -> tuple[str, ...]:
    if len(lines) <= LINES_SHOWN + 1:
        return lines
    return (*lines[:LINES_SHOWN], f"… and {len(lines) - LINES_SHOWN:,} more")
