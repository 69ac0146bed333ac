"""Rules that decide an outcome: the interface, and the explicit ones.

A Task may carry ``all``, ``any`` or a quorum in place of the default rules (which stand
in ``default_rules``, behind the same interface). A rule is immutable and pure; any
thread may use it.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from numbers import Integral
from typing import Any, ClassVar, Final, TypeAlias

import msgspec

from taskgrove.commands.aggregation.base import DEGRADED, FAILED
from taskgrove.commands.aggregation.plain_values import describe
from taskgrove.commands.aggregation.tally import Tally
from taskgrove.control_model import ResultCode, TaskStatus
from taskgrove.errors import UsageError, nearest
from taskgrove.events import RuleKind


class RuleContext(msgspec.Struct, frozen=True, gc=False):
    """The facts that a rule may use besides the subtasks.

    Attributes:
        task_name: Name of the task whose outcome is decided.
        operation: Its operation, when known.
        obs_mode: Its observation mode, when known.
        pst_group: Whether it is a group of PST beams.
    """

    task_name: str
    operation: str | None = None
    obs_mode: str | None = None
    pst_group: bool = False


class Verdict(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The decision of a rule.

    Attributes:
        status: The task's status.
        result: Its result code.
        health_state: ``DEGRADED``, ``FAILED`` or None.
        reason: The sum in words: ``PST success 14/16``.
        needed: How many successes the rule asks for; None where it has no such number.
        severe: True when the outcome is severe: a parent must not soften it.
        tells_sum: Whether the message of an outcome that is not plain success tells the sum.
    """

    status: TaskStatus
    result: ResultCode
    health_state: str | None = None
    reason: str = ""
    needed: int | None = None
    severe: bool = False
    tells_sum: bool = False

    @property
    def word(self) -> str:
        """The verdict in one word, such as ``DEGRADED``."""
        if self.status != TaskStatus.COMPLETED:
            return TaskStatus(self.status).name
        is_ok = self.result == ResultCode.OK and self.health_state != DEGRADED
        return "OK" if is_ok else DEGRADED


class AggregationRule(ABC):
    """Decides the outcome of a task from the ends of its subtasks.

    A rule is asked only when every subtask is final and none is ABORTED.

    Attributes:
        kind: Which of our rules it is; ``own`` for a class of the user.
    """

    __slots__ = ()
    kind: ClassVar[RuleKind] = "own"

    @property
    @abstractmethod
    def label(self) -> str:
        """The rule in a few words, such as ``quorum 0.8``."""

    @abstractmethod
    def decide(self, tally: Tally, context: RuleContext) -> Verdict | None:
        """Return the verdict, or None when this rule has nothing to say of the case.

        Args:
            tally: The subtasks, counted; at least one.
            context: The task's name, operation and observation mode.
        """

    def check(self, total: int) -> str | None:
        """Return a sentence when the rule cannot work with ``total`` subtasks, else None."""
        del total
        return None

    def __str__(self) -> str:
        return self.label


class _CountingRule(AggregationRule):
    """A rule that asks for a number of successes."""

    __slots__ = ()

    @abstractmethod
    def needed(self, total: int) -> int:
        """Return how many of ``total`` subtasks must succeed, 1 or more."""

    def needed_of(self, tally: Tally) -> int:
        """Return how many subtasks must succeed."""
        return self.needed(tally.total)

    def allows(self, tally: Tally) -> bool:
        """Return whether the problems may be, where enough subtasks succeeded."""
        del tally
        return True

    def decide(self, tally: Tally, context: RuleContext) -> Verdict:
        """Return COMPLETED when enough succeeded (DEGRADED unless all did), else FAILED."""
        del context
        needed = self.needed_of(tally)
        reached = tally.succeeded >= needed and self.allows(tally)
        whole = reached and not tally.unsuccessful
        return Verdict(
            status=TaskStatus.COMPLETED if reached else TaskStatus.FAILED,
            result=ResultCode.OK if whole else ResultCode.FAILED,
            health_state=None if whole else DEGRADED if reached else FAILED,
            reason=f"{self.label} of {tally.total}: {tally.succeeded} succeeded, {needed} needed"
            f"{tally.faults_told}",
            needed=needed,
            severe=not reached,  # an explicit rule that was missed is not softened above
            tells_sum=True,
        )


@dataclass(frozen=True, slots=True)
class AllRule(_CountingRule):
    """``all``: any problem fails the task."""

    kind: ClassVar[RuleKind] = "all"
    label = "all"

    def needed(self, total: int) -> int:
        """Return ``total``."""
        return total

    def needed_of(self, tally: Tally) -> int:
        """Return how many there are without those that an operator left out."""
        return tally.total - len(tally.left_out)

    def allows(self, tally: Tally) -> bool:
        """Return whether there is no problem."""
        return not tally.unsuccessful


@dataclass(frozen=True, slots=True)
class AnyRule(_CountingRule):
    """``any``: one success completes the task."""

    kind: ClassVar[RuleKind] = "any"
    label = "any"

    def needed(self, total: int) -> int:
        """Return 1."""
        del total
        return 1


@dataclass(frozen=True, slots=True)
class QuorumRule(_CountingRule):
    """``quorum: k`` or ``quorum: 0.8``: so many successes, or such a share, complete the task.

    Args:
        limit: A whole number from 1, or a Decimal above 0 and not above 1; the share of a
            total is rounded up in decimal arithmetic, so that 0.7 of 10 is 7.

    Raises:
        UsageError: ``limit`` is neither.
    """

    limit: int | Decimal
    kind: ClassVar[RuleKind] = "quorum"

    def __post_init__(self) -> None:
        object.__setattr__(self, "limit", _checked_limit(self.limit))

    @property
    def label(self) -> str:
        """Such as ``quorum 13`` or ``quorum 0.8``."""
        if isinstance(self.limit, int):
            return f"quorum {self.limit}"
        text = format(self.limit.normalize(), "f")
        return f"quorum {text}" if "." in text else f"quorum {text}.0"

    def needed(self, total: int) -> int:
        """Return how many of ``total`` subtasks must succeed."""
        if isinstance(self.limit, int):
            return self.limit
        over, under = self.limit.as_integer_ratio()
        return max(1, -(-over * total // under))

    def check(self, total: int) -> str | None:
        """Say so when more successes are asked for than there are subtasks."""
        needed = self.needed(total)
        if needed <= total:
            return None
        there = "is 1 subtask" if total == 1 else f"are {total} subtasks"
        return f"{self.label} can never be met: there {there}"


RuleLike: TypeAlias = str | Mapping[str, Any] | AggregationRule

_SIMPLE: Final[dict[str, AggregationRule]] = {"all": AllRule(), "any": AnyRule()}
_WORDS: Final = ("all", "any", "quorum")
_ALLOWED: Final = "a rule is 'all', 'any', 'quorum: 13' or 'quorum: 0.8'"
#: Longer texts are not taken for numbers, and shares below a billionth are refused.
_NUMBER: Final = re.compile(r"(?P<whole>[0-9]{1,9})|(?P<share>[0-9]{0,3}\.[0-9]{0,12})", re.ASCII)
_PERCENT: Final = re.compile(r"(?P<share>[0-9]{1,3}(?:\.[0-9]{0,10})?)\s*%", re.ASCII)
_LARGEST_COUNT: Final = 10**9
_SMALLEST_SHARE: Final = Decimal("1e-9")


def parse_rule(value: RuleLike | None) -> AggregationRule | None:
    """Return the rule that ``value`` names; None stays None: the default rules.

    Args:
        value: ``"all"``, ``"any"``, ``"quorum 0.8"``, ``"quorum: 13"``, ``{"quorum": 0.8}``
            (``"80%"`` too), or a rule object.

    Raises:
        UsageError: It names none; the error lists the allowed rules and the nearest word.
    """
    if value is None or isinstance(value, AggregationRule):
        return value
    if isinstance(value, Mapping):
        if len(value) != 1:
            raise UsageError(f"a rule has one key, not {len(value)}", hint=_ALLOWED)
        ((word, limit),) = value.items()
        if word == "quorum":
            return QuorumRule(limit)
        raise _unknown(str(word))
    if isinstance(value, str):
        text = value.strip()
        if text.lower() in _SIMPLE:
            return _SIMPLE[text.lower()]
        word, _, limit = text.partition(":" if ":" in text else " ")
        if word.strip().lower() == "quorum":
            return QuorumRule(limit.strip())  # type: ignore[arg-type]
        raise _unknown(word.strip())
    raise UsageError(f"a rule is no {type(value).__name__}", hint=_ALLOWED)


def _unknown(word: str) -> UsageError:
    near = nearest(word.lower(), _WORDS)
    if word in _SIMPLE:
        return UsageError(f"the rule {word!r} takes no value", hint=f"write rule: {word}")
    hint = f"did you mean {near!r}? {_ALLOWED}" if near else _ALLOWED
    return UsageError(f"there is no rule {word[:80]!r}", hint=hint)


def _checked_limit(limit: Any) -> int | Decimal:
    """Return a quorum as a whole number or a share; a bool is neither."""
    number: int | Decimal | None = None
    if isinstance(limit, bool) or limit is None or limit == "":
        number = None
    elif isinstance(limit, Integral):
        number = int(limit)
    elif isinstance(limit, str):
        number = _number_in(limit.strip())
    elif isinstance(limit, (float, Decimal)):
        try:
            number = Decimal(str(limit))
        except InvalidOperation:
            number = None
    if isinstance(number, int) and 1 <= number <= _LARGEST_COUNT:
        return number
    if isinstance(number, Decimal) and number.is_finite() and _SMALLEST_SHARE <= number <= 1:
        return number
    hint = "a whole number from 1 (so many must succeed), or a share such as 0.8 or '80%'"
    if isinstance(number, Decimal) and number.is_finite() and 1 < number <= _LARGEST_COUNT:
        hint += f"; for a number of successes write no point: {round(number)}"
    raise UsageError(f"a quorum cannot be {describe(limit)}", hint=hint)


def _number_in(text: str) -> int | Decimal | None:
    found = _NUMBER.fullmatch(text)
    if found is not None and text != ".":
        return int(found["whole"]) if found["whole"] else Decimal(found["share"])
    found = _PERCENT.fullmatch(text)
    return Decimal(found["share"]) / 100 if found is not None else None
