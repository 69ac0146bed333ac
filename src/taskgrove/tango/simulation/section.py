"""The check of a command map's ``simulator:`` section: all problems, each with its place.

The readers of the simulator decide. Each value is given to them alone, so that an objection has
the path of its value.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from taskgrove.commands.arguments.type_words import type_word
from taskgrove.commands.command_map.problems import join_path, shown
from taskgrove.errors import UsageError, did_you_mean
from taskgrove.tango.server.ledger import MAX_QUEUED
from taskgrove.tango.simulation.fault_text import check_plan, parse_fault
from taskgrove.tango.simulation.simulator_settings import (
    SIMULATED_COMMANDS,
    SimulatorSettings,
    parse_settings,
)

#: Keys of the section that are no settings of devices.
_SECTION_KEYS: Final = ("faults", "speed", "devices", "devices_per_process")
_NAME: Final = ("a name",)
_WANTED: Final[dict[str, tuple[str, ...]]] = {
    "duration_s": ("seconds from 0 to 3600",),
    "durations_s": ("seconds from 0 to 3600 by command, such as {Scan: 60}",),
    "results": ("data by command, such as {Configure: {addresses: [10.0.0.1]}}",),
    "spread": ("a number from 0 to 0.9",),
    "steps": ("a whole number from 0 to 1000",),
    "bad_argin": ("reject", "raise"),
    "strict_states": ("true", "false"),
    "max_queued": (f"a whole number from 1 to {MAX_QUEUED}",),
    "attributes": ("values by attribute, such as {position: 0.0}",),
    "commands": ("commands such as {MoveTo: {takes: DevDouble, sets: position}}",),
    "dialect": ("a mapping such as {protocol: v1, flush_s: 0.1}",),
    **dict.fromkeys(("obs_state", "obs_mode", "admin_mode", "health_state"), _NAME),
}
#: Settings of which each value has a place of its own.
_BY_KEY: Final = ("durations_s", "results", "dialect", "commands")
#: How msgspec tells that a value is of another type or none of several words.
_WRONG_TYPE: Final = ("Expected ", "Invalid enum")
#: How msgspec ends a message: with the place, which has a path already.
_PLACE: Final = re.compile(r" - at `\$(?:\.|)([^`]*)`")


class SectionProblem(NamedTuple):
    """One thing that is wrong with the section.

    Attributes:
        path: The place, such as ``simulator.faults.low-pst/beam/01.Scan``.
        message: The problem.
        found: The value that was found; None where that is a collection.
        allowed: The values that are allowed.
        hint: The nearest name, or None.
    """

    path: str
    message: str
    found: Any = None
    allowed: tuple[str, ...] = ()
    hint: str | None = None

    @property
    def sentence(self) -> str:
        """The message with the allowed values."""
        return self.message + (f"; allowed: {', '.join(self.allowed)}" if self.allowed else "")


def section_problems(
    section: Mapping[str, Any], devices: Sequence[str], commands: Collection[str] = ()
) -> Iterator[SectionProblem]:
    """Yield all that is wrong with a ``simulator:`` section.

    Args:
        section: The section, as plain data.
        devices: The TANGO names of the devices that there are.
        commands: Commands that there are beside those that every simulated device has.
    """
    commands = (*SIMULATED_COMMANDS, *commands, *_own_commands(section))
    known = [device.lower() for device in devices]
    allowed = (*_SECTION_KEYS, *SimulatorSettings.__struct_fields__)
    for key, value in section.items():
        path = join_path("simulator", key)
        if key not in allowed:
            hint = did_you_mean(str(key), allowed)
            yield SectionProblem(path, f"unknown key {key!r}", key, allowed, hint)
        elif key == "speed":
            if not _is_number(value) or not 0 < value < math.inf:
                yield _wrong(path, value, "a number over 0")
        elif key == "devices_per_process":
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                yield _wrong(path, value, "a whole number from 1")
        elif key in ("faults", "devices"):
            yield from _table_problems(key, value, path, known, commands)
        else:
            yield from _setting_problems({key: value}, "simulator", commands)


def _table_problems(
    key: str, table: Any, path: str, known: Sequence[str], commands: tuple[str, ...]
) -> Iterator[SectionProblem]:
    if table is None and key == "faults":
        return
    if not isinstance(table, Mapping):
        yield _wrong(path, table, "a mapping by device")
        return
    for device, values in table.items():
        where = join_path(path, str(device))
        if key == "faults":
            checked: dict[str, dict[str, Any]] = {str(device).lower(): {}}
            yield from _objections(where, device, check_plan, checked, list(known), ())
        elif str(device).lower() not in known:
            said, hint = f"unknown device {device!r}", did_you_mean(str(device), known)
            yield SectionProblem(where, said, device, tuple(known[:8]), hint)
        if not isinstance(values, Mapping):
            yield _wrong(where, values, "a mapping")
        elif key == "faults":
            yield from _fault_problems(values, where, str(device).lower(), known, commands)
        else:
            yield from _setting_problems(values, where, commands)


def _fault_problems(
    table: Mapping[str, Any],
    path: str,
    device: str,
    known: Sequence[str],
    commands: tuple[str, ...],
) -> Iterator[SectionProblem]:
    for command, faults in table.items():
        where = join_path(path, str(command))
        plan = {device: {str(command): ()}}
        # An unknown device is told by itself, so here it counts as known.
        names = [*known, device]
        yield from _objections(where, command, check_plan, plan, names, commands)
        listed = isinstance(faults, list | tuple)
        for index, fault in enumerate(faults if listed else [faults]):
            place = join_path(where, index) if listed else where
            yield from _objections(place, fault, parse_fault, fault, device)


def _own_commands(section: Mapping[str, Any]) -> Iterator[str]:
    """Yield the commands that the section gives its devices."""
    devices = section.get("devices")
    own = devices.values() if isinstance(devices, Mapping) else ()
    for settings in (section, *own):
        commands = settings.get("commands") if isinstance(settings, Mapping) else None
        if isinstance(commands, Mapping):
            yield from map(str, commands)


def _setting_problems(
    settings: Mapping[str, Any], path: str, commands: Collection[str]
) -> Iterator[SectionProblem]:
    for name, value in settings.items():
        where = join_path(path, str(name))
        # Each value of a mapping by itself, so that it has its own place.
        single = name in _BY_KEY and isinstance(value, Mapping)
        for key, item in value.items() if single else ((None, value),):
            place = join_path(where, str(key)) if single else where
            setting = {name: {key: item} if single else item}
            for problem in _objections(place, item, parse_settings, setting, None, commands):
                if problem.message.startswith(_WRONG_TYPE) and (not single or name != "dialect"):
                    allowed = _WANTED["duration_s" if name == "durations_s" and single else name]
                    yield _wrong(place, item, *allowed)
                else:
                    yield problem


def _objections(
    path: str, found: Any, reader: Callable[..., object], *values: Any
) -> Iterator[SectionProblem]:
    """Yield the objection of a reader of the simulator, if there is one."""
    try:
        reader(*values)
    except UsageError as exc:
        message, _, allowed = exc.message.partition("; allowed are ")
        if reader is parse_fault:
            message = message.removeprefix(f"{values[1]}: ")
        message = _PLACE.sub("", message.removeprefix("simulator settings: ")).replace("`", "")
        # A fault is read as a whole, so the name of its parameter is only in the message.
        inside = _PLACE.search(exc.message)
        if reader is parse_fault and inside is not None and inside[1]:
            message = f"{inside[1]}: {message}"
        choice = tuple(allowed.split(", ")) if allowed else ()
        yield SectionProblem(path, message, _scalar(found), choice, exc.hint)


def _wrong(path: str, value: Any, *allowed: str) -> SectionProblem:
    found = _scalar(value)
    said = f"found {type_word(value)}" + ("" if found is None else f" {shown(found)}")
    return SectionProblem(path, said, found, allowed)


def _scalar(value: Any) -> Any:
    return None if isinstance(value, Mapping | list | tuple) else value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
