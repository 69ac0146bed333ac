"""How attempts at a leaf end, and which end is told of a leaf after several attempts.

The end of the first attempt that did something is told: a later attempt may have found nothing
to talk to any more, which says nothing about the leaf.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from taskgrove.commands.aggregation.base import AggregationOutcome, parse_result
from taskgrove.commands.aggregation.outside_results import outside_result
from taskgrove.commands.aggregation.plain_values import describe as describe_value
from taskgrove.control_model import IS_FINAL, PROBLEM_CODES, ResultCode, TaskStatus, as_task_status
from taskgrove.events import Cause, NoteDetail
from taskgrove.events.cause import NOTHING_RAN, CauseKind
from taskgrove.events.steering_request import SteeringRequest

#: The kinds of causes that leave open whether the work goes on outside.
_MAY_GO_ON: Final[frozenset[CauseKind]] = frozenset(
    ("timed_out", "silent", "fate_unknown", "forgotten", "abandoned", "lost", "promised")
)


#: How an attempt that did not go well ended, in words; the code of a completed one is a problem.
_ENDED: Final = {
    TaskStatus.COMPLETED: "failed",
    TaskStatus.FAILED: "failed",
    TaskStatus.REJECTED: "was rejected",
    TaskStatus.ABORTED: "was aborted",
}


class Attempt(NamedTuple):
    """How one attempt ended.

    Attributes:
        number: Its number, from 1.
        status: Its final status.
        result: Its result, as its runner gave it.
        fields: Further fields of its end.
    """

    number: int
    status: TaskStatus
    result: Any
    fields: dict[str, Any]

    @property
    def went_well(self) -> bool:
        """True where it completed without a problem."""
        code = parse_result(self.result).code
        return self.status is TaskStatus.COMPLETED and code not in PROBLEM_CODES

    @property
    def has_begun(self) -> bool:
        """False when it provably did nothing."""
        cause = self.fields.get("cause")
        idle = isinstance(cause, Cause) and cause.kind in NOTHING_RAN
        return self.status is TaskStatus.COMPLETED or not idle

    @property
    def words(self) -> str:
        """Why it ended so."""
        return parse_result(self.result).message

    @property
    def cause(self) -> Cause:
        """Why it ended so, as data."""
        cause = self.fields.get("cause")
        if not isinstance(cause, Cause):
            cause = Cause(kind="reported", said=self.words)
        return msgspec.structs.replace(cause, attempt=self.number)

    def note(
        self,
        topic: str,
        last: int,
        *,
        request: SteeringRequest | None = None,
        data: Mapping[str, str] | None = None,
    ) -> tuple[NoteDetail, str]:
        """Return the note on an attempt that is not the last word on its leaf.

        Args:
            topic: The topic of the note.
            last: The number of the last attempt that comes by itself.
            request: The request of an operator that led to it, or None.
            data: Small facts that belong to it.
        """
        of = f" of {last}" if last > 1 and last >= self.number else ""
        text = f"attempt {self.number}{of} {_ENDED[self.status]}: {self.words}"
        facts = {**({"words": self.words} if self.words else {}), **(data or {})}
        return NoteDetail(topic=topic, cause=self.cause, data=facts, request=request), text


def proves_end(cause: Cause | None, *, may_retry: bool) -> bool:
    """Return whether an end proves that the work has ended, or never began.

    Args:
        cause: The cause of the end; None: it ended well.
        may_retry: Whether the runner has the proof.
    """
    return may_retry or cause is None or cause.kind not in _MAY_GO_ON


def late_note(status: TaskStatus, result: Any, cause: Cause | None) -> tuple[NoteDetail, str]:
    """Return the note on an end that came after the end of its attempt was decided."""
    message = "" if result is None else parse_result(result).message
    text = f"ended {status.name} after its end was decided{f': {message}' if message else ''}"
    return NoteDetail(topic="late", data={"status": status.name}, cause=cause), text


def read_end(status: Any, result: Any, cause: Any) -> tuple[TaskStatus, Any, Cause | None, Any]:
    """Return the end that a runner reports, in our own types.

    Returns:
        Its status, its result, its cause, and the result as it was given, which may say more of
        the cause.
    """
    known = as_task_status(status)
    if known is None or not IS_FINAL[known]:
        known, told = TaskStatus.FAILED, describe_value(status)
        result = (ResultCode.FAILED, f"its runner ended it with {told}, which is no end")
        cause = Cause(kind="unreadable", said=told)
    given = result
    if type(result) is AggregationOutcome:  # of a tree of its own: its causes are ours
        given = result = (result.result, result.message)
    else:
        result = outside_result(result)
    # Any other cause comes from a method's own call of its task_callback.
    return known, result, cause if type(cause) is Cause else None, given


class _Plain(msgspec.Struct, array_like=True, omit_defaults=True):
    """An attempt without foreign values."""

    number: int
    status: TaskStatus
    code: ResultCode
    message: str
    cause: Cause | None = None


_PACKER: Final = msgspec.msgpack.Encoder()
_UNPACKER: Final = msgspec.msgpack.Decoder(list[_Plain])


def packed(attempts: Sequence[Attempt]) -> bytes | None:
    """Return attempts in a form that takes little room; None: they hold foreign values."""
    plain: list[_Plain] = []
    for number, status, result, fields in attempts:
        others = (value for name, value in fields.items() if name != "cause")
        if type(result) is not tuple or tuple(map(type, result)) != (ResultCode, str):
            return None
        if any(value is not None for value in others):
            return None
        plain.append(_Plain(number, status, result[0], result[1], fields.get("cause")))
    try:
        small = _PACKER.encode(plain)
        _UNPACKER.decode(small)
    except (msgspec.MsgspecError, ValueError, TypeError, OverflowError):
        return None  # a runner of others may put anything into a cause
    return small


def unpacked(small: bytes) -> tuple[Attempt, ...]:
    """Return the attempts that were packed."""
    return tuple(
        Attempt(it.number, it.status, (it.code, it.message), {"cause": it.cause})
        for it in _UNPACKER.decode(small)
    )


def is_problem(result: Any) -> bool:
    """Return True for an understood result whose code is that of a problem."""
    return type(result) is tuple and len(result) == 2 and result[0] in PROBLEM_CODES


def told_of(earlier: Sequence[Attempt], last: Attempt) -> Attempt:
    """Return the end that is told of a leaf after its last attempt.

    Args:
        earlier: The attempts before, in order; each of them has failed.
        last: The last one.
    """
    if last.went_well:
        return last
    first = next((attempt for attempt in earlier if attempt.has_begun), None)
    if first is None:
        return last
    since = last.number
    for attempt in reversed(earlier):
        if attempt.number == first.number or attempt.words != last.words:
            break
        since = attempt.number
    which = f"attempt {since}" if since == last.number else f"attempts {since} to {last.number}"
    if last.status is TaskStatus.ABORTED:
        # The stop counts, and does not hide the failure before it.
        text = f"{last.words} ({which}); attempt {first.number}: {first.words}"
        return last._replace(result=(parse_result(last.result).code or ResultCode.OK, text))
    alike = first.words == last.words
    text = (
        first.words
        if alike
        else f"{first.words} (attempt {first.number} of {last.number}); {which}: {last.words}"
    )
    base = last if last.has_begun else first
    code = parse_result(base.result).code or ResultCode.FAILED
    return base._replace(result=(code, text), fields={**base.fields, "cause": first.cause})
