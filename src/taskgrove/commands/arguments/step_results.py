"""The results of steps that a later step refers to, and its argument when the step starts.

A result is kept only where a later step refers to it. The result of a leaf is the data that its
command returned besides code and message, else the message: as data where it is the JSON text of
an object or a list, else as text. The result of an analysis is its payload. The result of a
composite maps the names of its steps to their results, of those that succeeded.

Threads: a leaf's result is written by the thread that ends its attempt, before the end is
reported; it is read by the thread that starts a later step, after that end. The order of the tree
keeps the two apart.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple, TypeAlias

from taskgrove.commands.aggregation.result_parsing import parse_whole
from taskgrove.commands.arguments.lookup import MissingPartError, value_at
from taskgrove.commands.arguments.reference import Key, PathStep, Reference
from taskgrove.commands.arguments.template import filled, value_of
from taskgrove.events.foreign_values import plain_data

#: The largest result that a later step may refer to, in characters of JSON.
MAX_RESULT: Final = 1 << 20

_NOT_THERE: Final = object()


class KeptResult:
    """The result of a leaf that later steps refer to.

    Attributes:
        needed_by: The paths of the steps that refer to it, each with the path that it refers to:
            that of the leaf, or of a composite above it.
        too_large: Whether the leaf gave a result that is larger than :data:`MAX_RESULT`.
    """

    __slots__ = ("_value", "needed_by", "too_large")

    def __init__(self) -> None:
        self.needed_by: dict[str, str] = {}
        self.too_large = False
        self._value: Any = _NOT_THERE

    @property
    def is_there(self) -> bool:
        """Whether the leaf has succeeded and its result is known."""
        return self._value is not _NOT_THERE

    @property
    def value(self) -> Any:
        """The result; None without one."""
        return self._value if self.is_there else None

    def take(self, result: Any, value: Any) -> Any:
        """Take the result of a success; return it as it is kept on record, or None.

        Args:
            result: The result as it was given, with code and message.
            value: The data that came besides, or None.
        """
        kept = _value_of_result(result) if value is None else plain_data(value)
        self.too_large = len(json.dumps(kept, ensure_ascii=False)) > MAX_RESULT
        self._value = _NOT_THERE if self.too_large else kept
        return self.value


def _value_of_result(result: Any) -> Any:
    message = parse_whole(result).message
    if message.lstrip()[:1] in ("{", "[") and len(message) <= MAX_RESULT:
        try:
            return plain_data(json.loads(message))
        except (ValueError, RecursionError):
            pass  # a text that only begins like JSON
    return message


class StepResult(NamedTuple):
    """The result of a step, when a later one asks for it.

    Attributes:
        name: The name of the step.
        value: Its result; of a composite the results of its steps by name.
        is_group: Whether it is a composite.
    """

    name: str
    value: Any
    is_group: bool = False


#: Returns the result of a step; raises MissingPartError where it has none.
StepLookup: TypeAlias = Callable[[Reference], StepResult]


class PendingArgument:
    """The argument of a leaf that refers to results of earlier steps.

    Args:
        template: The argument, with the references that have no value yet.
        names: The names of the leaf's component, in small letters, and its number.

    Attributes:
        template: See above.
        steps: For each reference the step that it names.
    """

    __slots__ = ("_names", "steps", "template")

    def __init__(self, template: Any, names: frozenset[str]) -> None:
        self.template = template
        self._names = names
        self.steps: dict[Reference, StepLookup] = {}

    def resolve(self) -> Any:
        """Return the argument, with the results that the earlier steps have given.

        Raises:
            UnresolvedError: A step has given no result, or none that fits.
        """
        return value_of(filled(self.template, self._value))

    def _value(self, reference: Reference) -> Any:
        step, rest = self.steps[reference](reference), reference.steps[1:]
        if not step.is_group or _is_step_of(step, rest):
            return value_at(reference, step.value, rest, at=step.name, names=self._names)
        # A key that is no step of the group is a key of each result.
        return {
            name: value_at(reference, item, rest, at=f"{step.name}.{name}", names=self._names)
            for name, item in step.value.items()
        }


def _is_step_of(group: StepResult, rest: Sequence[PathStep]) -> bool:
    return not rest or (isinstance(rest[0], Key) and rest[0].name in group.value)


def missing_result(reference: Reference, path: str, kept: KeptResult | None) -> MissingPartError:
    """Return the error of a reference to a leaf without a result."""
    if kept is not None and kept.too_large:
        why = f"its result has more than {MAX_RESULT:,} characters"
    else:
        why = "it did not succeed, so it has no result"
    return MissingPartError(f"{reference.source}: {path}: {why}", reference, because_of=path)
