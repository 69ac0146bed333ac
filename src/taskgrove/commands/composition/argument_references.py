"""References of arguments while a command is composed: values of its document, steps of its tree.

A value of the document, or of an earlier run, takes its place now. A reference to a result is tied
to a step that has ended, by the order of the tree, when the step with the reference starts.

Threads: an :class:`Arguments` belongs to the thread that composes.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeAlias

from taskgrove.commands.arguments.lookup import MissingPartError, value_at
from taskgrove.commands.arguments.reference import ItemNumber, Key, Reference
from taskgrove.commands.arguments.step_results import (
    KeptResult,
    PendingArgument,
    StepResult,
    missing_result,
)
from taskgrove.commands.arguments.template import (
    UnresolvedError,
    filled,
    holds_reference,
    read_template,
    references_in,
    shown_template,
    value_of,
)
from taskgrove.commands.command_map.map_models import AnalysisEntry, DeviceStepEntry
from taskgrove.commands.command_map.typed_map import CommandMap
from taskgrove.commands.composition.context import Component
from taskgrove.commands.composition.refused import refused_command
from taskgrove.commands.task import BaseTask, LeafTask, NodePlaces, Task, TaskExecutionType
from taskgrove.errors import CommandError, nearest
from taskgrove.events import LeftOut

#: Returns a value of an earlier run: of an analysis, by a key; raises LookupError without one.
EarlierValues: TypeAlias = Callable[[str, str], Any]


class ComposedArgument(NamedTuple):
    """The argument of a leaf, as far as it is known.

    Attributes:
        argin: The argument; a reference to a result stands in it as it is written.
        pending: The argument with references to results; None: it has none.
    """

    argin: Any
    pending: PendingArgument | None = None


def has_document(command_map: CommandMap, command: str) -> bool:
    """Return whether an argument of a command refers to its document."""
    return any(
        reference.root == "argin"
        for entry in command_map.leaf_entries(command)
        if not isinstance(entry, AnalysisEntry)
        for written in [entry.value if isinstance(entry, DeviceStepEntry) else entry.argin]
        if holds_reference(written)
        for reference in references_in(read_template(written))
    )


class Arguments:
    """The arguments with references of one composition.

    Args:
        command: The command, for errors.
        document: Its document; None: there is none.
        earlier: Finds values of earlier runs; None: there are none.
    """

    def __init__(self, command: str, document: Any, earlier: EarlierValues | None) -> None:
        self._command = command
        self._document = document
        self._earlier = earlier

    def of(
        self, written: Any, component: Component | None, path: str, places: NodePlaces
    ) -> ComposedArgument | None:
        """Return the argument that an entry of the map sets; None: its step is left out.

        Args:
            written: The argument, as it is written.
            component: The component of the step, or None.
            path: The path of the step, for errors.
            places: Where the map defines the entry.

        Raises:
            CommandError: The document, or the record, has no such value.
        """
        template = read_template(written)
        names = frozenset() if component is None else _names_of(component)

        def lookup(reference: Reference) -> Any:
            if reference.root == "results":
                return reference
            if reference.root == "earlier":
                return self._earlier_value(reference)
            if self._document is None:
                raise UnresolvedError(f"{reference.source}: no document is given", reference)
            return value_at(reference, self._document, reference.steps, at="argin", names=names)

        try:
            template = filled(template, lookup)
            if any(references_in(template)):
                return ComposedArgument(shown_template(template), PendingArgument(template, names))
            return ComposedArgument(value_of(template))
        except UnresolvedError as exc:
            reference = exc.reference
            if isinstance(exc, MissingPartError) and reference is not None and reference.optional:
                return None
            raise self._error(exc, path, places) from exc

    def _earlier_value(self, reference: Reference) -> Any:
        if self._earlier is None:
            raise UnresolvedError(f"{reference.source}: there is no record to read", reference)
        words = [str(it[0]) for it in reference.steps if isinstance(it, (Key, ItemNumber))]
        try:
            return self._earlier(words[0], ".".join(words[1:]))
        except LookupError as exc:
            raise UnresolvedError(f"{reference.source}: {exc}", reference) from exc

    def _error(self, exc: UnresolvedError, path: str, places: NodePlaces) -> CommandError:
        place = places.argin or places.own
        where = "" if place is None or place.line is None else f" ({place.file}, line {place.line})"
        hint = f"did you mean {exc.nearest!r}?" if exc.nearest else None
        reference = exc.reference
        if reference is not None and reference.root == "argin":
            if self._document is None:
                hint = "give the document of the command: --argin FILE"
            elif hint is None and isinstance(exc, MissingPartError):
                hint = "a question mark, {{ argin.KEY? }}, leaves out the step in place of this"
        return refused_command(
            self._command, f"{path} has no argument", [f"{exc}{where}"], path=path, hint=hint
        )

    def bind(self, root: Task) -> None:
        """Tie each reference to a result to the step that gives it.

        Raises:
            CommandError: There is no such step, several have the name, or the step does not end
                before the one with the reference starts.
        """
        pending = [
            (path, node, node.pending_argument)
            for path, node in root.walk()
            if isinstance(node, LeafTask) and node.pending_argument is not None
        ]
        if not pending:
            return
        steps = _Steps(root)
        for path, leaf, argument in pending:
            for reference in references_in(argument.template):
                name = str(reference.steps[0][0])
                try:
                    node = steps.before(leaf, name, reference)
                except UnresolvedError as exc:
                    raise self._error(exc, path, leaf.places) from exc
                argument.steps[reference] = functools.partial(_result_of, node)
                for giver in _leaves(node):
                    if giver.kept_result is None:
                        giver.kept_result = KeptResult()
                    giver.kept_result.needed_by[path] = node.path


def _result_of(node: BaseTask, reference: Reference) -> StepResult:
    """Return the result of a node.

    Raises:
        MissingPartError: It is a leaf that has none.
    """
    if isinstance(node, Task):
        return StepResult(node.name, _results_of(node), is_group=True)
    assert isinstance(node, LeafTask)
    kept = node.kept_result
    if kept is None or not kept.is_there:
        raise missing_result(reference, node.path, kept)
    return StepResult(node.name, kept.value)


def _results_of(group: Task) -> dict[str, Any]:
    """Return the results of the steps of a composite that succeeded, by their names."""
    found: dict[str, Any] = {}
    for child in group.subtasks:
        if isinstance(child, Task):
            found[child.name] = _results_of(child)
        elif isinstance(child, LeafTask) and (kept := child.kept_result) and kept.is_there:
            found[child.name] = kept.value
    return found


class _Steps:
    """The nodes of a tree by name, and their order."""

    def __init__(self, root: Task) -> None:
        self._by_name: dict[str, list[tuple[str, BaseTask]]] = {}
        self._position: dict[BaseTask, int] = {}
        self._left_out: list[LeftOut] = []
        for path, node in root.walk():
            self._by_name.setdefault(node.name, []).append((path, node))
            if isinstance(node, Task):
                self._left_out.extend(node.left_out)
                self._position.update((child, i) for i, child in enumerate(node.subtasks))

    def before(self, leaf: LeafTask, name: str, reference: Reference) -> BaseTask:
        """Return the step of a name that has ended when the leaf starts, the nearest one.

        Raises:
            UnresolvedError: There is none, or more than one.
        """
        named = [
            (path, node)
            for path, node in self._by_name.get(name.rpartition("/")[2], ())
            if f"/{path}".endswith(f"/{name}")
        ]
        above = _branches(leaf)
        ranked: list[tuple[int, int, str, BaseTask]] = []
        for path, node in named:
            rank = self._rank(node, above)
            if rank is not None:
                ranked.append((*rank, path, node))
        best = min((it[:2] for it in ranked), default=None)
        found = [it for it in ranked if it[:2] == best]
        if len(found) == 1:
            return found[0][3]
        if found:
            paths = ", ".join(it[2] for it in found[:5])
            text = f"{reference.source}: {len(found)} steps are named {name!r}: {paths}"
        elif named:
            text = f"{reference.source}: {named[0][0]} has not ended when {leaf.path} starts"
        else:
            raise self._missing(name, reference)
        raise UnresolvedError(text, reference)

    def _missing(self, name: str, reference: Reference) -> UnresolvedError:
        """Return the error of a name that no step of the tree has."""
        left = next((it for it in self._left_out if f"/{it.path}".endswith(f"/{name}")), None)
        if left is not None:
            return UnresolvedError(
                f"{reference.source}: {left.path} is left out: {left.reason}", reference
            )
        text = f"{reference.source}: the tree has no step {name!r}"
        return UnresolvedError(text, reference, nearest(name, self._by_name))

    def _rank(self, node: BaseTask, above: dict[BaseTask, BaseTask]) -> tuple[int, int] | None:
        """Return how far a step is from a leaf that starts after its end, or None: it does not.

        Args:
            node: The step.
            above: The nodes above the leaf, each with the child that leads to it, from below.
        """
        branch, depth, parent = node, 0, node.parent
        while parent is not None and parent not in above:
            branch, depth, parent = parent, depth + 1, parent.parent
        if parent is None or parent.task_type is not TaskExecutionType.SEQUENTIAL:
            return None
        if self._position[branch] >= self._position[above[parent]]:
            return None
        return list(above).index(parent), depth


def _branches(leaf: LeafTask) -> dict[BaseTask, BaseTask]:
    found: dict[BaseTask, BaseTask] = {}
    node: BaseTask = leaf
    while node.parent is not None:
        found[node.parent] = node
        node = node.parent
    return found


def _leaves(node: BaseTask) -> Iterator[LeafTask]:
    if isinstance(node, LeafTask):
        yield node
    elif isinstance(node, Task):
        yield from (it for _, it in node.walk() if isinstance(it, LeafTask))


def _names_of(component: Component) -> frozenset[str]:
    names = {component.name.lower(), component.leaf_name.lower(), component.member.lower()}
    if component.member.isascii() and component.member.isdecimal():
        names.add(str(int(component.member)))
    return frozenset(names)
