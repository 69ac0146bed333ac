"""Small words of an explanation: names, counts, times, and what others said.

Pure. Everything that devices, methods and programs said is made harmless here (one line, no
control characters); a surface that shows HTML escapes it besides.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from taskgrove.story.run_node import RunNode
from taskgrove.view.terminal_text import clip_middle, duration_text, safe_text, width_of
from taskgrove.view.why.failed_leaf import device_of

#: Names and foreign words are cut to so many columns, unless told otherwise.
COLUMNS: Final = 240
#: How many names are listed before the rest is counted.
_NAMED: Final = 3
_NS: Final = 1_000_000_000
#: From how many seconds on the day is told with the time.
_HALF_A_DAY_S: Final = 43_200


def said(words: str, room: int = COLUMNS) -> str:
    """Return foreign words in quotation marks."""
    return f'"{plain(words, room)}"'


def plain(words: str, room: int = COLUMNS) -> str:
    """Return foreign words on one line, harmless and not too long."""
    return clip_middle(safe_text(words), room)


def name_of(node: RunNode, room: int = COLUMNS) -> str:
    """Return a node's path without the root, which every sentence names already.

    Of a long one the last parts are told: they say which node it is.
    """
    path = safe_text(node.path.partition("/")[2] or node.path)
    if width_of(path) <= room:
        return path
    parts = path.split("/")
    last = parts.pop()
    while parts and width_of(f"…/{parts[-1]}/{last}") <= room:
        last = f"{parts.pop()}/{last}"
    return f"…/{clip_middle(last, room)}" if parts else clip_middle(last, room)


def who(node: RunNode, room: int = COLUMNS) -> str:
    """Return a node and where it runs: ``pst-beam-03 on low-pst/beam/03``."""
    device = device_of(node)
    if device is not None:
        return f"{name_of(node, room)} on {plain(device, room)}"
    execution = "" if node.composed is None else node.composed.execution
    kind = {"INTERNAL": "step ", "ANALYSIS": "analysis "}.get(execution, "")
    return f"{kind}{name_of(node, room)}"


def command_of(node: RunNode, room: int = COLUMNS) -> str:
    """Return the command of a leaf, for the middle of a sentence."""
    command = None if node.composed is None else node.composed.command_name
    return plain(command, room) if command else "its command"


def method_of(node: RunNode, room: int = COLUMNS) -> str:
    """Return the method of a step: ``Manager.check_lock``; a plain function by its name."""
    target = None if node.composed is None else node.composed.target
    if not target or target in ("function", "method", "NoneType"):
        return command_of(node, room)
    return f"{plain(target, room)}.{command_of(node, room)}"


def listed(names: Sequence[str]) -> str:
    """Return names for the middle of a sentence; of many, three and how many more."""
    if len(names) > _NAMED:
        return f"{', '.join(names[:_NAMED])} and {len(names) - _NAMED:,} more"
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def counted(count: int, one: str, many: str | None = None) -> str:
    """Return a count and its noun: ``1 leaf``, ``312 leaves``."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def seconds_between(begin_ns: int | None, end_ns: int | None) -> float | None:
    """Return a duration in seconds, never negative; None where an end of it is not known."""
    if begin_ns is None or end_ns is None:
        return None
    return max(0.0, (end_ns - begin_ns) / _NS)


def clock_text(wall_ns: int, now_ns: int) -> str:
    """Return an instant for people, in UTC; with its day when that is not today's."""
    at = datetime.fromtimestamp(wall_ns // _NS, UTC)
    far = abs(now_ns - wall_ns) > _HALF_A_DAY_S * _NS
    return at.strftime("%Y-%m-%d %H:%M:%S UTC" if far else "%H:%M:%S UTC")


def ago_text(wall_ns: int, now_ns: int) -> str:
    """Return how long ago an instant was; a clock that stepped back makes it no time ago."""
    return f"{duration_text(seconds_between(wall_ns, now_ns))} ago"
