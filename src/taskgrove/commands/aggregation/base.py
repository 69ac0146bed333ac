"""The input and the output of an aggregation: SubtaskResult, AggregationOutcome, Decision.

Threads: an AggregationOutcome and a Decision are immutable. A SubtaskResult is a plain
record without a lock: its owner (a tracker) guards it. Parsing is done by
:func:`parse_result` and :func:`format_message`, which any thread may call, so that an
owner can parse before it takes its lock and then set the fields.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final, TypedDict, Unpack

import msgspec

from taskgrove.commands.aggregation.messages import format_message
from taskgrove.commands.aggregation.result_parsing import ParsedResult, parse_result, read_result
from taskgrove.control_model import ResultCode, TaskStatus, as_task_status
from taskgrove.events import LeftOut, RuleKind, SubtaskFacts

__all__ = [
    "DEGRADED",
    "FAILED",
    "AggregationOutcome",
    "CauseLine",
    "Decision",
    "ParsedResult",
    "SubtaskResult",
    "device_list",
    "format_message",
    "health_name",
    "parse_result",
    "read_result",
]

DEGRADED: Final = "DEGRADED"
FAILED: Final = "FAILED"

#: More devices than this in one list are ignored: no subtask involves as many.
_DEVICES_LIMIT: Final = 1_000_000


def device_list(value: Any) -> list[str] | None:
    """Return device names without duplicates, in stable order; None when there is no name.

    Args:
        value: An iterable of names; a plain string is one device. Other values are left out.
    """
    if value is None:
        return None
    try:
        if isinstance(value, str):
            return [str.__str__(value)] if value else []
        some = islice(value, _DEVICES_LIMIT)
        names = [str.__str__(item) for item in some if isinstance(item, str) and item]
    except BaseException:  # noqa: BLE001 - a report of a producer never raises
        return None
    return list(dict.fromkeys(names))


def health_name(value: Any) -> str | None:
    """Return ``DEGRADED`` or ``FAILED``, and None for every other health.

    Args:
        value: The name in any case, a HealthState, an equal integer or a foreign enum.
    """
    try:
        if isinstance(value, str):
            name = value.strip().upper().removeprefix("HEALTHSTATE.")
            return name if name in (DEGRADED, FAILED) else None
        if value is None or isinstance(value, bool):
            return None
        return {1: DEGRADED, 2: FAILED}.get(value)
    except BaseException:  # noqa: BLE001 - a report of a producer never raises
        return None


def _device_name(value: Any) -> str | None:
    # Asked of the type: an object may raise when it is asked for its class.
    return str.__str__(value) or None if issubclass(type(value), str) else None


class CauseLine(msgspec.Struct, frozen=True, gc=False):
    """One line of an outcome's causes, and the leaves that it stands for.

    Attributes:
        text: The cause, with its origin.
        count: How many leaves have it; 0 for a line that is no leaf's, such as a sum.
        leaves: The first of their names, as paths below the task.
    """

    text: str
    count: int = 0
    leaves: tuple[str, ...] = ()

    def below(self, name: str) -> CauseLine:
        """Return it as the parent of the task, of this name, tells it."""
        return msgspec.structs.replace(self, leaves=tuple(f"{name}/{leaf}" for leaf in self.leaves))

    def __str__(self) -> str:
        """The line for people: ``2 × x/y/z: queue is full (conf, scan)``."""
        if self.count < 2:
            return self.text
        more = self.count - len(self.leaves)
        names = ", ".join(self.leaves) + (f" and {more} more" if more else "")
        return f"{self.count} × {self.text} ({names})"  # noqa: RUF001 - a sign for people


class _More(TypedDict, total=False):
    """Further facts of a subtask, by keyword."""

    health_state: str | None
    severe: bool | None
    skipped: bool | None
    left_out: Iterable[LeftOut] | None
    begun: bool | None
    causes: Iterable[CauseLine] | None
    accepted: bool | None
    accepted_by: Iterable[str] | None


_READERS: Final[dict[str, Callable[[Any], Any]]] = {
    "health_state": health_name,
    "left_out": tuple,
    "causes": tuple,
    "accepted_by": tuple,
}


class SubtaskResult:
    """The facts of one subtask.

    Nothing that a producer sends raises: a status that is none is taken as not
    given, a result that cannot be understood has the code UNKNOWN and a message that describes it.

    Args:
        name: Name of the subtask, unique among its siblings.
        status: Its status; an equal integer, a foreign enum or a name will do.
        result: Its result, in any form that :func:`parse_result` takes; None means not given.
        device_name: The device it came from; it is put before the message, once.
        devices: Devices involved; duplicates are removed, the order stays.
        failed_devices: Devices that failed.
        operation: The operation it belongs to.
        obs_mode: The observation mode it belongs to.
        health_state: ``DEGRADED``, ``FAILED`` or None.
        severe: Whether a tracker below decided that its outcome is severe.
        skipped: Whether it is a casualty: not run because an earlier step failed.
        left_out: The steps that were left out below it, as its tracker tells them.
        begun: Whether its work has begun; None: IN_PROGRESS tells that it has.
        causes: Its causes as its tracker tells them, in place of those in its message.
        accepted: Whether a person accepted its failure, or one below it that has no other problem;
            it then ended COMPLETED and OK.
        accepted_by: The persons.

    Attributes:
        result_code: The code; None until a result was given, or until it COMPLETED
            without any, which is OK.
        message: The text of the result, with the device's name where it is known.
        progress: The reported percentage, 0..100.
        facts: The facts that its tracker tells with its progress; None: to be made.
    """

    __slots__ = (
        "accepted",
        "accepted_by",
        "begun",
        "causes",
        "device_name",
        "devices",
        "facts",
        "failed_devices",
        "health_state",
        "left_out",
        "message",
        "name",
        "obs_mode",
        "operation",
        "progress",
        "result_code",
        "severe",
        "skipped",
        "status",
    )

    def __init__(
        self,
        name: str,
        status: TaskStatus | None = None,
        result: Any | None = None,
        device_name: str | None = None,
        devices: Iterable[str] | None = None,
        failed_devices: Iterable[str] | None = None,
        operation: str | None = None,
        obs_mode: str | None = None,
        *,
        health_state: str | None = None,
        severe: bool = False,
        skipped: bool = False,
        left_out: Iterable[LeftOut] = (),
        begun: bool | None = None,
        causes: Iterable[CauseLine] = (),
        accepted: bool = False,
        accepted_by: Iterable[str] = (),
    ) -> None:
        self.name = name
        self.status: TaskStatus | None = None
        self.result_code: ResultCode | None = None
        self.message = ""
        self.progress = 0
        self.facts: SubtaskFacts | None = None
        self.device_name: str | None = None
        self.devices: list[str] | None = None
        self.failed_devices: list[str] | None = None
        self.operation = operation
        self.obs_mode = obs_mode
        self.health_state = None if health_state is None else health_name(health_state)
        self.severe = severe
        self.skipped = skipped
        self.left_out = tuple(left_out) if left_out else ()
        self.begun = False
        self.causes = tuple(causes) if causes else ()
        self.accepted = accepted
        self.accepted_by = tuple(accepted_by) if accepted_by else ()
        # A tracker makes a record of each subtask by its name alone.
        nothing = status is result is None and devices is failed_devices is None
        if not (nothing and device_name is None and begun is None):
            self.update(
                status=status,
                result=result,
                device_name=device_name,
                devices=devices,
                failed_devices=failed_devices,
                begun=begun,
            )

    def update(
        self,
        *,
        status: TaskStatus | None = None,
        result: Any | None = None,
        device_name: str | None = None,
        devices: Iterable[str] | None = None,
        failed_devices: Iterable[str] | None = None,
        operation: str | None = None,
        obs_mode: str | None = None,
        **more: Unpack[_More],
    ) -> None:
        """Take in the facts that are newly known, as the class takes them.

        None means not given: the known value stays. A message that came before its device gets
        the name of the device now.
        """
        known_status = as_task_status(status)
        if known_status is not None:
            self.status = known_status
            self.begun = self.begun or known_status is TaskStatus.IN_PROGRESS
        device_name = _device_name(device_name)
        if device_name is not None:
            if self.device_name is None:
                self.message = format_message(device_name, self.message)
            self.device_name = device_name
        given = {
            "devices": device_list(devices),
            "failed_devices": device_list(failed_devices),
            "operation": operation,
            "obs_mode": obs_mode,
            **more,
        }
        for name, value in given.items():
            if value is not None:
                read = _READERS.get(name)
                setattr(self, name, value if read is None else read(value))
        self._take_result(result)

    @property
    def result(self) -> tuple[ResultCode, str] | None:
        """The result as it is understood, code and message; None while there is none.

        It takes any form that the class does; None changes nothing.
        """
        return None if self.result_code is None else (self.result_code, self.message)

    @result.setter
    def result(self, result: Any) -> None:
        self._take_result(result)

    def _take_result(self, result: Any) -> None:
        if result is not None:
            parsed = parse_result(result)
            if parsed.code is not None:
                self.result_code = parsed.code
                self.message = format_message(self.device_name, parsed.message)
        if self.result_code is None and self.status is TaskStatus.COMPLETED:
            self.result_code = ResultCode.OK

    def __repr__(self) -> str:
        status = self.status.name if self.status is not None else None
        code = self.result_code.name if self.result_code is not None else None
        return f"<SubtaskResult {self.name!r} {status} {code} {self.message!r:.200}>"


class Decision(msgspec.Struct, frozen=True, gc=False):
    """The rule that decided an outcome, and the sum that it did.

    Attributes:
        rule: The rule, such as ``quorum 0.8`` or ``PST group``.
        succeeded: How many subtasks succeeded.
        needed: How many had to; None where the rule has no such number.
        total: Of how many.
        verdict: ``OK``, ``DEGRADED``, ``FAILED``, ``REJECTED``, ``ABORTED``, ``QUEUED`` or
            ``IN_PROGRESS``.
        reason: The sum in words: ``PST success 14/16``.
        severe: True for an outcome that a parent must not soften.
        kind: Which rule it is.
    """

    rule: str
    succeeded: int
    needed: int | None
    total: int
    verdict: str
    reason: str = ""
    severe: bool = False
    kind: RuleKind = "own"

    @property
    def line(self) -> str:
        """The decision for people: ``quorum 0.8 of 16: 14 succeeded, 13 needed → DEGRADED``."""
        reason = self.reason or f"{self.succeeded} of {self.total} succeeded"
        return f"{reason} → {self.verdict}"

    def __str__(self) -> str:
        return self.line


@dataclass(frozen=True, slots=True)
class AggregationOutcome:
    """One outcome, made of those of many subtasks.

    Attributes:
        status: The task's status.
        result: The task's result code; :attr:`result_code` reads the same.
        message: For people: for a root a summary line, then, when there are causes, a line
            ``Causes:`` and one line ``- cause`` each.
        health_state: ``DEGRADED``, ``FAILED`` or None.
        decision: The rule that decided and its sum; None where no policy decided. It takes
            no part in comparisons.
        left_out: The steps that were left out of the task and below it, and why.
        causes: The causes of the message as data, each with its leaves; none where no policy
            decided. They take no part in comparisons.
        accepted: True where a person accepted a failure below, and there is no problem.
        accepted_by: The persons, in order of their names.
    """

    status: TaskStatus
    result: ResultCode
    message: str
    health_state: str | None = None
    decision: Decision | None = field(default=None, kw_only=True, compare=False)
    left_out: tuple[LeftOut, ...] = field(default=(), kw_only=True)
    causes: tuple[CauseLine, ...] = field(default=(), kw_only=True, compare=False, repr=False)
    accepted: bool = field(default=False, kw_only=True)
    accepted_by: tuple[str, ...] = field(default=(), kw_only=True)

    @property
    def result_code(self) -> ResultCode:
        """The task's result code."""
        return self.result

    @property
    def ok(self) -> bool:
        """True when all went well: COMPLETED with code OK, not DEGRADED, nothing accepted."""
        ended_well = self.status is TaskStatus.COMPLETED and self.result is ResultCode.OK
        return ended_well and self.health_state is None and not self.accepted
