"""Composes a command: map and context become a task tree.

Nothing is started here. The ``composition_notes`` of the root tell which steps were left out, why,
and which limits cannot be enforced.

Threads: a tree is composed on the thread that calls :meth:`MainTaskComposer.compose`; guards read
attributes of components there. Trees may be hundreds of levels deep: nothing recurses.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
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
from taskgrove.commands.composition.context import ManagerView
from taskgrove.commands.composition.guards import Objection
from taskgrove.commands.composition.limits import limit_notes
from taskgrove.commands.composition.names import Names, analysis_leaf_name, each_leaf
from taskgrove.commands.composition.omissions import Omissions
from taskgrove.commands.composition.refused import RefusedError, joined, refused_command
from taskgrove.commands.composition.resources import Binding, Resources, plain_copy
from taskgrove.commands.task import BaseTask, LeafTask, NodePlaces, Task, TaskExecutionType
from taskgrove.errors import CommandError
from taskgrove.events import Place

#: The choice of the caller, which never rejects a command.
_NOT_SELECTED = Objection("selection", "not in the resources")


class _Open(NamedTuple):
    """A composite whose tasks are still to be composed."""

    task: Task
    entry: CompositeEntry
    guard: AllowedStates | None
    names: tuple[str, ...]


class _Spot(NamedTuple):
    """Where the leaves of an entry are composed.

    Attributes:
        path: The path of the task that takes them.
        guard: The guard of a device.
        names: The names of the siblings.
        places: Where the map defines the entry.
    """

    path: str
    guard: AllowedStates | None
    names: Names
    places: NodePlaces


class MainTaskComposer:
    """Composes one command of a command map.

    Args:
        name: The command's name in the map.
        command_map: A dict, a file or a loaded map.
        component_manager: The context: an object or a dict with ``components``, whose methods
            internal entries call, or a ComponentContext. A context without ``components`` takes
            the components from the section ``components:`` of the map.
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
        return _Composition(self, entry, view, command_map).compose()

    @staticmethod
    def _clean_task(task: BaseTask) -> BaseTask | None:
        """Remove branches without a leaf, at any depth; None when nothing is left."""
        if not isinstance(task, Task):
            return task
        for _, node in reversed(list(task.walk())):  # children before parents
            if isinstance(node, Task):
                kept = (it for it in node.subtasks if not isinstance(it, Task) or it.subtasks)
                node.subtasks = list(kept)
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
        #: The device of each leaf, the same for every spelling of its name.
        self._keys: dict[BaseTask, str] = {}
        self._obs_mode = self._view.obs_mode()

    def compose(self) -> Task:
        objection, unchecked = self._view.own_guard(self._entry.allowed_states)
        if objection is not None:
            raise self._error(f"{self._name} is not allowed", [str(objection)])
        self._note(self._name, unchecked)
        self._resources = Resources(self._name, self._composer.resources, self._view)
        root = self._composite(self._name, self._entry, (self._name,), is_root=True)
        self._fill(root)
        self._refuse_twice_at_once(root)
        for note in self._resources.check_used():
            self._note(self._name, note)
        self._out.hand_over(root)
        cleaned = MainTaskComposer._clean_task(root)  # noqa: SLF001 - the two are one
        if self._out.refusals:
            raise self._rejected(root)
        if cleaned is None:
            raise self._error(f"{self._name} has nothing to run", self._notes)
        root.composition_notes.extend([*self._notes, *limit_notes(root)])
        return root

    def _rejected(self, root: Task) -> CommandError:
        """Return that the command is rejected because of targets that must be there."""
        summary, reasons = f"{self._name} is rejected", self._out.refusals
        if not self._out.refused:
            return self._error(summary, reasons)
        return RefusedError(
            f"{summary}: {joined(reasons)}",
            summary=summary,
            task=root,
            refused=self._out.refused,
            command=self._name,
            reasons=reasons,
            path=self._name,
        )

    def _error(
        self, summary: str, reasons: list[str], path: str = "", hint: str | None = None
    ) -> CommandError:
        return refused_command(self._name, summary, reasons, path=path or self._name, hint=hint)

    def _note(self, path: str, note: str) -> None:
        if note:
            self._notes.append(f"{path}: {note}")

    # -- composites ----------------------------------------------------------------
    def _composite(
        self, name: str, entry: CompositeEntry, names: tuple[str, ...], is_root: bool = False
    ) -> Task:
        task = Task(
            name,
            TaskExecutionType(entry.type),
            entry.skip_subtasks,
            self._composer.callback if is_root else None,
            is_root,
            self._composer.logger,
            rule=entry.rule,
            timeout=entry.timeout,
            operation=self._name,
            obs_mode=self._obs_mode,
        )
        task.places = self._map.entry_places.get(names, NO_PLACES)
        return task

    def _group(
        self,
        name: str,
        entry: GroupEntry | AnalysisEntry,
        leaves: Iterable[LeafTask],
        places: NodePlaces,
    ) -> Task:
        """Return the parallel task of the leaves of one entry."""
        group = Task(
            name,
            TaskExecutionType.PARALLEL,
            logger=self._composer.logger,
            subtasks=leaves,
            rule=entry.rule,
            operation=self._name,
            obs_mode=self._obs_mode,
            pst_group=True if entry.handler == "pst" else None,
        )
        group.places = NodePlaces(own=places.own)
        return group

    def _fill(self, root: Task) -> None:
        still_open = [_Open(root, self._entry, self._entry.allowed_states, (self._name,))]
        while still_open:
            place = still_open.pop()
            names = Names()
            children: list[BaseTask] = []
            for name, entry in place.entry.tasks.items():
                where = (*place.names, name)
                guard = entry.allowed_states or place.guard
                if isinstance(entry, CompositeEntry):
                    child = self._composite(names.unique(name), entry, where)
                    children.append(child)
                    still_open.append(_Open(child, entry, guard, where))
                else:
                    places = self._map.entry_places.get(where, NO_PLACES)
                    spot = _Spot(place.task.path, guard, names, places)
                    children.extend(self._handled(entry, spot))
            place.task.add(*children)

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
                    summary = f"{path} runs all its steps at once"
                    raise self._error(summary, [reason], path, "put both steps into a sequence")

    def _handled(self, entry: HandlerEntry, spot: _Spot) -> Iterator[BaseTask]:
        if isinstance(entry, GroupEntry):
            name = spot.names.unique(f"{self._name}_{entry.handler}")
            path = f"{spot.path}/{name}"
            inner = spot._replace(path=path, names=Names())
            yield self._group(name, entry, self._device_leaves(entry, inner, path), spot.places)
        elif isinstance(entry, DeviceEntry):
            yield from self._device_leaves(entry, spot, f"{spot.path}/{entry.handler}")
        elif isinstance(entry, AnalysisEntry):
            yield from self._analysis(entry, spot)
        else:
            yield from self._method_leaf(entry, spot)

    # -- leaves --------------------------------------------------------------------
    def _leaf(
        self,
        name: str,
        target: Any,
        entry: HandlerEntry,
        argin: Any,
        kind: TaskExecutionType,
        places: NodePlaces,
        **fields: Any,
    ) -> LeafTask:
        leaf = LeafTask(
            name,
            target,
            entry.command_name,
            argin,
            kind,
            logger=self._composer.logger,
            timeout=entry.timeout,
            retries=entry.retries,
            **fields,
        )
        leaf.places = places
        return leaf

    def _device_leaves(self, entry: DeviceEntry, spot: _Spot, path: str) -> Iterator[LeafTask]:
        """Yield a leaf for each component; ``path`` is told where there is none."""
        components = self._view.components(entry.handler)
        if not components:
            self._out.no_component(entry, path)
        for component in components:
            binding = self._resources.for_component(entry, component)
            objection: Objection | None = _NOT_SELECTED
            unchecked = ""
            if binding.selected:
                objection, unchecked = self._view.device_guard(component.target, spot.guard)
            is_out = objection is not None and not self._out.rejects(entry, objection, component)
            name = component.leaf_name if is_out else spot.names.unique(component.leaf_name)
            where = f"{spot.path}/{name}"
            if objection is not None:
                self._out.add(entry, where, objection, component)
            if is_out:
                continue
            self._note(f"{where} ({component.name})", unchecked)
            self._note(where, binding.note)
            leaf = self._leaf(
                name,
                component.target,
                entry,
                self._plain(binding.argin, where),
                TaskExecutionType.DEVICE,
                self._places_with(spot.places, binding)._replace(
                    target=self._map.device_places.get(component.listed_name)
                ),
                abort_on_timeout=entry.abort_on_timeout,
            )
            self._keys[leaf] = component.key
            yield leaf

    def _places_with(self, places: NodePlaces, binding: Binding) -> NodePlaces:
        """Return where an entry stands, with the place of the argument that it is given."""
        file = self._composer.resources_file
        if binding.source is None:
            return places
        return places._replace(argin=None if file is None else Place(file, None, binding.source))

    def _method_leaf(self, entry: HandlerEntry, spot: _Spot) -> Iterator[LeafTask]:
        for name, binding in self._bound(entry, entry.command_name, spot):
            self._view.check_method(entry.command_name, f"{spot.path}/{name}")
            places, kind = self._places_with(spot.places, binding), TaskExecutionType.INTERNAL
            yield self._leaf(name, self._view.owner, entry, binding.argin, kind, places)

    def _analysis(self, entry: AnalysisEntry, spot: _Spot) -> Iterator[BaseTask]:
        """Yield the leaf of an analysis, or its group."""
        for name, binding in self._bound(entry, analysis_leaf_name(entry.command_name), spot):
            path = f"{spot.path}/{name}"
            argin = self._plain(binding.argin, path)
            if argin is not None and not isinstance(argin, dict):
                reason = "the argument of an analysis is a mapping of its parameters"
                raise self._error(f"{path} cannot be composed", [f"{reason}, not {shown(argin)}"])
            places = self._places_with(spot.places, binding)
            if entry.each is None:
                yield self._analysis_leaf(entry, name, argin, places)
            else:
                leaves = (
                    self._analysis_leaf(entry, leaf_name, {**(argin or {}), **own}, places)
                    for leaf_name, own in each_leaf(entry.each, name)
                )
                yield self._group(name, entry, leaves, places)

    def _analysis_leaf(
        self, entry: AnalysisEntry, name: str, argin: Any, places: NodePlaces
    ) -> LeafTask:
        said = {
            "launcher": entry.launcher,
            "heartbeat_s": entry.heartbeat,
            "grace_s": entry.grace,
            "source": self._beside_map(entry.source),
        }
        settings = {key: value for key, value in said.items() if value is not None}
        config, kind = self._beside_map(entry.config), TaskExecutionType.ANALYSIS
        return self._leaf(name, config, entry, argin, kind, places, settings=settings)

    def _beside_map(self, file: str | None) -> str | None:
        """Return the path of a file that the map names; a relative one stands beside the map."""
        if file is None:
            return None
        file = os.path.expanduser(file)
        return file if self._map.file is None else str(Path(self._map.file).parent / file)

    def _bound(
        self, entry: HandlerEntry, wanted: str, spot: _Spot
    ) -> Iterator[tuple[str, Binding]]:
        """Yield the name and the argument of a leaf without a device, unless a guard objects."""
        objection, unchecked = self._view.own_guard(entry.allowed_states)
        binding = self._resources.for_method(entry)
        if objection is not None:
            self._out.add(entry, f"{spot.path}/{wanted}", objection)
            return
        name = spot.names.unique(wanted)
        self._note(f"{spot.path}/{name}", unchecked)
        self._note(f"{spot.path}/{name}", binding.note)
        yield name, binding

    def _plain(self, argin: Any, path: str) -> Any:
        try:
            return plain_copy(argin)
        except ValueError as exc:
            hint = "an argument is made of texts, numbers, booleans, lists and mappings"
            raise self._error(path, [str(exc)], path, hint) from exc
