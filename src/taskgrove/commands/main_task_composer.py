"""Composes a command: map + context → task tree (SPEC S6).

Nothing is started here. What is left out, and why, and limits that cannot be
enforced, are told in ``composition_notes`` of the root.

A tree is composed on the thread that calls :meth:`MainTaskComposer.compose`; guards
read attributes of components there. Trees may be hundreds deep: nothing recurses.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from logging import Logger
from pathlib import Path
from typing import Any, NamedTuple

from taskgrove.commands.base_task import NO_PLACES
from taskgrove.commands.command_map import (
    AllowedStates,
    AnalysisEntry,
    CommandMap,
    CompositeEntry,
    DeviceEntry,
    GroupEntry,
    HandlerEntry,
    load_command_map,
)
from taskgrove.commands.command_map.problems import shown
from taskgrove.commands.composition.context import Component, ManagerView
from taskgrove.commands.composition.guards import Objection
from taskgrove.commands.composition.limits import limit_notes
from taskgrove.commands.composition.names import Names, analysis_leaf_name, each_leaf
from taskgrove.commands.composition.omissions import Omissions
from taskgrove.commands.composition.refused import RefusedError
from taskgrove.commands.composition.resources import Binding, Resources, plain_copy
from taskgrove.commands.task import BaseTask, LeafTask, NodePlaces, Task, TaskExecutionType
from taskgrove.control_model import ResultCode
from taskgrove.errors import CommandError
from taskgrove.events import Place

_TOLD_REASONS = 20
#: The caller's own choice, so that it never rejects.
_NOT_SELECTED = Objection("selection", "not in the resources")


class _Open(NamedTuple):
    """A composite whose tasks are still to be composed."""

    task: Task
    entry: CompositeEntry
    guard: AllowedStates | None
    names: tuple[str, ...]


class MainTaskComposer:
    """Composes one command of a command map.

    Args:
        name: The command's name in the map.
        command_map: A dict, a file or a loaded map.
        component_manager: The context: an object or a dict with ``components``, whose
            methods internal entries call, or a ComponentContext. Where it is None or has no
            ``components``, those of the map's section ``components:`` are taken.
        callback: The root's completion callback, or None.
        resources: Arguments by component's name, keyword or method; see
            :mod:`taskgrove.commands.composition.resources`.
        logger: A logger for the trackers; None takes the module's.
        resources_file: The file that the resources were read from; None: none.
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
    ) -> None:
        self.name = name
        self.command_map = command_map
        self.component_manager = component_manager
        self.callback = callback
        self.resources = resources
        self.resources_file = resources_file
        self._logger = logger

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
        return _Composition(self, entry, view, command_map).compose()

    @staticmethod
    def _clean_task(task: BaseTask) -> BaseTask | None:
        """Remove branches without a leaf, at any depth; None when nothing is left."""
        if not isinstance(task, Task):
            return task
        for _, node in reversed(list(task.walk())):  # children before parents
            if isinstance(node, Task):
                node.subtasks = [
                    child for child in node.subtasks
                    if not isinstance(child, Task) or child.subtasks
                ]  # fmt: skip
        return task if task.subtasks else None


class _Composition:
    """One call of ``compose``."""

    def __init__(
        self,
        composer: MainTaskComposer,
        entry: CompositeEntry,
        view: ManagerView,
        command_map: CommandMap,
    ) -> None:
        self._map = command_map
        self._composer = composer
        self._name = composer.name
        self._entry = entry
        self._view = view
        self._out = Omissions()
        self._notes = self._out.notes
        #: Which device each leaf is on, whatever its name is spelt like.
        self._keys: dict[BaseTask, str] = {}
        self._obs_mode = self._view.obs_mode()
        #: Where the map defines the entry that is composed.
        self._places = NO_PLACES

    def compose(self) -> Task:
        objection = self._view.objection(self._entry.allowed_states)
        if objection is not None:
            raise self._error(f"{self._name} is not allowed", [str(objection)])
        self._note_unchecked(self._name, self._view.unchecked(self._entry.allowed_states))
        self._resources = Resources(self._name, self._composer.resources, self._view)
        root = self._composite(self._name, self._entry, (self._name,), is_root=True)
        self._fill(root)
        unused = self._resources.check_used()
        self._notes.extend(f"{self._name}: {note}" for note in unused)
        self._out.hand_over(root)
        cleaned = self._composer._clean_task(root)  # noqa: SLF001 - the two are one
        if self._out.refusals:
            raise self._rejected(root)
        if cleaned is None:
            raise self._error(f"{self._name} has nothing to run", self._notes)
        root.composition_notes.extend([*self._notes, *limit_notes(root)])
        return root

    def _rejected(self, root: Task) -> CommandError:
        """Return that the command is rejected because of targets that must be there."""
        summary = f"{self._name} is rejected"
        if not self._out.refused:
            return self._error(summary, self._out.refusals)
        return RefusedError(
            f"{summary}: {_joined(self._out.refusals)}",
            summary=summary,
            task=root,
            refused=self._out.refused,
            command=self._name,
            result_code=ResultCode.REJECTED,
            reasons=self._out.refusals,
            path=self._name,
        )

    def _error(self, summary: str, reasons: list[str]) -> CommandError:
        return CommandError(
            f"{summary}: {_joined(reasons)}" if reasons else summary,
            command=self._name,
            result_code=ResultCode.REJECTED,
            reasons=reasons,
            summary=summary,
            path=self._name,
        )

    # ---------------------------------------------------------------- composites

    def _composite(
        self, name: str, entry: CompositeEntry, names: tuple[str, ...], is_root: bool = False
    ) -> Task:
        task = Task(
            name,
            TaskExecutionType(entry.type),
            entry.skip_subtasks,
            self._composer.callback if is_root else None,
            is_root,
            self._composer._logger,  # noqa: SLF001
            rule=entry.rule,
            timeout=entry.timeout,
            operation=self._name,
            obs_mode=self._obs_mode,
        )
        task.places = self._map.entry_places.get(names, NO_PLACES)
        return task

    def _fill(self, root: Task) -> None:
        still_open = [_Open(root, self._entry, self._entry.allowed_states, (self._name,))]
        while still_open:
            place = still_open.pop()
            names = Names()
            children: list[BaseTask] = []
            for name, entry in place.entry.tasks.items():
                where = (*place.names, name)
                if isinstance(entry, CompositeEntry):
                    child = self._composite(names.unique(name), entry, where)
                    children.append(child)
                    guard = entry.allowed_states or place.guard
                    still_open.append(_Open(child, entry, guard, where))
                else:
                    self._places = self._map.entry_places.get(where, NO_PLACES)
                    children.extend(self._handled(entry, place, names))
            place.task.add(*children)
        self._refuse_twice_at_once(root)

    def _refuse_twice_at_once(self, root: Task) -> None:
        """Refuse a device that stands twice in one parallel task, however it is spelt."""
        for path, node in root.walk():
            if not isinstance(node, Task) or node.task_type is not TaskExecutionType.PARALLEL:
                continue
            first: dict[str, str] = {}
            for leaf in node.subtasks:
                key = self._keys.get(leaf)
                other = leaf.name if key is None else first.setdefault(key, leaf.name)
                if other != leaf.name:
                    device = leaf.device_name if isinstance(leaf, LeafTask) else None
                    reason = f"{device} stands twice, as {other} and {leaf.name}"
                    raise CommandError(
                        f"{path} runs all its steps at once: {reason}",
                        command=self._name,
                        reasons=[reason],
                        summary=f"{path} runs all its steps at once",
                        path=path,
                        hint="put both steps into a sequence",
                    )

    def _handled(self, entry: HandlerEntry, place: _Open, names: Names) -> Iterator[BaseTask]:
        if isinstance(entry, GroupEntry):
            name = names.unique(f"{self._name}_{entry.handler}")
            inner = Names()
            group = Task(
                name,
                TaskExecutionType.PARALLEL,
                logger=self._composer._logger,  # noqa: SLF001
                subtasks=self._device_leaves(
                    entry, f"{place.task.path}/{name}", place.guard, inner
                ),
                rule=entry.rule,
                operation=self._name,
                obs_mode=self._obs_mode,
                pst_group=True if entry.handler == "pst" else None,
            )
            group.places = NodePlaces(own=self._places.own)
            yield group
        elif isinstance(entry, DeviceEntry):
            yield from self._device_leaves(entry, place.task.path, place.guard, names)
        elif isinstance(entry, AnalysisEntry):
            task = self._analysis(entry, place.task.path, names)
            if task is not None:
                yield task
        else:
            yield from self._own_leaf(entry, place.task.path, names)

    # ---------------------------------------------------------------- leaves

    def _device_leaves(
        self, entry: DeviceEntry, path: str, guard: AllowedStates | None, names: Names
    ) -> Iterator[LeafTask]:
        components = self._view.components(entry.handler)
        if not components:
            where = path if isinstance(entry, GroupEntry) else f"{path}/{entry.handler}"
            self._out.no_component(entry, where)
        for component in components:
            leaf = self._device_leaf(entry, path, guard, names, component)
            if leaf is not None:
                yield leaf

    def _device_leaf(
        self,
        entry: DeviceEntry,
        path: str,
        guard: AllowedStates | None,
        names: Names,
        component: Component,
    ) -> LeafTask | None:
        binding = self._resources.for_component(entry, component)
        guard = entry.allowed_states or guard
        objection: Objection | None = _NOT_SELECTED
        if binding.selected:
            objection = self._view.device_objection(component.target, guard)
        if objection is not None and not self._out.rejects(entry, objection, component):
            self._out.add(entry, f"{path}/{component.leaf_name}", objection, component)
            return None
        name = names.unique(component.leaf_name)
        if objection is not None:
            self._out.add(entry, f"{path}/{name}", objection, component)
        self._note_unchecked(
            f"{path}/{name} ({component.name})", self._view.device_unchecked(guard)
        )
        if binding.note:
            self._notes.append(f"{path}/{name}: {binding.note}")
        leaf = LeafTask(
            name,
            component.target,
            entry.command_name,
            self._plain(binding.argin, f"{path}/{name}"),
            TaskExecutionType.DEVICE,
            logger=self._composer._logger,  # noqa: SLF001
            timeout=entry.timeout,
            retries=entry.retries,
            abort_on_timeout=entry.abort_on_timeout,
        )
        self._keys[leaf] = component.key
        listed = self._map.device_places.get(component.listed_name)
        leaf.places = self._places_with(binding)._replace(target=listed)
        return leaf

    def _places_with(self, binding: Binding) -> NodePlaces:
        """Return where the entry stands, with the place of the argument that it is given."""
        file = self._composer.resources_file
        if binding.source is None:
            return self._places
        given = None if file is None else Place(file, None, binding.source)
        return self._places._replace(argin=given)

    def _own_leaf(self, entry: HandlerEntry, path: str, names: Names) -> Iterator[LeafTask]:
        """Yield the leaf of an internal entry, unless its guard objects."""
        bound = self._bound(entry, entry.command_name, path, names)
        if bound is None:
            return
        name, binding = bound
        self._view.check_method(entry.command_name, f"{path}/{name}")
        leaf = LeafTask(
            name,
            self._view.owner,
            entry.command_name,
            binding.argin,
            TaskExecutionType.INTERNAL,
            logger=self._composer._logger,  # noqa: SLF001
            timeout=entry.timeout,
            retries=entry.retries,
        )
        leaf.places = self._places_with(binding)
        yield leaf

    def _analysis(self, entry: AnalysisEntry, path: str, names: Names) -> BaseTask | None:
        """Return the leaf of an analysis, or its group; None when its guard objects."""
        bound = self._bound(entry, analysis_leaf_name(entry.command_name), path, names)
        if bound is None:
            return None
        name, binding = bound
        where = f"{path}/{name}"
        argin = self._plain(binding.argin, where)
        places = self._places_with(binding)
        if argin is not None and not isinstance(argin, dict):
            raise self._error(
                f"{where} cannot be composed",
                [f"the argument of an analysis is a mapping of its parameters, not {shown(argin)}"],
            )
        if entry.each is None:
            return self._analysis_leaf(entry, name, argin, places)
        group = Task(
            name,
            TaskExecutionType.PARALLEL,
            logger=self._composer._logger,  # noqa: SLF001
            subtasks=[
                self._analysis_leaf(entry, leaf_name, {**(argin or {}), **own}, places)
                for leaf_name, own in each_leaf(entry.each, name)
            ],
            rule=entry.rule,
            operation=self._name,
            obs_mode=self._obs_mode,
        )
        group.places = NodePlaces(own=places.own)
        return group

    def _analysis_leaf(
        self, entry: AnalysisEntry, name: str, argin: Any, places: NodePlaces
    ) -> LeafTask:
        leaf = LeafTask(
            name,
            self._beside_map(entry.config),
            entry.command_name,
            argin,
            TaskExecutionType.ANALYSIS,
            logger=self._composer._logger,  # noqa: SLF001
            timeout=entry.timeout,
            retries=entry.retries,
            settings=self._settings_of(entry),
        )
        leaf.places = places
        return leaf

    def _settings_of(self, entry: AnalysisEntry) -> dict[str, Any]:
        """Return how the process is started and watched, as far as the map says it."""
        said = {
            "launcher": entry.launcher,
            "heartbeat_s": entry.heartbeat,
            "grace_s": entry.grace,
            "source": self._beside_map(entry.source),
        }
        return {name: value for name, value in said.items() if value is not None}

    def _beside_map(self, file: str | None) -> str | None:
        """Return the path of a file that the map names; a relative one stands beside the map."""
        if file is None:
            return None
        file = os.path.expanduser(file)
        return file if self._map.file is None else str(Path(self._map.file).parent / file)

    def _bound(
        self, entry: HandlerEntry, wanted: str, path: str, names: Names
    ) -> tuple[str, Binding] | None:
        """Return the name and the argument of what has no device; None when its guard objects."""
        objection = self._view.objection(entry.allowed_states)
        binding = self._resources.for_method(entry)
        if objection is not None:
            self._out.add(entry, f"{path}/{wanted}", objection)
            return None
        name = names.unique(wanted)
        where = f"{path}/{name}"
        self._note_unchecked(where, self._view.unchecked(entry.allowed_states))
        if binding.note:
            self._notes.append(f"{where}: {binding.note}")
        return name, binding

    def _plain(self, argin: Any, path: str) -> Any:
        try:
            return plain_copy(argin)
        except ValueError as exc:
            raise CommandError(
                f"{path}: {exc}", command=self._name, reasons=[str(exc)], summary=path, path=path,
                hint="an argument is made of texts, numbers, booleans, lists and mappings",
            ) from exc  # fmt: skip

    # ---------------------------------------------------------------- notes

    def _note_unchecked(self, path: str, note: str | None) -> None:
        if note is not None:
            self._notes.append(f"{path}: {note}")


def _joined(reasons: list[str]) -> str:
    told = "; ".join(reasons[:_TOLD_REASONS])
    more = len(reasons) - _TOLD_REASONS
    return f"{told}; and {more} more" if more > 0 else told
