"""Small words that every view uses: counts, lists, times, foreign words, steps that were left out.

Pure. Everything that devices, methods and programs said is made harmless here (one line, no
control characters); a surface that shows HTML escapes it besides.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from taskgrove.events import ComposedDetail, LeftOut
from taskgrove.events.code_revision import CodeRevision
from taskgrove.view.terminal_text import clip_middle, duration_text, safe_text

#: Names and foreign words are cut to so many columns, unless told otherwise.
COLUMNS: Final = 240
#: How many lines one list has at most.
LINES_SHOWN: Final = 20
#: How many names are listed before the rest is counted.
_NAMED: Final = 3
_NS: Final = 1_000_000_000
#: From how many seconds on the day is told with the time.
_HALF_A_DAY_S: Final = 43_200
_STEP_VERBS: Final = {"write": "write", "wait": "wait for", "expect": "expect"}


def plain(words: str, room: int = COLUMNS) -> str:
    """Return foreign words on one line, harmless and not too long."""
    return clip_middle(safe_text(words), room)


def said(words: str, room: int = COLUMNS) -> str:
    """Return foreign words in quotation marks."""
    return f'"{plain(words, room)}"'


def step_words(composed: ComposedDetail | None) -> str:
    """Return the command of a leaf, or what it does with an attribute: ``wait for State``."""
    if composed is None or not composed.command_name:
        return ""
    verb = _STEP_VERBS.get(composed.step, "")
    return f"{verb} {composed.command_name}" if verb else composed.command_name


def listed(names: Sequence[str]) -> str:
    """Return names for the middle of a sentence; of many, three and how many more."""
    if len(names) > _NAMED:
        return f"{', '.join(names[:_NAMED])} and {len(names) - _NAMED:,} more"
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def at_most(lines: Sequence[str], most: int = LINES_SHOWN) -> tuple[str, ...]:
    """Return lines; where there are more, how many more. One more is told in its own line."""
    if len(lines) <= most + 1:
        return tuple(lines)
    return (*lines[:most], f"… and {len(lines) - most:,} more")


def counted(count: int, one: str, many: str | None = None) -> str:
    """Return a count and its noun: ``1 leaf``, ``312 leaves``."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def leaves(count: int) -> str:
    """Return a number of leaves: ``1 leaf``, ``312 leaves``."""
    return counted(count, "leaf", "leaves")


def seconds_between(begin_ns: int | None, end_ns: int | None) -> float | None:
    """Return a duration in seconds, never negative; None where an end of it is not known."""
    if begin_ns is None or end_ns is None:
        return None
    return max(0.0, (end_ns - begin_ns) / _NS)


def day_text(wall_ns: int) -> str:
    """Return an instant for people, in UTC, with its day."""
    return f"{datetime.fromtimestamp(wall_ns // _NS, UTC):%Y-%m-%d %H:%M:%S UTC}"


def clock_text(wall_ns: int, now_ns: int) -> str:
    """Return an instant for people, in UTC; with its day when that is not today's."""
    text = day_text(wall_ns)
    return text if abs(now_ns - wall_ns) > _HALF_A_DAY_S * _NS else text.partition(" ")[2]


def ago_text(wall_ns: int, now_ns: int) -> str:
    """Return how long ago an instant was; a clock that stepped back makes it no time ago."""
    return f"{duration_text(seconds_between(wall_ns, now_ns))} ago"


def left_out_words(left_out: Sequence[LeftOut]) -> str:
    """Return all that was left out as one clause, ``left out: …``; empty where nothing was."""
    groups: dict[str, list[str]] = {}
    for item in _steps(left_out):
        groups.setdefault(item.reason, []).append(_step_name(item))
    told = "; ".join(f"{listed(names)}: {safe_text(reason)}" for reason, names in groups.items())
    return f"left out: {told}" if told else ""


def left_out_lines(left_out: Sequence[LeftOut]) -> tuple[str, ...]:
    """Return a line for each step that was left out, with its whole reason."""
    return at_most(
        [f"{_step_name(it)}: {safe_text(it.why)} ({it.kind})" for it in _steps(left_out)]
    )


def _steps(left_out: Sequence[LeftOut]) -> list[LeftOut]:
    """Return the steps without the branches that stand for several of them."""
    branches = {item.path.rpartition("/")[0] for item in left_out if item.branch}
    return [item for item in left_out if item.path not in branches]


def _step_name(item: LeftOut) -> str:
    return safe_text(item.name if item.device is None else f"{item.device} ({item.name})")


def code_text(code: CodeRevision) -> str:
    """Return the revision of code in words, and its file."""
    commit = f"commit {code.revision[:12]}" if code.revision else "no commit yet"
    words = {True: ", with changes that are not committed", False: "", None: ", perhaps changed"}
    return safe_text(f"{commit}{words[code.dirty]}: {code.file}")
