"""What a resume will do, told compactly: single leaves, or groups where there are many."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from taskgrove.cli.terminal import Terminal
from taskgrove.view.terminal_text import safe_text

if TYPE_CHECKING:
    from taskgrove.recovery.resume_plan import PlannedLeaf, ResumePlan

#: Up to this many leaves of one action are told one by one.
TOLD_LEAVES: Final = 20
#: How many groups of one action are told, and how many leaves of a group are named.
_TOLD_GROUPS: Final = 10
_NAMED: Final = 3

_STYLES: Final = {"reuse": "dim", "redo": "bold", "skip": "yellow"}
#: What differs between leaves that were reused for the same reason.
_MOMENT: Final = re.compile(r" at \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC$")


def say_plan(terminal: Terminal, plan: ResumePlan) -> None:
    """Say what is reused, redone and skipped, with each leaf and why.

    Args:
        terminal: Where it is said.
        plan: The plan.
    """
    from taskgrove.recovery.resume_plan import PlannedLeaf  # noqa: PLC0415 - an extra

    terminal.say(f"Resume of run {safe_text(plan.run_id)}: {plan.line}")
    for action in ("redo", "reuse", "skip"):
        for text in lines_of(plan.of(action)):
            terminal.say(f"  {action:<6} {safe_text(text)}", _STYLES[action])
    doubts = [
        PlannedLeaf(leaf.path, leaf.action, leaf.doubt) for leaf in plan.of("redo") if leaf.doubt
    ]
    if doubts:
        terminal.say("Look before you go on; these may be done twice:", "bold yellow")
        for text in lines_of(doubts):
            terminal.say(f"  {safe_text(text)}", "yellow")


def lines_of(leaves: Iterable[PlannedLeaf]) -> list[str]:
    """Return leaves of one action as lines; many of them are put together by their reason."""
    found = list(leaves)
    if len(found) <= TOLD_LEAVES:
        return [f"{leaf.path}: {leaf.why}" for leaf in found]
    groups: dict[tuple[str, str], list[str]] = {}
    for leaf in found:
        above, _, name = leaf.path.rpartition("/")
        groups.setdefault((above, _MOMENT.sub("", leaf.why)), []).append(name)
    lines = []
    for (above, why), names in list(groups.items())[:_TOLD_GROUPS]:
        if len(names) == 1:
            lines.append(f"{above}/{names[0]}: {why}")
            continue
        more = ", ..." if len(names) > _NAMED else ""
        lines.append(f"{above}: {len(names)} leaves ({', '.join(names[:_NAMED])}{more}): {why}")
    if len(groups) > _TOLD_GROUPS:
        rest = sum(len(names) for names in list(groups.values())[_TOLD_GROUPS:])
        lines.append(f"and {rest} more leaves")
    return lines
