"""The simulator: real TANGO servers that behave, or misbehave, as you ask.

This module is its front: what other parts import, and :func:`run_simulator`, which
serves the devices that a command map names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from taskgrove.commands.device_names import device_key
from taskgrove.errors import UsageError
from taskgrove.tango.server.dialect import OLD_DEVICE, Dialect
from taskgrove.tango.simulation.fault_text import parse_fault, parse_fault_argument, parse_faults
from taskgrove.tango.simulation.faults import Fault, FaultKind
from taskgrove.tango.simulation.fleet import SimulatedFleet
from taskgrove.tango.simulation.section import SectionProblem, section_problems
from taskgrove.tango.simulation.settings import SIMULATED_COMMANDS, SimulatorSettings

__all__ = [
    "OLD_DEVICE",
    "SIMULATED_COMMANDS",
    "Dialect",
    "Fault",
    "FaultKind",
    "SectionProblem",
    "SimulatedFleet",
    "SimulatorSettings",
    "device_names",
    "parse_fault",
    "parse_fault_argument",
    "parse_faults",
    "plan_simulator",
    "run_simulator",
    "section_problems",
]


def device_names(components: Mapping[str, Any]) -> list[str]:
    """Return the TANGO names in a map's ``components:``, each device once, in order."""
    names: dict[str, str] = {}
    for value in components.values():
        for name in [value] if isinstance(value, str) else value:
            names.setdefault(device_key(str(name)), str(name))
    return list(names.values())


def plan_simulator(
    components: Mapping[str, Any],
    simulator: Mapping[str, Any] | None = None,
    *,
    faults: Sequence[str] = (),
    speed: float | None = None,
    devices_per_process: int | None = None,
    host: str = "127.0.0.1",
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

    Raises:
        UsageError: The section, a fault or a name is not valid. For the section, its ``path``
            is the place (``simulator.speed``); :func:`section_problems` tells all at once.
    """
    devices = device_names(components)
    for problem in section_problems(simulator or {}, devices):
        raise UsageError(
            f"{problem.path}: {problem.sentence}", path=problem.path, hint=problem.hint
        )
    section = dict(simulator or {})
    plan = parse_faults(section.pop("faults", None))
    for text in faults:
        device, command, fault = parse_fault_argument(text)
        commands = plan.setdefault(device, {})
        commands[command] = (*commands.get(command, ()), fault)
    own_speed = section.pop("speed", 1.0)
    own_sharing = section.pop("devices_per_process", 1)
    return SimulatedFleet(
        devices,
        faults=plan,
        speed=speed if speed is not None else own_speed,
        device_settings=section.pop("devices", None),
        devices_per_process=devices_per_process if devices_per_process else own_sharing,
        settings=section,
        host=host,
    )


def run_simulator(
    components: Mapping[str, Any],
    simulator: Mapping[str, Any] | None = None,
    *,
    faults: Sequence[str] = (),
    speed: float | None = None,
    devices_per_process: int | None = None,
    host: str = "127.0.0.1",
) -> SimulatedFleet:
    """Start the devices of a command map and return the running fleet.

    The caller stops it; it is a context manager. Nothing is printed.

    Args:
        components: As of :func:`plan_simulator`, and so are all the others.
        simulator: The map's ``simulator:`` section.
        faults: More faults.
        speed: Commands go this many times as fast.
        devices_per_process: Devices that share a process.
        host: Address to listen on.

    Raises:
        UsageError: The section, a fault or a name is not valid; nothing was started.
        DeviceError: A server did not come up; everything is stopped again.
    """
    return plan_simulator(
        components,
        simulator,
        faults=faults,
        speed=speed,
        devices_per_process=devices_per_process,
        host=host,
    ).start()
