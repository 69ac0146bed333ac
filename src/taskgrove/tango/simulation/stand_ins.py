"""The commands and attributes of any device that a simulated device stands in for; pure.

A map tells most of it: the commands that its steps call, with the types of their arguments, and
the attributes that they write, await and expect. Each attribute begins with a value for which the
steps wait, so that a rehearsal goes through.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import msgspec

from taskgrove.commands.arguments.template import holds_reference
from taskgrove.commands.attribute_condition import AttributeCondition
from taskgrove.commands.command_map import CommandMap, DeviceStepEntry
from taskgrove.commands.device_names import device_key
from taskgrove.tango.simulation.behaviour import BEHAVIOUR

#: Attributes that each simulated device has.
OWN_ATTRIBUTES: Final = frozenset(
    {"state", "status", "obsstate", "obsmode", "healthstate", "adminmode", "invocations"}
)
#: The most elements of a simulated spectrum, and of each side of an image.
MAX_DIM: Final = 4096
_NUMBERS: Final = ("DevLong64", "DevDouble")


class SimulatedCommand(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A command that a simulated device runs beside its own: as a long-running one.

    Attributes:
        takes: The TANGO name of the type that it takes.
        sets: The attribute that has the argument as its value when the command has ended well.
    """

    takes: str = "DevVoid"
    sets: str = ""


def value_type(value: Any) -> str:
    """Return the TANGO name of the type of a value, or of the elements of a list."""
    while isinstance(value, (list, tuple)):
        found = {value_type(item) for item in value}
        if len(found) > 1 and found <= set(_NUMBERS):
            return "DevDouble"
        if len(found) != 1:
            return "DevString"
        return found.pop()
    if isinstance(value, bool):
        return "DevBoolean"
    if isinstance(value, int):
        return "DevLong64"
    return "DevDouble" if isinstance(value, float) else "DevString"


def argument_type(value: Any) -> str:
    """Return the TANGO name of the type of a command that takes a value."""
    if value is None:
        return "DevVoid"
    kind = value_type(value)
    if isinstance(value, (list, tuple)):
        if any(isinstance(item, (list, tuple, Mapping)) for item in value) or not value:
            return "DevString"  # as JSON
        return {
            "DevBoolean": "DevVarBooleanArray",
            "DevLong64": "DevVarLong64Array",
            "DevDouble": "DevVarDoubleArray",
        }.get(kind, "DevVarStringArray")
    return "DevDouble" if kind == "DevLong64" else kind


def stand_ins_of(command_map: CommandMap) -> dict[str, dict[str, Any]]:
    """Return what the devices of a map need beside their own commands and attributes.

    Args:
        command_map: The map.

    Returns:
        By the name of the device: ``attributes`` (name → value) and ``commands`` (name →
        ``SimulatedCommand`` as data), as settings of the simulator.
    """
    keys = {device_key(name): name for name in command_map.devices}
    values: defaultdict[str, defaultdict[str, list[Any]]] = defaultdict(lambda: defaultdict(list))
    commands: defaultdict[str, dict[str, Any]] = defaultdict(dict)
    for entry, name in _device_steps(command_map):
        device = keys[device_key(name)]
        for attribute, value in _attributes_of(entry):
            if attribute.lower() not in OWN_ATTRIBUTES:
                values[device][attribute].append(value)
        command = entry.command_name
        if command is not None and command not in BEHAVIOUR:
            known = commands[device].get(command)
            if known is None or known["takes"] == "DevVoid":
                commands[device][command] = {"takes": argument_type(entry.argin)}
    return {
        device: {
            "attributes": {name: _first(found) for name, found in values[device].items()},
            "commands": commands[device],
        }
        for device in dict.fromkeys((*values, *commands))
    }


def _device_steps(command_map: CommandMap) -> Iterator[tuple[DeviceStepEntry, str]]:
    """Yield each step of a device with each of its devices."""
    for command in command_map.commands:
        for entry in command_map.leaf_entries(command):
            if isinstance(entry, DeviceStepEntry):
                for name in entry.devices:
                    for device in (name,) if "/" in name else command_map.components.get(name, ()):
                        yield entry, device


def _attributes_of(entry: DeviceStepEntry) -> Iterator[tuple[str, Any]]:
    """Yield each attribute of a step, with a value that the step wants."""
    for condition in (entry.wait, entry.expect, entry.skip_if):
        if condition is not None:
            yield condition.attribute, _wanted(AttributeCondition.of(condition.data))
    if entry.write is not None:
        yield entry.write.attribute, entry.write.value


def _wanted(condition: AttributeCondition) -> Any:
    """Return a value that meets a condition, or one of its type."""
    numbers = (condition.min, condition.max)
    values = (condition.value, *condition.any_of, *numbers, *condition.none_of)
    return next((value for value in values if value is not None), 0.0)


def _first(values: Iterable[Any]) -> Any:
    """Return the first value that is known, as a float where others are."""
    known = [value for value in values if not holds_reference(value)] or [0.0]
    first = known[0]
    if value_type(first) == "DevLong64" and any(value_type(it) == "DevDouble" for it in known):
        return _as_float(first)
    return first


def _as_float(value: Any) -> Any:
    return [_as_float(item) for item in value] if isinstance(value, (list, tuple)) else float(value)
