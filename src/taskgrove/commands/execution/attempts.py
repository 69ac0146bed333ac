"""What several attempts at one leaf amount to: the first one that did something is told.

A later attempt may have found nothing to talk to any more. That it was not sent is no word
about the leaf, which an earlier attempt has begun.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from taskgrove.commands.aggregation.base import parse_result
from taskgrove.control_model import PROBLEM_CODES, ResultCode, TaskStatus
from taskgrove.events import Cause
from taskgrove.events.cause import NOTHING_RAN


class Attempt(NamedTuple):
    """How one attempt ended.

    Attributes:
        number: Its number, from 1.
        status: Its final status.
        result: Its result, as its runner gave it.
        fields: What else came with its end.
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
        # It was stopped, and that counts; what had failed before is not hidden by it.
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
