"""A valid command map, with typed entries."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final

from msgspec.structs import replace

from taskgrove.commands.aggregation.rules import AggregationRule
from taskgrove.commands.base_task import NodePlaces
from taskgrove.commands.command_map.map_base import StepEntry
from taskgrove.commands.command_map.map_models import (
    FINALLY_KEY,
    CallEntry,
    CompositeEntry,
    DeviceStepEntry,
    Entry,
)
from taskgrove.commands.command_map.problems import Mark, shown
from taskgrove.commands.device_names import device_key
from taskgrove.errors import CommandError, nearest
from taskgrove.events import Place

#: The fields of a composite that hold entries.
_BELOW: Final = {"tasks", "finally_tasks"}


@dataclass(frozen=True, repr=False)
class CommandMap:
    """A valid command map.

    Attributes:
        commands: The commands by name, each a composite of tasks.
        components: For each component the TANGO names that it stands for, in order.
        simulator: The settings and faults for the simulator, as plain data.
        file: The file that it was read from, or None.
        places: Where in the file the values of ``simulator`` stand, by their path: the simulator
            checks them later, and names the line.
        entry_places: Where commands and tasks stand, by their names from the command on.
        device_places: Where the devices of ``components`` stand, by their names.
        exclusive: The components on which one run at a time works, and how long a run waits for
            one, in seconds; 0: not at all; None: without a limit.
    """

    commands: Mapping[str, CompositeEntry]
    components: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    simulator: Mapping[str, Any] = field(default_factory=dict)
    file: str | None = None
    places: Mapping[str, Mark] = field(default_factory=dict, compare=False)
    entry_places: Mapping[tuple[str, ...], NodePlaces] = field(default_factory=dict, compare=False)
    device_places: Mapping[str, Place] = field(default_factory=dict, compare=False)
    exclusive: Mapping[str, float | None] = field(default_factory=dict)

    def of_file(self, file: str) -> CommandMap:
        """Return the map as one that stands in another file, line by line."""
        entries = {
            names: NodePlaces(*(item and replace(item, file=file) for item in places))
            for names, places in self.entry_places.items()
        }
        devices = {name: replace(item, file=file) for name, item in self.device_places.items()}
        return dataclasses.replace(self, file=file, entry_places=entries, device_places=devices)

    def command(self, name: str) -> CompositeEntry:
        """Return the entry of a command.

        Raises:
            CommandError: The map has no such command; the hint names the nearest.
        """
        entry = self.commands.get(name)
        if entry is None:
            close = nearest(name, self.commands)
            known = f"the map has: {', '.join(self.commands)}"
            raise CommandError(
                f"the map has no command {shown(name)}",
                command=str(name),
                hint=f"did you mean {close!r}? {known}" if close else known,
            )
        return entry

    def leaf_entries(self, name: str) -> Iterator[StepEntry]:
        """Yield the entries of the leaves of a command, and of the commands that it calls."""
        todo: list[Entry] = [self.command(name)]
        while todo:
            entry = todo.pop(0)
            if isinstance(entry, CallEntry):
                entry = self.command(entry.call)
            if isinstance(entry, CompositeEntry):
                todo[:0] = [*entry.tasks.values(), *entry.finally_tasks.values()]
            else:
                yield entry

    @property
    def devices(self) -> tuple[str, ...]:
        """The TANGO names of all devices of the map, each once, as they are spelt; patterns too."""
        found = [name for names in self.components.values() for name in names]
        for command in self.commands:
            for entry in self.leaf_entries(command):
                if isinstance(entry, DeviceStepEntry):
                    found.extend(name for name in entry.devices if "/" in name)
        first: dict[str, str] = {}
        for name in found:
            first.setdefault(device_key(name), name)
        return tuple(first.values())

    def to_dict(self, addresses: Mapping[str, str] | None = None) -> dict[str, Any]:
        """Return the map as plain data, in the form with sections; loading it gives this map.

        A rule that was given as an object is told by its label.

        Args:
            addresses: Names to put in the place of TANGO names, by these; None: none.
        """
        by_key = {device_key(name): address for name, address in (addresses or {}).items()}

        def placed(name: str) -> str:
            return by_key.get(device_key(name), name) if "/" in name else name

        commands: dict[str, Any] = {}
        todo: list[tuple[Entry, str, dict[str, Any]]] = [
            (entry, name, commands) for name, entry in self.commands.items()
        ]
        for entry, name, into in todo:  # grows while it is walked
            given = entry.model_fields_set
            values = into[name] = _jsonable(
                entry.model_dump(include=given - _BELOW, exclude_unset=True)
            )
            if isinstance(entry, DeviceStepEntry):
                names = [*map(placed, entry.devices)]
                values["device"] = names[0] if isinstance(entry.device, str) else names
            if isinstance(entry, CompositeEntry):
                for part, field, tasks in (
                    ("tasks", "tasks", entry.tasks),
                    (FINALLY_KEY, "finally_tasks", entry.finally_tasks),
                ):
                    if field in given:
                        below: dict[str, Any] = {}
                        values[part] = below
                        todo.extend((child, key, below) for key, child in tasks.items())
        whole: dict[str, Any] = {"commands": commands}
        if self.components:
            whole["components"] = {
                key: self._with_terms(key, [*map(placed, names)])
                for key, names in self.components.items()
            }
        if self.simulator:
            whole["simulator"] = dict(self.simulator)
        return whole

    def _with_terms(self, component: str, names: list[str]) -> Any:
        if component not in self.exclusive:
            return names
        wait = self.exclusive[component]
        terms = {} if wait is None else {"wait": wait}
        return {"device": names, "exclusive": True, **terms}

    def __repr__(self) -> str:
        return f"<CommandMap {self.file or ''} commands={list(self.commands)}>"


def _jsonable(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _jsonable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_jsonable(item) for item in value]
    if isinstance(value, Enum):
        return value.value
    return value.label if isinstance(value, AggregationRule) else value
