"""The check of a map's section ``simulator:``, shared by all verbs that read a map to act on it."""

from __future__ import annotations

from taskgrove.commands.command_map import CommandMap
from taskgrove.commands.command_map.problems import NOWHERE, Problems
from taskgrove.commands.task import device_name_of


def check_simulator_section(command_map: CommandMap) -> None:
    """Make sure that the simulator understands its section of the map.

    Raises:
        MapError: It does not; the places are those of the file.
    """
    if not command_map.simulator:
        return
    from taskgrove.tango.simulation.section import section_problems  # noqa: PLC0415 - slow
    from taskgrove.tango.simulation.stand_ins import stand_ins_of  # noqa: PLC0415 - slow

    names = command_map.devices
    # The section may go on naming devices by their names where the map has their addresses.
    devices = list(dict.fromkeys([*(device_name_of(name) or name for name in names), *names]))
    problems = Problems(command_map.file)
    stand_ins = stand_ins_of(command_map).values()
    commands = {name for item in stand_ins for name in item["commands"]}
    for item in section_problems(command_map.simulator, devices, commands):
        problems.add(
            item.message,
            item.path,
            command_map.places.get(item.path, NOWHERE),
            found=item.found,
            allowed=item.allowed,
            hint=item.hint,
        )
    problems.raise_any()
