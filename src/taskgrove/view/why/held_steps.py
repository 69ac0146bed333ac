"""Steps of a living run that failed and wait: for a decision, their group, or the next attempt.

Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final, NamedTuple

import msgspec

from taskgrove.control_model import TaskStatus
from taskgrove.events import FinishedDetail
from taskgrove.story.node_note import NodeNote
from taskgrove.story.node_wait import NodeWait, Waiting
from taskgrove.story.run_node import RunNode
from taskgrove.view.phrases import (
    ago_text,
    clock_text,
    counted,
    listed,
    plain,
)
from taskgrove.view.why.failed_leaf import CauseReader, FailedLeaf
from taskgrove.view.why.naming import below_root, device_of, name_of, who

#: The order in which the waits are told.
_ORDER: Final[tuple[Waiting, ...]] = ("held", "undecided", "delayed", "parked")


class WaitingLeaf(NamedTuple):
    """A leaf whose last attempt failed, and that has not ended.

    Attributes:
        wait: Its wait.
        failed: The leaf as it would end if the failure stood.
    """

    wait: NodeWait
    failed: FailedLeaf


class HeldSteps(msgspec.Struct, frozen=True):
    """Steps that wait in the same way after failures of the same cause.

    Attributes:
        how: ``held``: for a decision; ``undecided``: for the ends of their group; ``delayed``: for
            their next attempt; ``parked``: for the end of the pause, to be tried again.
        kind: The kind of the cause (the values of ``CauseKind``).
        cause: The cause, as the first of them told it.
        paths: The steps, the first to wait first.
        devices: Their devices, each once.
        attempt: The attempt of the first that failed, from 1.
        since_ns: Since when the first waits, UTC, nanoseconds since the epoch.
        until_ns: When the first wait ends by itself, or None.
    """

    how: Waiting
    kind: str
    cause: str
    paths: tuple[str, ...]
    devices: tuple[str, ...]
    attempt: int
    since_ns: int
    until_ns: int | None = None


def waiting_leaves(
    waiting: Iterable[tuple[RunNode, NodeWait]],
) -> list[list[WaitingLeaf]]:
    """Return the leaves on which a decision is open, by wait and cause; the first to wait first."""
    reader = CauseReader()
    items = [
        WaitingLeaf(wait, reader.read(_as_failed(node, wait.failure)))
        for node, wait in waiting
        if wait.failure is not None
    ]
    items.sort(key=lambda item: (_ORDER.index(item.wait.how), item.wait.since_ns))
    groups: dict[tuple[object, ...], list[WaitingLeaf]] = {}
    for item in items:
        groups.setdefault((item.wait.how, item.failed.key), []).append(item)
    return list(groups.values())


def told_group(group: Sequence[WaitingLeaf]) -> HeldSteps:
    """Return a group as data."""
    first = group[0]
    cause = first.failed.cause
    devices = dict.fromkeys(filter(None, (device_of(item.failed.node) for item in group)))
    return HeldSteps(
        first.wait.how,
        cause.kind,
        plain(first.failed.told, 4096),
        tuple(item.failed.node.path for item in group),
        tuple(devices),
        cause.attempt or first.failed.node.attempt,
        first.wait.since_ns,
        first.wait.until_ns,
    )


def decision_words(groups: Sequence[Sequence[WaitingLeaf]], now_ns: int, room: int) -> str:
    """Return the decision that a run waits for: which step, why, and since when."""
    held = [group for group in groups if group[0].wait.how == "held"]
    first = held[0][0]
    node = first.failed.node
    facts = [f"held since {clock_text(first.wait.since_ns, now_ns)}"]
    facts.append(ago_text(first.wait.since_ns, now_ns))
    attempt = first.failed.cause.attempt or node.attempt
    if attempt > 1:
        facts.append(f"attempt {attempt}")
    if first.wait.until_ns is not None:
        facts.append(f"the failure stands at {clock_text(first.wait.until_ns, now_ns)}")
    did = first.failed.deed(now_ns, room)
    told = f"waits for a decision on {who(node, room)}, which {did} ({', '.join(facts)})"
    more = sum(map(len, held)) - 1
    return f"{told}, and on {counted(more, 'more step')}" if more else told


def waiting_clauses(
    groups: Sequence[Sequence[WaitingLeaf]],
    parked: Sequence[RunNode],
    now_ns: int,
    room: int,
    *,
    is_paused: bool,
) -> list[str]:
    """Return what else waits in a living run, besides the decisions."""
    told: list[str] = []
    for how in ("undecided", "delayed"):
        items = [item for group in groups if group[0].wait.how == how for item in group]
        names = [name_of(item.failed.node, room) for item in items]
        if not names:
            continue
        if how == "undecided":
            is_one = len(names) == 1
            told.append(
                f"{listed(names)} failed, and {'is' if is_one else 'are'} undecided until all other"
                f" steps of {'its' if is_one else 'their'} group have ended"
            )
        else:
            when = _at(items[0].wait, now_ns)
            begins = (
                f"is due{when}, and begins when the pause ends" if is_paused else f"begins{when}"
            )
            told.append(f"the next attempt of {listed(names)} {begins}")
    again = [item for group in groups if group[0].wait.how == "parked" for item in group]
    count = len(parked) + len(again)
    if count:
        names = [name_of(node, room) for node in [*parked, *(it.failed.node for it in again)]]
        told.append(f"the pause keeps {listed(names)} from starting")
    return told


def group_line(group: HeldSteps, now_ns: int) -> str:
    """Return a group as one line: its steps, the cause, since when, and what it waits for."""
    names = listed([below_root(path) for path in group.paths])
    count = f"{len(group.paths):,} steps, " if len(group.paths) > 1 else ""
    facts = [f"{count}{group.how} since {clock_text(group.since_ns, now_ns)}"]
    if group.attempt > 1:
        facts.append(f"attempt {group.attempt}")
    if group.until_ns is not None:
        at = clock_text(group.until_ns, now_ns)
        stands = group.how == "held"
        facts.append(f"the failure stands at {at}" if stands else f"next attempt at {at}")
    return f"{names}: {plain(group.cause)} ({', '.join(facts)})"


def _at(wait: NodeWait, now_ns: int) -> str:
    return "" if wait.until_ns is None else f" at {clock_text(wait.until_ns, now_ns)}"


def _as_failed(node: RunNode, failure: NodeNote) -> RunNode:
    """Return a leaf as it would end if its failure stood."""
    return replace(
        node,
        status=TaskStatus.FAILED,
        message=failure.words,
        finished=FinishedDetail(cause=failure.cause),
    )
