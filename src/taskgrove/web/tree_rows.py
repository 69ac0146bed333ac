"""One node of a run as the page gets it: plain data that fits a line of the tree. Pure."""

from __future__ import annotations

from typing import Final

import msgspec

from taskgrove.story.node_state import NodeState
from taskgrove.story.run_node import RunNode
from taskgrove.view.phrases import step_words
from taskgrove.view.states import LOOKS

#: So much of a message is sent with a row, in characters; the node itself has all of it.
MESSAGE_LIMIT: Final = 300


class TreeRow(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line of the tree.

    Instants are milliseconds since the epoch, UTC; None where it is not known.

    Attributes:
        path: The node's path.
        number: Its place in the order of composition, from 0.
        state: Its state in one word.
        is_leaf: Whether it is a leaf.
        is_open: Whether a decision of a person on it is awaited.
        is_finally: Whether it is the clean-up of a sequence.
        is_sequence: Whether its children run one after the other.
        status: The name of its status; empty before anything was heard of it.
        progress: Percent done, 0..100.
        attempt: The last attempt, from 1.
        retried_ms: When further attempts were decided on.
        queued_ms: When it was queued.
        started_ms: When it was first in progress.
        ended_ms: When it ended.
        last_ms: When it was last heard of.
        waits_since_ms: Since when it waits for a decision, a delay or the end of a pause.
        waits_until_ms: When that wait ends by itself.
        silent_since_ms: Since when its device does not answer; None: it does.
        command: Its command or method.
        devices: Its devices, at most three.
        device_count: How many devices it has.
        message: The beginning of its message; of a step that waits for a decision, the failure's.
        cause: The kind of its cause.
        rule: The sum by which its outcome was decided.
    """

    path: str
    number: int
    state: NodeState
    is_leaf: bool = False
    is_open: bool = False
    is_finally: bool = False
    is_sequence: bool = False
    status: str = ""
    progress: int = 0
    attempt: int = 1
    retried_ms: tuple[int, ...] = ()
    queued_ms: int | None = None
    started_ms: int | None = None
    ended_ms: int | None = None
    last_ms: int | None = None
    waits_since_ms: int | None = None
    waits_until_ms: int | None = None
    silent_since_ms: int | None = None
    command: str = ""
    devices: tuple[str, ...] = ()
    device_count: int = 0
    message: str = ""
    cause: str = ""
    rule: str = ""


#: The states in which a decision is open.
_OPEN: Final = frozenset(("held", "undecided", "delayed"))


def row_of_node(node: RunNode, number: int) -> TreeRow:
    """Return a node as a row.

    Args:
        node: The node.
        number: Its place in the order of composition.
    """
    composed, finished, devices = node.composed, node.finished, node.shown_devices
    wait = node.wait
    state = node.state
    failure = None if wait is None else wait.failure
    cause = None if finished is None else finished.cause
    said = node.message if failure is None else failure.text
    return TreeRow(
        path=node.path,
        number=number,
        state=state,
        is_leaf=node.is_leaf,
        is_open=state in _OPEN,
        is_finally=composed is not None and composed.is_finally,
        is_sequence=composed is not None and composed.execution == "SEQUENTIAL",
        status="" if node.status is None else node.status.name,
        progress=node.progress,
        attempt=node.attempt,
        retried_ms=tuple(it.wall_ns // 1_000_000 for it in node.notes if it.topic == "retry"),
        queued_ms=_ms(node.queued_ns),
        started_ms=_ms(node.started_ns),
        ended_ms=_ms(node.ended_ns),
        last_ms=_ms(node.last_ns),
        waits_since_ms=None if wait is None else _ms(wait.since_ns),
        waits_until_ms=None if wait is None else _ms(wait.until_ns),
        silent_since_ms=_ms(node.silent_since_ns) if node.notes else None,
        command=step_words(composed),
        devices=devices[:3],
        device_count=len(devices),
        message=said[:MESSAGE_LIMIT],
        cause="" if cause is None else str(cause.kind),
        rule=(node.decision or "")[:MESSAGE_LIMIT],
    )


def looks() -> dict[str, dict[str, str]]:
    """Return the sign and the tone of each state."""
    return {state: {"mark": look.mark, "tone": look.tone} for state, look in LOOKS.items()}


def _ms(instant_ns: int | None) -> int | None:
    return None if instant_ns is None else instant_ns // 1_000_000
