"""Nodes of a live run that wait for an operator, a delay or the end of a pause; the pause itself.

Only notes tell of such a wait. They are the same whether they come from events or from the rows of
a record. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, Literal, NamedTuple, TypeAlias, get_args

from taskgrove.events import SteeringRequest
from taskgrove.events.device_holder import DeviceHolder, HolderState
from taskgrove.story.node_note import NodeNote

#: ``held``: the last attempt failed, and a decision is awaited; ``undecided``: the same, once all
#: other steps of the group have ended; ``delayed``: the next attempt begins later; ``parked``: the
#: turn of the node has come, and a pause keeps it from starting.
Waiting: TypeAlias = Literal["held", "undecided", "delayed", "parked"]

_WAITS: Final[dict[str, Waiting]] = {
    "held": "held",
    "undecided": "undecided",
    "delayed": "delayed",
    "parked": "parked",
    "hold-expired": "held",  # the end follows at once
}
#: Topics of the notes after which a node may be in another state.
TURNING_TOPICS: Final = frozenset((*_WAITS, "retry"))
#: Topics of the notes after which time passes that a person takes, and not the work.
PERSON_TOPICS: Final = frozenset(("held", "parked", "paused"))
#: The fact of a note (UTC, nanoseconds since the epoch): when the wait ends by itself.
_UNTIL: Final = "until_ns"


class NodeWait(NamedTuple):
    """A wait of a node that has not ended.

    Attributes:
        how: The kind of the wait.
        since_ns: Since when, UTC, nanoseconds since the epoch.
        failure: The note that tells of the failure before it, with its cause; None: it has not
            begun.
        until_ns: When it ends by itself: the failure of a held leaf will stand then, and the next
            attempt of a delayed one begins. None: it does not.
    """

    how: Waiting
    since_ns: int
    failure: NodeNote | None = None
    until_ns: int | None = None

    @property
    def is_open(self) -> bool:
        """Whether an operator may decide on the failure."""
        return self.failure is not None


class RunPause(NamedTuple):
    """The pause of a run.

    Attributes:
        since_ns: Since when, UTC, nanoseconds since the epoch.
        request: The request that asked for it, or None.
    """

    since_ns: int
    request: SteeringRequest | None = None


def wait_in(
    notes: Iterable[NodeNote], attempt: int, attempt_began_ns: int | None, *, has_begun: bool
) -> NodeWait | None:
    """Return the wait that the notes on a node tell of; None: it does not wait.

    Args:
        notes: The notes, oldest first, on a node that has not ended.
        attempt: The last attempt that anything was heard of, from 1.
        attempt_began_ns: When that attempt began, where this is known.
        has_begun: Whether any attempt has begun.
    """
    failure: NodeNote | None = None
    last: NodeNote | None = None
    for note in notes:
        if note.topic not in TURNING_TOPICS:
            continue
        last = note if note.topic in _WAITS else None
        if note.topic != "parked" and (note.cause is not None or failure is None):
            failure = note
    if last is None:
        return None
    over = has_begun if failure is None else _began_after(failure, attempt, attempt_began_ns)
    until = last.data.get(_UNTIL, "")
    until_ns = int(until) if until.isascii() and until.isdecimal() else None
    return None if over else NodeWait(_WAITS[last.topic], last.wall_ns, failure, until_ns)


def is_about_to_retry(
    notes: Iterable[NodeNote], attempt: int, attempt_began_ns: int | None
) -> bool:
    """Return whether notes tell of a further attempt of which nothing was heard yet.

    Args:
        notes: As :func:`wait_in`; so are the other arguments.
        attempt: The last attempt.
        attempt_began_ns: When it began.
    """
    turns = [note for note in notes if note.topic in TURNING_TOPICS]
    if not turns or turns[-1].topic != "retry":
        return False
    return not _began_after(turns[-1], attempt, attempt_began_ns)


def _began_after(failure: NodeNote, attempt: int, attempt_began_ns: int | None) -> bool:
    """Return whether an attempt has begun after the one that failed."""
    number = None if failure.cause is None else failure.cause.attempt
    return (number is not None and attempt > number) or (
        attempt_began_ns is not None and attempt_began_ns > failure.wall_ns
    )


def pause_ahead_in(notes: Sequence[NodeNote]) -> NodeNote | None:
    """Return the note that the run will pause when a node is about to start, or None.

    Args:
        notes: The notes on a node that has not begun.
    """
    return next((note for note in reversed(notes) if note.topic == "pause-before"), None)


def device_wait_in(notes: Sequence[NodeNote]) -> DeviceHolder | None:
    """Return the run that a live run waits for, by the notes on its root; None: it does not."""
    for note in reversed(notes):
        if note.topic in ("devices-held", "abort-asked"):
            return None
        if note.topic == "waits":
            data = note.data
            states: tuple[HolderState, ...] = get_args(HolderState)
            state = next((it for it in states if it == data.get("state")), states[0])
            since = data.get("since_ns", "")
            since_ns = int(since) if since.isascii() and since.isdecimal() else 0
            device, run_id, command = (data.get(it, "") for it in ("device", "run", "command"))
            return DeviceHolder(device, run_id, command, since_ns, state)
    return None


def pause_in(notes: Sequence[NodeNote]) -> RunPause | None:
    """Return the pause that the notes on the root of a live run tell of, or None."""
    for note in reversed(notes):
        if note.topic in ("continued", "abort-asked"):
            return None
        if note.topic == "paused":
            return RunPause(note.wall_ns, note.request)
    return None
