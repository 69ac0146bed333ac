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
from collections.abc import Mapping
from typing import Any, Final

from taskgrove.commands.aggregation.result_parsing import parse_whole
from taskgrove.commands.arguments.lookup import MissingPartError, value_at
from taskgrove.commands.arguments.reference import Key, Reference
from taskgrove.commands.arguments.template import filled, value_of
from taskgrove.commands.task import BaseTask, LeafTask, Task
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


class PendingArgument:
    """The argument of a leaf that refers to results of earlier steps.

    Args:
        template: The argument, with the references that have no value yet.
        names: The names of the leaf's component, in small letters, and its number.
        steps: The node that each reference names.

    Attributes:
        steps: See above.
    """

    __slots__ = ("_names", "steps", "template")

    def __init__(self, template: Any, names: frozenset[str]) -> None:
        self.template = template
        self._names = names
        self.steps: dict[Reference, BaseTask] = {}

    def resolve(self) -> Any:
        """Return the argument, with the results that the earlier steps have given.

        Raises:
            UnresolvedError: A step has given no result, or none that fits.
        """
        return value_of(filled(self.template, self._value))

    def _value(self, reference: Reference) -> Any:
        node = self.steps[reference]
        rest = reference.steps[1:]
        if isinstance(node, LeafTask):
            return value_at(reference, _result(reference, node), rest, at=node.name)
        assert isinstance(node, Task)
        results = _results(node)
        if not rest or (isinstance(rest[0], Key) and rest[0].name in results):
            return value_at(reference, results, rest, at=node.name, names=self._names)
        # A key that is no step of the group is a key of each result.
        return {
            name: value_at(reference, item, rest, at=f"{node.name}.{name}", names=self._names)
            for name, item in results.items()
        }


def _result(reference: Reference, leaf: LeafTask) -> Any:
    kept = leaf.kept_result
    if kept is not None and kept.is_there:
        return kept.value
    if kept is not None and kept.too_large:
        why = f"its result has more than {MAX_RESULT:,} characters"
    else:
        why = "it did not succeed, so it has no result"
    path = leaf.path
    raise MissingPartError(f"{reference.source}: {path}: {why}", reference, because_of=path)


def _results(group: Task) -> Mapping[str, Any]:
    """Return the results of the steps of a composite that succeeded, by their names."""
    found: dict[str, Any] = {}
    for child in group.subtasks:
        if isinstance(child, Task):
            found[child.name] = _results(child)
        elif isinstance(child, LeafTask) and (kept := child.kept_result) and kept.is_there:
            found[child.name] = kept.value
    return found


def step_in_need(node: BaseTask) -> str | None:
    """Return the path of a step that refers to the result of a node, or of a part of it, or None.

    A step that refers to a composite is content with the results of those that succeed in it.
    """
    path = node.path
    leaves = [node] if isinstance(node, LeafTask) else []
    if isinstance(node, Task):
        leaves = [it for _, it in node.walk() if isinstance(it, LeafTask)]
    for leaf in leaves:
        for needing, named in (
            () if leaf.kept_result is None else leaf.kept_result.needed_by.items()
        ):
            if f"{named}/".startswith(f"{path}/") and not needing.startswith(f"{path}/"):
                return needing
    return None
