"""The simulator: real TANGO servers that behave, or misbehave, as you ask.

Other parts import the simulator from this module. :func:`run_simulator` serves the devices that a
command map names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from taskgrove.commands.device_names import device_key
from taskgrove.errors import UsageError
from taskgrove.tango.server.dialect import OLD_DEVICE, Dialect
from taskgrove.tango.simulation.fault_text import (
    add_fault,
    parse_fault,
    parse_fault_argument,
    parse_faults,
)
from taskgrove.tango.simulation.faults import Fault, FaultKind
from taskgrove.tango.simulation.fleet import SimulatedFleet
from taskgrove.tango.simulation.invocations import Invocation, invocations_of, overlapping
from taskgrove.tango.simulation.section import SectionProblem, section_problems
from taskgrove.tango.simulation.simulator_settings import SIMULATED_COMMANDS, SimulatorSettings
from taskgrove.tango.simulation.stand_ins import stand_ins_of

__all__ = [
    "OLD_DEVICE",
    "SIMULATED_COMMANDS",
    "Dialect",
    "Fault",
    "FaultKind",
    "Invocation",
    "SectionProblem",
    "SimulatedFleet",
    "SimulatorSettings",
    "device_names",
    "invocations_of",
    "overlapping",
    "parse_fault",
    "parse_fault_argument",
    "parse_faults",
    "plan_simulator",
    "run_simulator",
    "section_problems",
    "stand_ins_of",
]


#: Keys of the section that are no settings of devices, with their defaults.
_OWN: Final = {"speed": 1.0, "devices_per_process": 1, "devices": None}


def device_names(components: Mapping[str, Any]) -> list[str]:
    """Return the TANGO names in a map's ``components:``, each device once, in order."""
    names: dict[str, str] = {}
    for value in components.values():
        for name in map(str, [value] if isinstance(value, str) else value):
            names.setdefault(device_key(name), name)
    return list(names.values())


def plan_simulator(
    components: Mapping[str, Any],
    simulator: Mapping[str, Any] | None = None,
    *,
    faults: Sequence[str] = (),
    speed: float | None = None,
    devices_per_process: int | None = None,
    host: str = "127.0.0.1",
    log: str | Path | None = None,
    stand_ins: Mapping[str, Mapping[str, Any]] | None = None,
) -> SimulatedFleet:
    """Return the fleet of a command map's devices, not yet started; it is a context manager.

    Args:
        components: The map's ``components:``, keyword → TANGO name or list of them.
        simulator: The map's ``simulator:`` section: ``faults`` (device → command → fault),
            ``speed``, ``devices`` (device → settings), ``devices_per_process``, and any
            field of :class:`SimulatorSettings`.
        faults: More faults, as ``DEVICE:COMMAND=FAULT``.
        speed: Commands go this many times as fast; None: as the section says, else 1.
        devices_per_process: Devices that share a process; None: as the section says, else 1.
        host: Address to listen on.
        log: A file that every invocation is appended to; :func:`invocations_of` reads it.
        stand_ins: device → ``attributes`` and ``commands`` that it has, where the section says
            nothing else (:func:`stand_ins_of`).

    Raises:
        UsageError: The section, a fault or a name is not valid. For the section, its ``path``
            is the place (``simulator.speed``); :func:`section_problems` tells all at once.
    """
    devices = device_names(components)
    given = stand_ins or {}
    commands = {name for item in given.values() for name in item["commands"]}
    for problem in section_problems(simulator or {}, devices, commands):
        raise UsageError(
            f"{problem.path}: {problem.sentence}", path=problem.path, hint=problem.hint
        )
    section = dict(simulator or {})
    plan = parse_faults(section.pop("faults", None))
    for text in faults:
        add_fault(plan, text)
    own = {key: section.pop(key, default) for key, default in _OWN.items()}
    return SimulatedFleet(
        devices,
        faults=plan,
        speed=own["speed"] if speed is None else speed,
        device_settings=_with_stand_ins(section, own["devices"] or {}, given),
        devices_per_process=devices_per_process or own["devices_per_process"],
        settings=section,
        host=host,
        log=log,
    )


def _with_stand_ins(
    section: Mapping[str, Any],
    devices: Mapping[str, Mapping[str, Any]],
    stand_ins: Mapping[str, Mapping[str, Any]],
) -> dict[str, dict[str, Any]]:
    """Return the settings of devices, with what they stand in for below them."""
    made = {name.lower(): dict(settings) for name, settings in devices.items()}
    for name, needed in stand_ins.items():
        own = made.setdefault(name.lower(), {})
        for part in ("attributes", "commands"):
            own[part] = {**needed[part], **section.get(part, {}), **own.get(part, {})}
    return made


def run_simulator(
    components: Mapping[str, Any], simulator: Mapping[str, Any] | None = None, **options: Any
) -> SimulatedFleet:
    """Start the devices of a command map and return the running fleet.

    The caller stops it; it is a context manager. Nothing is printed.

    Args:
        components: The map's ``components:``.
        simulator: The map's ``simulator:`` section.
        **options: The other parameters of :func:`plan_simulator`.

    Raises:
        UsageError: The section, a fault or a name is not valid; nothing was started.
        DeviceError: A server did not come up; everything is stopped again.
    """
    return plan_simulator(components, simulator, **options).start()
