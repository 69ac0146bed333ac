"""What was left out of a command, in words; the same on every surface. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from taskgrove.events import LeftOut
from taskgrove.view.terminal_text import safe_text

#: How many names of one reason are listed before the rest is counted.
_NAMED: Final = 3
#: How many lines a section has at most.
_TOLD: Final = 20


def left_out_words(left_out: Sequence[LeftOut]) -> str:
    """Return all of it as one clause, ``left out: …``; empty where nothing was left out."""
    groups: dict[str, list[str]] = {}
    for item in _steps(left_out):
        groups.setdefault(item.reason, []).append(_who(item))
    told = "; ".join(f"{_listed(names)}: {safe_text(reason)}" for reason, names in groups.items())
    return f"left out: {told}" if told else ""


def left_out_lines(left_out: Sequence[LeftOut], *, whole: bool = True) -> tuple[str, ...]:
    """Return a line for each step.

    Args:
        left_out: What was left out.
        whole: Whether all is told that is known of why; else the reason in a few words.
    """
    steps = _steps(left_out)
    lines = [
        f"{_who(item)}: {safe_text(item.why if whole else item.reason)} ({item.kind})"
        for item in steps[:_TOLD]
    ]
    if len(steps) > _TOLD:
        lines.append(f"… and {len(steps) - _TOLD:,} more")
    return tuple(lines)


def _steps(left_out: Sequence[LeftOut]) -> list[LeftOut]:
    """Return the steps without the branches that stand for several of them."""
    branches = {item.path.rpartition("/")[0] for item in left_out if item.branch}
    return [item for item in left_out if item.path not in branches]


def _who(item: LeftOut) -> str:
    return safe_text(item.name if item.device is None else f"{item.device} ({item.name})")


def _listed(names: Sequence[str]) -> str:
    if len(names) > _NAMED:
        return f"{', '.join(names[:_NAMED])} and {len(names) - _NAMED:,} more"
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
