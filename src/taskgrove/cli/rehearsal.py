"""The command line that runs a command of a map on its simulated devices, to be copied."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Final

from taskgrove.commands.command_map import CommandMap
from taskgrove.commands.command_map.map_models import DeviceEntry, InternalEntry

#: An argument that every simulated command takes; of a group, an empty one would choose nobody.
_ANY: Final = {"id": 1}


def command_line(command_map: CommandMap, written: Path) -> str:
    """Return a command line that can be run as it is, as far as the map alone allows it.

    Needs the extra ``tango``.

    Args:
        command_map: The map.
        written: The file in which it stands with the addresses of the simulated devices.
    """
    command = _command_for_devices(command_map)
    words = ["taskgrove", "run", str(written), command]
    keywords = _without_arguments(command_map, command)
    if not keywords:
        return shlex.join(words)
    given = shlex.quote(json.dumps(dict.fromkeys(keywords, _ANY)))
    return f"echo {given} | {shlex.join([*words, '--argin', '-'])}"


def _command_for_devices(command_map: CommandMap) -> str:
    """Return the first command that needs no component manager; else the first."""
    names = list(command_map.commands)
    for name in names:
        if not any(isinstance(entry, InternalEntry) for entry in command_map.leaf_entries(name)):
            return name
    return names[0]


def _without_arguments(command_map: CommandMap, command: str) -> list[str]:
    """Return the keywords whose devices' commands take an argument that the map does not give."""
    from taskgrove.tango.simulation.behaviour import BEHAVIOUR  # noqa: PLC0415 - an extra

    found: dict[str, None] = {}
    for entry in command_map.leaf_entries(command):
        if not isinstance(entry, DeviceEntry) or entry.argin is not None:
            continue
        behaviour = BEHAVIOUR.get(entry.command_name)
        if behaviour and behaviour.takes_json and entry.handler in command_map.components:
            found[entry.handler] = None
    return list(found)
