"""What is shipped with the command line: the demo's map, its manager and a configuration."""

from __future__ import annotations

import threading
from importlib import resources
from typing import Any, Final

from taskgrove.commands.command_map import CommandMap, parse_command_map
from taskgrove.control_model import ResultCode

_NAME: Final = "demo.yaml"

#: What the demo's command is given: by keyword for devices, by name for internal steps.
CONFIGURATION: Final[dict[str, Any]] = {
    "check_configuration": {"scan_id": 1, "beams": 16},
    "cbf": {"scan_id": 1, "channels": 13824},
    "pss": {"scan_id": 1, "candidates": 1000},
    "pst": {"scan_id": 1, "mode": "PULSAR_TIMING"},
}


def shipped_map() -> CommandMap:
    """Return the map of the demo: one correlator, one pulsar search, sixteen timing beams."""
    text = resources.files("taskgrove.cli").joinpath("maps", _NAME).read_text("utf-8")
    return parse_command_map(text, file=_NAME)


class DemoManager:
    """The component manager of the demo: it has the method that the map's internal step calls."""

    def check_configuration(
        self, configuration: dict[str, Any], task_abort_event: threading.Event
    ) -> tuple[ResultCode, str]:
        """Look at what was asked for, before any device is called.

        Args:
            configuration: What the step was given.
            task_abort_event: Set when the command is aborted.
        """
        if task_abort_event.is_set():
            return ResultCode.ABORTED, "stopped before the configuration was looked at"
        beams = configuration.get("beams")
        if not isinstance(beams, int) or not 1 <= beams <= 16:
            return ResultCode.FAILED, f"beams is {beams!r}, allowed is 1 to 16"
        return ResultCode.OK, f"scan {configuration.get('scan_id')} with {beams} beams"
