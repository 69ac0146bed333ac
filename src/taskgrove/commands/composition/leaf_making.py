"""The leaves of a tree: those that each handler entry of a map makes.

Threads: a :class:`LeafMaker` belongs to the thread that composes.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from logging import Logger
from pathlib import Path
from typing import Any, Final, NamedTuple

from taskgrove.commands.arguments.template import holds_reference
from taskgrove.commands.attribute_condition import READING_STEPS
from taskgrove.commands.command_map import (
    AllowedStates,
    AnalysisEntry,
    CommandMap,
    DeviceEntry,
    DeviceStepEntry,
    GroupEntry,
    HandlerEntry,
    StepEntry,
)
from taskgrove.commands.command_map.problems import shown
from taskgrove.commands.composition.argument_references import Arguments, ComposedArgument
from taskgrove.commands.composition.context import Component, ManagerView
from taskgrove.commands.composition.guards import Objection
from taskgrove.commands.composition.names import Names, analysis_leaf_name, each_leaf
from taskgrove.commands.composition.omissions import Omissions
from taskgrove.commands.composition.refused import refused_command
from taskgrove.commands.composition.resources import Binding, Resources, plain_copy
from taskgrove.commands.device_names import device_key
from taskgrove.commands.exclusive import ExclusiveDevice
from taskgrove.commands.task import BaseTask, LeafTask, NodePlaces, Task, TaskExecutionType
from taskgrove.errors import CommandError
from taskgrove.events import Place

#: The choice of the caller, which never rejects a command.
_NOT_SELECTED: Final = Objection("selection", "not in the resources")
_NOT_IN_DOCUMENT: Final = Objection("selection", "not in the document")
#: The keys of every entry, which its Task has, too.
_OF_EVERY_ENTRY: Final = ("description", "hold", "hold_timeout")


class Spot(NamedTuple):
    """Where the leaves of an entry are composed.

    Attributes:
        command: The command of the map that the entry belongs to.
        path: The path of the task that takes them.
        guard: The guard of a device.
        names: The names of the siblings.
        places: Where the map defines the entry.
        own_name: The name of the entry, where the user chose it; empty for a keyword.
    """

    command: str
    path: str
    guard: AllowedStates | None
    names: Names
    places: NodePlaces
    own_name: str = ""


class LeafMaker:
    """Makes the leaves of one composition.

    Args:
        command_map: The map.
        view: The context.
        resources: The arguments.
        arguments: The arguments with references.
        omissions: Takes the leaves that are left out.
        logger: A logger for the trackers; None takes the module's.
        resources_file: The file that the resources were read from; None: none.

    Attributes:
        keys: The device of each leaf, the same for every spelling of its name.
        obs_mode: The observation mode of the context, where it tells one.
        exclusive: The devices on which one run at a time works, by the key of their names.
    """

    def __init__(
        self,
        command_map: CommandMap,
        view: ManagerView,
        resources: Resources,
        arguments: Arguments,
        omissions: Omissions,
        *,
        logger: Logger | None,
        resources_file: str | None,
    ) -> None:
        self._map = command_map
        self._view = view
        self._resources = resources
        self._arguments = arguments
        self._out = omissions
        self._logger = logger
        self._resources_file = resources_file
        self.obs_mode = view.obs_mode()
        self.keys: dict[BaseTask, str] = {}
        self.exclusive: dict[str, ExclusiveDevice] = {}
        self._exclusive_names = {
            device_key(device): name
            for name in command_map.exclusive
            for device in command_map.components.get(name, ())
        }

    def made(self, entry: StepEntry, spot: Spot) -> Iterator[BaseTask]:
        """Yield the leaves of an entry, or their group.

        Raises:
            CommandError: A leaf cannot be made.
        """
        if isinstance(entry, DeviceStepEntry):
            yield from self._device_step(entry, spot)
        elif isinstance(entry, GroupEntry):
            name = spot.names.unique(spot.own_name or f"{spot.command}_{entry.handler}")
            path = f"{spot.path}/{name}"
            inner = spot._replace(path=path, names=Names(), own_name="")
            yield self._group(name, entry, self._device_leaves(entry, inner, path), spot)
        elif isinstance(entry, DeviceEntry):
            yield from self._device_leaves(
                entry, spot, f"{spot.path}/{spot.own_name or entry.handler}"
            )
        elif isinstance(entry, AnalysisEntry):
            yield from self._analysis(entry, spot)
        elif isinstance(entry, HandlerEntry):
            yield from self._method_leaf(entry, spot)

    def _device_step(self, entry: DeviceStepEntry, spot: Spot) -> Iterator[BaseTask]:
        """Yield the leaf of a step of a device, or the group of its leaves."""
        components = self._view.named(entry.devices)
        name = spot.own_name or entry.operand
        if not components:
            self._out.no_component(entry, f"{spot.path}/{name}")
            return
        if not entry.makes_group and len(components) == 1:
            yield from self._leaves_on(entry, components, spot._replace(own_name=name))
            return
        name = spot.names.unique(name)
        inner = spot._replace(path=f"{spot.path}/{name}", names=Names(), own_name="")
        yield self._group(name, entry, self._leaves_on(entry, components, inner), spot)

    def _group(
        self,
        name: str,
        entry: GroupEntry | AnalysisEntry | DeviceStepEntry,
        leaves: Iterable[LeafTask],
        spot: Spot,
    ) -> Task:
        """Return the parallel task of the leaves of one entry."""
        group = Task(
            name,
            TaskExecutionType.PARALLEL,
            logger=self._logger,
            subtasks=leaves,
            rule=entry.rule,
            operation=spot.command,
            obs_mode=self.obs_mode,
            pst_group=_is_pst_group(entry),
            description=entry.description,
            hold=entry.hold,
            hold_timeout=entry.hold_timeout,
        )
        group.places = NodePlaces(own=spot.places.own)
        return group

    def _leaf(
        self,
        name: str,
        target: Any,
        entry: StepEntry,
        command_name: str,
        argin: Any,
        kind: TaskExecutionType,
        places: NodePlaces,
        **fields: Any,
    ) -> LeafTask:
        if not fields.pop("in_group", entry.makes_group):  # else the group has them
            fields |= {key: getattr(entry, key) for key in _OF_EVERY_ENTRY}
        leaf = LeafTask(
            name,
            target,
            command_name,
            argin,
            kind,
            logger=self._logger,
            timeout=entry.timeout,
            retries=entry.retries,
            retry_delay=entry.retry_delay,
            retry_backoff=entry.retry_backoff,
            **fields,
        )
        leaf.places = places
        return leaf

    def _device_leaves(self, entry: DeviceEntry, spot: Spot, path: str) -> Iterator[LeafTask]:
        """Yield a leaf for each component; ``path`` is told where there is none."""
        components = self._view.components(entry.handler)
        if not components:
            self._out.no_component(entry, path)
        yield from self._leaves_on(entry, components, spot)

    def _leaves_on(
        self,
        entry: DeviceEntry | DeviceStepEntry,
        components: Sequence[Component],
        spot: Spot,
    ) -> Iterator[LeafTask]:
        """Yield a leaf for each component."""
        step = entry.kind if isinstance(entry, DeviceStepEntry) else "command"
        operand = entry.operand if isinstance(entry, DeviceStepEntry) else entry.command_name
        in_group = isinstance(entry, (GroupEntry, DeviceStepEntry)) and not spot.own_name
        for component in components:
            binding = self._resources.for_component(entry, component)
            objection: Objection | None = _NOT_SELECTED
            unchecked, argument = "", None
            if binding.selected:
                argument = self._argument(entry, binding, component, spot)
                objection = _NOT_IN_DOCUMENT
            if argument is not None:
                objection, unchecked = self._view.device_guard(component.target, spot.guard)
            is_out = objection is not None and not self._out.rejects(entry, objection, component)
            # The name of an entry stands for one leaf; several are told apart by their devices.
            wanted = (len(components) == 1 and spot.own_name) or component.leaf_name
            name = wanted if is_out else spot.names.unique(wanted)
            where = f"{spot.path}/{name}"
            if objection is not None:
                self._out.add(entry, where, objection, component)
            if is_out or argument is None:
                continue
            self._out.note(f"{where} ({component.name})", unchecked)
            self._out.note(where, binding.note)
            leaf = self._leaf(
                name,
                component.target,
                entry,
                operand,
                self._plain(argument.argin, where),
                TaskExecutionType.DEVICE,
                self._places_with(spot.places, binding)._replace(
                    target=self._map.device_places.get(component.listed_name)
                ),
                abort_on_timeout=entry.abort_on_timeout,
                settings=_device_settings(entry),
                step=step,
                in_group=in_group,
            )
            leaf.pending_argument = argument.pending
            if step not in READING_STEPS:
                self.keys[leaf] = component.key
                self._note_exclusive(component)
            yield leaf

    def _note_exclusive(self, component: Component) -> None:
        name, key = component.keyword, component.key
        if name not in self._map.exclusive:
            name = self._exclusive_names.get(key, "")
        if name:
            device = ExclusiveDevice(key, component.name, self._map.exclusive[name])
            self.exclusive[key] = device

    def _argument(
        self, entry: StepEntry, binding: Binding, component: Component | None, spot: Spot
    ) -> ComposedArgument | None:
        """Return the argument of a leaf; None: the document of the command leaves it out."""
        if binding.source is not None or not holds_reference(binding.argin):
            return ComposedArgument(binding.argin)
        path = f"{spot.path}/{spot.own_name or entry.subject}"
        return self._arguments.of(binding.argin, component, path, spot.places)

    def _places_with(self, places: NodePlaces, binding: Binding) -> NodePlaces:
        """Return where an entry stands, with the place of the argument that it is given."""
        file = self._resources_file
        if binding.source is None:
            return places
        return places._replace(argin=None if file is None else Place(file, None, binding.source))

    def _method_leaf(self, entry: HandlerEntry, spot: Spot) -> Iterator[LeafTask]:
        for name, binding in self._bound(entry, spot.own_name or entry.command_name, spot):
            path = f"{spot.path}/{name}"
            argument = self._argument(entry, binding, None, spot)
            if argument is None:
                self._out.add(entry, path, _NOT_IN_DOCUMENT)
                continue
            self._view.check_method(entry.command_name, path)
            places, kind = self._places_with(spot.places, binding), TaskExecutionType.INTERNAL
            command, owner = entry.command_name, self._view.owner
            leaf = self._leaf(name, owner, entry, command, argument.argin, kind, places)
            leaf.pending_argument = argument.pending
            yield leaf

    def _analysis(self, entry: AnalysisEntry, spot: Spot) -> Iterator[BaseTask]:
        """Yield the leaf of an analysis, or its group."""
        wanted = spot.own_name or analysis_leaf_name(entry.command_name)
        for name, binding in self._bound(entry, wanted, spot):
            path = f"{spot.path}/{name}"
            argin = self._plain(binding.argin, path)
            if argin is not None and not isinstance(argin, dict):
                reason = "the argument of an analysis is a mapping of its parameters"
                raise self._refused(f"{path} cannot be composed", [f"{reason}, not {shown(argin)}"])
            places = self._places_with(spot.places, binding)
            if entry.each is None:
                yield self._analysis_leaf(entry, name, argin, places)
            else:
                leaves = (
                    self._analysis_leaf(entry, leaf_name, {**(argin or {}), **own}, places)
                    for leaf_name, own in each_leaf(entry.each, name)
                )
                yield self._group(name, entry, leaves, spot._replace(places=places))

    def _analysis_leaf(
        self, entry: AnalysisEntry, name: str, argin: Any, places: NodePlaces
    ) -> LeafTask:
        said = {
            "launcher": entry.launcher,
            "heartbeat_s": entry.heartbeat,
            "grace_s": entry.grace,
            "source": self._beside_map(entry.source),
            "stdin": self._beside_map(entry.stdin),
            "python": self._interpreter(entry.python),
        }
        settings = {key: value for key, value in said.items() if value is not None}
        config, kind = self._beside_map(entry.config), TaskExecutionType.ANALYSIS
        command = entry.command_name
        return self._leaf(name, config, entry, command, argin, kind, places, settings=settings)

    def _interpreter(self, name: str | None) -> str | None:
        """Return an interpreter that the map names; a name without a slash is on the PATH."""
        return self._beside_map(name) if name is not None and "/" in name else name

    def _beside_map(self, file: str | None) -> str | None:
        """Return the path of a file that the map names; a relative one stands beside the map."""
        if file is None:
            return None
        file = os.path.expanduser(file)
        return file if self._map.file is None else str(Path(self._map.file).parent / file)

    def _bound(self, entry: HandlerEntry, wanted: str, spot: Spot) -> Iterator[tuple[str, Binding]]:
        """Yield the name and the argument of a leaf without a device, unless a guard objects."""
        objection, unchecked = self._view.own_guard(entry.allowed_states)
        binding = self._resources.for_method(entry)
        if objection is not None:
            self._out.add(entry, f"{spot.path}/{wanted}", objection)
            return
        name = spot.names.unique(wanted)
        self._out.note(f"{spot.path}/{name}", unchecked)
        self._out.note(f"{spot.path}/{name}", binding.note)
        yield name, binding

    def _plain(self, argin: Any, path: str) -> Any:
        try:
            return plain_copy(argin)
        except ValueError as exc:
            hint = "an argument is made of texts, numbers, booleans, lists and mappings"
            raise self._refused(path, [str(exc)], path, hint) from exc

    @staticmethod
    def _refused(
        summary: str, reasons: list[str], path: str = "", hint: str | None = None
    ) -> CommandError:
        command = (path or summary).partition("/")[0]
        return refused_command(command, summary, reasons, path=path or command, hint=hint)


def _is_pst_group(entry: GroupEntry | AnalysisEntry | DeviceStepEntry) -> bool | None:
    """Return whether the leaves of an entry are judged as a group of PST beams; None: by name."""
    if isinstance(entry, DeviceStepEntry):
        return False
    return True if entry.handler == "pst" else None


def _device_settings(entry: DeviceEntry | DeviceStepEntry) -> dict[str, Any]:
    """Return the settings that the runner of devices gets for a leaf."""
    settings: dict[str, Any] = {}
    if entry.call_timeout is not None:
        settings["call_timeout_s"] = entry.call_timeout
    if entry.skip_if is not None:
        settings["skip_if"] = entry.skip_if.data
    return settings
