"""The plan of a resume in words: single leaves, or groups where there are many."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from taskgrove.cli.surroundings import shown_rule
from taskgrove.cli.terminal import Terminal
from taskgrove.clock import SYSTEM_CLOCK
from taskgrove.recovery.finding_lost import moment_text
from taskgrove.recovery.resume_plan import PlannedLeaf, ResumePlan
from taskgrove.view.terminal_text import safe_text
from taskgrove.view.why.failed_leaf import CauseReader
from taskgrove.view.why.naming import device_of

#: Up to this many leaves of one action are told one by one.
TOLD_LEAVES: Final = 20
#: How many groups of one action are told, and how many leaves of a group are named.
_TOLD_GROUPS: Final = 10
_NAMED: Final = 3

_STYLES: Final = {"reuse": "dim", "redo": "bold", "skip": "yellow"}


class _Told(NamedTuple):
    """The words about one leaf; device and moment may differ between the leaves of a group."""

    path: str
    why: str
    device: str = ""
    moment: str = ""


def say_plan(terminal: Terminal, plan: ResumePlan) -> None:
    """Print the leaves that are reused, redone and skipped, with the reasons."""
    terminal.say(f"Resume of run {safe_text(plan.run_id)}: {plan.line}")
    words = _Words()
    for action in ("redo", "reuse", "skip"):
        told = [words.of(leaf) for leaf in plan.of(action)]
        for text in lines_of(told):
            terminal.say(f"  {action:<6} {safe_text(text)}", _STYLES[action])
    doubts = [_Told(leaf.path, leaf.doubt) for leaf in plan.of("redo") if leaf.doubt]
    if doubts:
        terminal.say("Check before you continue: these leaves may run twice:", "bold yellow")
        for text in lines_of(doubts):
            terminal.say(f"  {safe_text(text)}", "yellow")


def plan_facts(plan: ResumePlan) -> dict[str, Any]:
    """Return a plan as plain data, and a digest that tells it from other plans of the run."""
    words, rule = _Words(), shown_rule()
    leaves = []
    for leaf in plan.leaves:
        told = words.of(leaf)
        why = rule.said(safe_text(f"{told.device}{told.why}{told.moment}"))
        leaves.append({"path": leaf.path, "action": leaf.action, "why": why, "doubt": leaf.doubt})
    chosen = json.dumps([plan.run_id, *([it.path, it.action] for it in plan.leaves)])
    digest = hashlib.sha256(chosen.encode()).hexdigest()
    return {"run_id": plan.run_id, "line": plan.line, "leaves": leaves, "digest": digest}


class _Words:
    """Says why a leaf is in a plan; how it ended is told as everywhere."""

    def __init__(self) -> None:
        self._reader = CauseReader()
        self._now_ns = SYSTEM_CLOCK.wall_ns()

    def of(self, leaf: PlannedLeaf) -> _Told:
        ended = leaf.ended
        if ended is None:
            return _Told(leaf.path, leaf.why)
        if leaf.action == "redo":
            did = self._reader.read(ended).deed(self._now_ns)
            return _Told(leaf.path, did, device=f"{device_of(ended) or ''} ".lstrip())

        moment = "" if ended.ended_ns is None else f" at {moment_text(ended.ended_ns)}"
        return _Told(leaf.path, leaf.why, moment=moment)


def lines_of(leaves: Sequence[_Told]) -> list[str]:
    """Return leaves of one action as lines; many of them are put together by their reason."""
    if len(leaves) <= TOLD_LEAVES:
        return [f"{leaf.path}: {leaf.device}{leaf.why}{leaf.moment}" for leaf in leaves]
    groups: dict[tuple[str, str], list[str]] = {}
    for leaf in leaves:
        above, _, name = leaf.path.rpartition("/")
        groups.setdefault((above, leaf.why), []).append(name)
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
