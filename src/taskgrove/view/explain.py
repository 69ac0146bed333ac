"""The words of every explanation: one module for the terminal, the page and the notebook.

Everything is taken from an outcome, and from the view of its run where there is one;
nothing is guessed. The texts of devices in it are not escaped yet: each surface does
that in its own way.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from taskgrove.control_model import ResultCode, TaskStatus
from taskgrove.events import LeftOut
from taskgrove.story.node_state import NodeState, state_of
from taskgrove.story.run_node import RunNode
from taskgrove.story.run_story import story_of_facts
from taskgrove.view.left_out import left_out_lines, left_out_words
from taskgrove.view.reasons.causes import find
from taskgrove.view.snapshot import RunView

#: A sum, such as ``PST success 14/16`` or ``quorum 0.8 of 10: 8 succeeded, 8 needed``; a device's
#: name in front of it is none.
_SUM: Final = re.compile(
    r"[A-Za-z][^/]*\b\d+/\d+|(?:all|any|quorum [\d.]+) of \d+: \d+ succeeded(?:, \d+ needed)?"
)
_CASUALTY: Final = re.compile(r"(?:^| - |: )skipped: ")
#: How many nodes one piece of advice names.
_NAMED: Final = 3
#: From how many devices on the same words are told once.
_ALIKE: Final = 4
#: How many lines a section has at most.
_TOLD: Final = 20


class Decided(Protocol):
    """The sum that decided an outcome."""

    @property
    def line(self) -> str:
        """The sum, as a line for people."""
        ...


class Outcome(Protocol):
    """What an explanation is made of: an AggregationOutcome."""

    @property
    def status(self) -> TaskStatus:
        """The final status."""
        ...

    @property
    def result_code(self) -> ResultCode:
        """The result code."""
        ...

    @property
    def message(self) -> str:
        """The summary line, then the causes (SPEC S3.8)."""
        ...

    @property
    def health_state(self) -> str | None:
        """``DEGRADED``, ``FAILED`` or None."""
        ...

    @property
    def decision(self) -> Decided | None:
        """The sum that decided, or None."""
        ...

    @property
    def left_out(self) -> tuple[LeftOut, ...]:
        """What was left out, and why."""
        ...


@dataclass(frozen=True, slots=True)
class Explanation:
    """An outcome in words.

    Attributes:
        state: The outcome in one word, as the tree shows it.
        headline: One line: ``COMPLETED, DEGRADED: PST success 14/16``.
        causes: What went wrong, one line each, the deepest cause that is known.
        casualties: Steps that were not run because of it.
        failed_devices: Devices that failed.
        left_out: What was left out and why, one line each.
        decision: The sum that decided, as a line, or None.
        decisions: The sums that decided, from the root down to where they began.
        advice: What to do next, one sentence each.
    """

    state: NodeState
    headline: str
    causes: tuple[str, ...] = ()
    casualties: tuple[str, ...] = ()
    failed_devices: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    decision: str | None = None
    decisions: tuple[str, ...] = ()
    advice: tuple[str, ...] = ()

    def sections(self) -> list[tuple[str, tuple[str, ...]]]:
        """Return the parts below the headline that have something to say, with their titles."""
        parts = [
            ("Causes", grouped(self.causes)),
            ("Not run because of it", _at_most(self.casualties)),
            ("Failed devices", _at_most(self.failed_devices)),
            ("Left out", self.left_out),
            ("Decided by", _at_most(self.decisions)),
            ("What to do next", self.advice),
        ]
        return [(title, lines) for title, lines in parts if lines]

    def lines(self) -> list[str]:
        """Return everything as lines of text."""
        lines = [self.headline]
        for title, items in self.sections():
            lines.append(f"{title}:")
            lines.extend(f"  - {item}" for item in items)
        return lines


def explain(
    outcome: Outcome, view: RunView | None = None, *, failed_devices: Iterable[str] = ()
) -> Explanation:
    """Put an outcome into words.

    Args:
        outcome: The outcome of a run or of one node.
        view: The view of the run, for the failed devices and the advice.
        failed_devices: The failed devices, where the caller knows them better.
    """
    root = None if view is None else view.root
    state = state_of(outcome.status, outcome.result_code, outcome.health_state)
    summary, lines = split_message(outcome.message)
    casualties = tuple(line for line in lines if _CASUALTY.search(line))
    causes = tuple(line for line in lines if line not in casualties)
    if view is not None and len(causes) > 1:
        causes = _first_first(causes, view)
    decision = None if outcome.decision is None else outcome.decision.line
    if state == "completed":
        decision = None
    failed = tuple(failed_devices) or (() if root is None else root.failed_devices)
    return Explanation(
        state=state,
        headline=headline(outcome, state, summary, causes, decision),
        causes=causes,
        casualties=casualties,
        failed_devices=failed,
        left_out=left_out_lines(outcome.left_out, whole=False),  # causes tell the rest
        decision=decision,
        decisions=_decisions(decision, view),
        advice=() if view is None else tuple(advice(view, state)),
    )


def _first_first(causes: tuple[str, ...], view: RunView) -> tuple[str, ...]:
    """Return the causes with that of the leaf that failed first before the others.

    So that a headline names the same cause as :func:`taskgrove.view.why.why`.
    """
    failed = find(story_of_facts(view, run_id=view.run_id or "", now_ns=0)).failed
    if not failed:
        return causes
    node = failed[0].node
    told = node.message.strip()
    own = (told, f"{node.name} - {told}")
    for cause in causes:
        # One line may stand for several leaves: it counts them, and names them at its end.
        if cause in own or any(f"\u00d7 {line} (" in cause for line in own):
            # Sums stay in front of what they count.
            return tuple(sorted(causes, key=lambda other: (not _is_sum(other), other != cause)))
    return causes


def _is_sum(cause: str) -> bool:
    return _SUM.fullmatch(cause.rpartition(" - ")[2].rstrip(". ")) is not None


def split_message(message: str) -> tuple[str, list[str]]:
    """Return the summary line of a message (may be empty) and its cause lines."""
    summary, found, block = message.partition("Causes:")
    if not found:
        first, _, rest = message.strip().partition("\n")
        return first, [_without_bullet(line) for line in rest.splitlines() if line.strip()]
    return summary.strip(), [_without_bullet(line) for line in block.splitlines() if line.strip()]


def headline(
    outcome: Outcome,
    state: NodeState,
    summary: str,
    causes: Sequence[str],
    decision: str | None,
) -> str:
    """Return the outcome in one line: its status, what came of it, why, and what is not in it."""
    told = _headline(outcome, state, summary, causes, decision)
    missing = left_out_words(outcome.left_out)
    return f"{told}; {missing}" if missing else told


def _headline(
    outcome: Outcome,
    state: NodeState,
    summary: str,
    causes: Sequence[str],
    decision: str | None,
) -> str:
    words = outcome.status.name
    if state == "completed":
        return f"{words}, OK"
    if state == "degraded":
        return f"{words}, DEGRADED: {_sum_of(summary, causes) or decision or summary}".rstrip(": ")
    if outcome.status is TaskStatus.COMPLETED:
        words = f"{words}, {outcome.result_code.name}"
    # A sum says how many failed; the first cause that is none says what did.
    reason = next((line for line in causes if not _is_sum(line)), causes[0] if causes else summary)
    more = f" (and {len(causes) - 1} more)" if len(causes) > 1 else ""
    return f"{words}: {reason}{more}" if reason else words


def advice(view: RunView, state: NodeState) -> list[str]:
    """Return what to do next, most urgent first; empty when all is well."""
    leaves = [node for node in view.nodes.values() if view.is_leaf(node)]
    told: list[str] = []
    abandoned = [node for node in leaves if "abandoned" in node.abort_ladder]
    if abandoned:
        told.append(
            f"{_names(abandoned)} did not stop when asked and may still be running: "
            "see to it before the next command."
        )
    late = [node for node in leaves if any(note.topic == "timeout" for note in node.notes)]
    if late:
        told.append(
            f"{_names(late)} ran out of time: look at why, or raise its timeout in the map."
        )
    broken = [node for node in leaves if node.state in ("failed", "not found") and node not in late]
    devices = [node for node in broken if node.shown_devices]
    if devices:
        told.append(
            f"Look at {_names(devices)}: the log of a device has more than its cause, and "
            "'taskgrove doctor MAP' tells whether it answers."
        )
    steps = [node for node in broken if not node.shown_devices]
    if steps:
        one = len(steps) == 1
        what, own = (
            ("step", "its cause is in its") if one else ("steps", "their causes are in their")
        )
        told.append(f"Look at the {what} {_names(steps)}: {own} own words.")
    refused = [node for node in leaves if node.state == "rejected"]
    if refused:
        told.append(f"{_names(refused)} refused: mend what its cause names, then run it again.")
    if any(node.skipped for node in leaves):
        told.append(
            "Steps were left out after the first failure: mend that, then run it all again."
        )
    if not told and state == "aborted":
        asked = any("asked" in node.abort_ladder for node in view.nodes.values())
        reason = "It was stopped on request; run" if asked else "Not all of it was run: run"
        told.append(f"{reason} the command again when ready.")
    return told


def grouped(causes: Sequence[str]) -> tuple[str, ...]:
    """Return causes for people: what many devices or steps say alike is one line."""
    spoken = [_spoken(cause) for cause in causes]
    speakers: dict[tuple[str, str], list[str]] = {}
    for kind, words, name in spoken:
        speakers.setdefault((kind, words), []).append(name)
    told: dict[str, None] = {}
    for cause, (kind, words, _) in zip(causes, spoken, strict=True):
        names = speakers[kind, words]
        alike = kind and len(names) >= _ALIKE
        told[f"{words}: {len(names)} {kind} ({_listed(names)})" if alike else cause] = None
    return _at_most(tuple(told))


def _spoken(cause: str) -> tuple[str, str, str]:
    """Return what kind of node a cause is of, what it says and the node's name; empty: of none."""
    device, colon, words = cause.partition(": ")
    if colon and device.count("/") >= 2 and " " not in device:
        return "devices", words, device
    step, dash, words = cause.partition(" - ")
    if dash and not _is_sum(cause):
        return "steps", words, step
    return "", cause, ""


def _at_most(lines: tuple[str, ...]) -> tuple[str, ...]:
    if len(lines) <= _TOLD:
        return lines
    return (*lines[:_TOLD], f"… and {len(lines) - _TOLD:,} more")


def _names(nodes: Sequence[RunNode]) -> str:
    return _listed([node.shown_devices[0] if node.shown_devices else node.path for node in nodes])


def _listed(names: Sequence[str]) -> str:
    if len(names) > _NAMED:
        return f"{', '.join(names[:_NAMED])} and {len(names) - _NAMED:,} more"
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _sum_of(summary: str, causes: Sequence[str]) -> str | None:
    for line in (summary.rpartition(": ")[2], *causes):
        if _is_sum(line):
            return line.rpartition(" - ")[2].rstrip(". ")
    return None


def _decisions(own: str | None, view: RunView | None) -> tuple[str, ...]:
    """Return the outcome's own sum, then those of the composites below that explain it."""
    if own is None:
        return ()
    root = None if view is None else view.root
    if view is None or root is None:
        return (own,)
    below = [
        f"{node.name}: {node.decision}"
        for node in view.walk()
        if node is not root and node.decision and node.is_problem and not node.skipped
    ]
    return (f"{root.name}: {own}" if below else own, *below)


def _without_bullet(line: str) -> str:
    return line.strip().removeprefix("- ").strip()
