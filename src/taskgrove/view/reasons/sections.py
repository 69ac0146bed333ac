"""What stands below the sentence and the tree of an explanation, as titled lists. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from taskgrove.view.left_out import left_out_lines
from taskgrove.view.reasons.causes import Casualty
from taskgrove.view.reasons.kinds import normalised
from taskgrove.view.reasons.live import wait_words
from taskgrove.view.reasons.words import clock_text, counted, listed, plain
from taskgrove.view.terminal_text import safe_text
from taskgrove.view.why import CauseGroup, Why

#: How many lines one list has at most.
LINES_SHOWN: Final = 20

_TITLES: Final = {
    "skipped": "skipped",
    "stopped": "stopped when asked",
    "abandoned": "asked to stop, and given up",
    "not started": "not started",
    "same device": "of a device that had failed already",
}


def sections_of(why: Why) -> list[tuple[str, tuple[str, ...]]]:
    """Return the lists that have something to say: their titles and their lines."""
    failed = sum(group.count for group in why.groups)
    told: list[tuple[str, Iterable[str]]] = []
    if failed > 1:
        causes = counted(len(why.groups), "cause")
        title = f"Failed ({counted(failed, 'leaf', 'leaves')}, {causes})"
        told.append((title, map(_group_line, why.groups)))
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
    return [(title, _at_most(tuple(lines))) for title, lines in told]


def _group_line(group: CauseGroup) -> str:
    names = [safe_text(name) for name in group.devices or group.paths]
    if group.count == 1:
        return f"{names[0]}: {plain(group.cause)}"
    return f"{group.count:,} times {plain(group.cause)} ({listed(names)})"


def _casualty_lines(casualties: Sequence[Casualty]) -> Iterable[str]:
    groups: dict[tuple[str, str], list[Casualty]] = {}
    for item in casualties:
        because = _without_kind(item.because)
        groups.setdefault((item.kind, normalised(because)), []).append(item)
    for (kind, _), items in groups.items():
        because = _without_kind(items[0].because)
        names = [safe_text(item.path.partition("/")[2] or item.path) for item in items]
        yield f"{len(items):,} {_TITLES[kind]} ({plain(because)}): {listed(names)}"


def _without_kind(because: str) -> str:
    for kind in ("skipped: ", "abandoned: ", "not started: "):
        because = because.removeprefix(kind)
    return because


def _verdict_lines(why: Why) -> Iterable[str]:
    for verdict in why.verdicts:
        by = safe_text(verdict.who) or "somebody"
        reason = f" ({plain(verdict.why)})" if verdict.why else ""
        when = clock_text(verdict.wall_ns, why.now_ns)
        yield f"{when}, {by} on {safe_text(verdict.path)}: {plain(verdict.verdict)}{reason}"


def _at_most(lines: tuple[str, ...]) -> tuple[str, ...]:
    if len(lines) <= LINES_SHOWN:
        return lines
    return (*lines[:LINES_SHOWN], f"… and {len(lines) - LINES_SHOWN:,} more")
