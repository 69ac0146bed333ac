"""Composes a command: map and context become a task tree.

Nothing is started here. The ``composition_notes`` of the root tell which steps were left out, why,
and which limits cannot be enforced.

Threads: a tree is composed on the thread that calls :meth:`MainTaskComposer.compose`; guards read
attributes of components there. Trees may be hundreds of levels deep: nothing recurses.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from logging import Logger
from pathlib import Path
from typing import Any

from taskgrove.commands.command_map import CommandMap, load_command_map
from taskgrove.commands.composition.argument_references import (
    Arguments,
    EarlierValues,
    has_document,
)
from taskgrove.commands.composition.branches import drop_empty_branches
from taskgrove.commands.composition.context import ManagerView
from taskgrove.commands.composition.leaf_making import LeafMaker
from taskgrove.commands.composition.limits import limit_notes
from taskgrove.commands.composition.omissions import Omissions
from taskgrove.commands.composition.refused import RefusedError, joined, refused_command
from taskgrove.commands.composition.resources import Resources
from taskgrove.commands.composition.tree_building import TreeBuilder
from taskgrove.commands.task import BaseTask, LeafTask, Task, TaskExecutionType
from taskgrove.errors import CommandError


class MainTaskComposer:
    """Composes one command of a command map.

    Args:
        name: The command's name in the map.
        command_map: A dict, a file or a loaded map.
        component_manager: The context: an object or a dict with ``components``, whose methods
            internal entries call, or a ComponentContext. A context without ``components`` takes
            the components from the section ``components:`` of the map.
        callback: The root's completion callback, or None.
        resources: Arguments by component's name, keyword or method, or the document that arguments
            of the map refer to; see :mod:`taskgrove.commands.composition.resources`.
        logger: A logger for the trackers; None takes the module's.
        resources_file: The file that the resources were read from; None: none.
        own_names: Whether an entry whose name is no keyword gives its name to its leaf, or to the
            group of its leaves; False names them by device, method and analysis, as the trees of
            older records.
        earlier: Finds the values that ``{{ earlier… }}`` asks for: called with the name of an
            analysis and a key; None: there are none.
    """

    def __init__(
        self,
        name: str,
        command_map: Mapping[str, Any] | CommandMap | str | Path,
        component_manager: Any,
        callback: Callable[..., object] | None,
        resources: Mapping[str, Any] | None = None,
        *,
        logger: Logger | None = None,
        resources_file: str | None = None,
        own_names: bool = True,
        earlier: EarlierValues | None = None,
    ) -> None:
        self.own_names = own_names
        self.earlier = earlier
        self.name = name
        self.command_map = command_map
        self.component_manager = component_manager
        self.callback = callback
        self.resources = resources
        self.resources_file = resources_file
        self.logger = logger

    def compose(self) -> Task:
        """Return the root of the command's task tree.

        Raises:
            MapError: The map cannot be read or is not valid.
            CommandError: The map has no such command, its guard refuses it, a target that
                must be there is missing, the resources do not fit, or nothing is left to run.
        """
        command_map = load_command_map(self.command_map)
        entry = command_map.command(self.name)
        view = ManagerView(self.component_manager, command_map.components)
        objection, unchecked = view.own_guard(entry.allowed_states)
        if objection is not None:
            raise self._error(f"{self.name} is not allowed", [str(objection)])
        out = Omissions()
        out.note(self.name, unchecked)
        is_document = has_document(command_map, self.name)
        resources = Resources(self.name, self.resources, view, is_document=is_document)
        arguments = Arguments(self.name, resources.document, self.earlier)
        leaves = LeafMaker(
            command_map, view, resources, arguments, out,
            logger=self.logger, resources_file=self.resources_file,
        )  # fmt: skip
        builder = TreeBuilder(
            self.name, command_map, view, leaves, out,
            logger=self.logger, own_names=self.own_names,
        )  # fmt: skip
        root = builder.build()
        root.become_root()
        root.set_completed_callback(self.callback)
        self._refuse_twice_at_once(root, leaves.keys)
        for note in resources.check_used():
            out.note(self.name, note)
        out.hand_over(root)
        if not out.refusals:
            # Before empty branches go: a group of which all is left out gives no results.
            arguments.bind(root)
        root.exclusive = tuple(it for _, it in sorted(leaves.exclusive.items()))
        cleaned = self._clean_task(root)
        if out.refusals:
            raise self._rejected(root, out)
        if cleaned is None:
            error = self._error(f"{self.name} has nothing to run", out.notes)
            error.by_faults = out.by_faults
            raise error
        root.composition_notes.extend([*out.notes, *limit_notes(root)])
        return root

    @staticmethod
    def _clean_task(task: BaseTask) -> BaseTask | None:
        """Remove branches without a leaf, at any depth; None when nothing is left.

        A sequence of which only the clean-up is left has nothing to clean up.
        """
        if not isinstance(task, Task):
            return task
        drop_empty_branches(task)
        return task if task.subtasks else None

    def _refuse_twice_at_once(self, root: Task, keys: Mapping[BaseTask, str]) -> None:
        """Refuse a device that stands twice in one parallel task, however it is spelt."""
        for path, node in root.walk():
            if not isinstance(node, Task) or node.task_type is not TaskExecutionType.PARALLEL:
                continue
            first: dict[str, str] = {}
            for leaf in node.subtasks:
                key = keys.get(leaf)
                other = leaf.name if key is None else first.setdefault(key, leaf.name)
                if other != leaf.name:
                    device = leaf.device_name if isinstance(leaf, LeafTask) else None
                    reason = f"{device} stands twice, as {other} and {leaf.name}"
                    summary = f"{path} runs all its steps at once"
                    raise self._error(summary, [reason], path, "put both steps into a sequence")

    def _rejected(self, root: Task, out: Omissions) -> CommandError:
        """Return that the command is rejected because of targets that must be there."""
        summary, reasons = f"{self.name} is rejected", out.refusals
        if not out.refused:
            return self._error(summary, reasons)
        return RefusedError(
            f"{summary}: {joined(reasons)}",
            summary=summary,
            task=root,
            refused=out.refused,
            command=self.name,
            reasons=reasons,
            path=self.name,
            by_faults=out.by_faults,
        )

    def _error(
        self, summary: str, reasons: list[str], path: str = "", hint: str | None = None
    ) -> CommandError:
        return refused_command(self.name, summary, reasons, path=path or self.name, hint=hint)
